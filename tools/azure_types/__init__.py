"""`python -m tools.azure_types`: compares what deploy/azure makes with the packages in which Microsoft publishes its types.

The packages `azure-mgmt-*` are generated from the specifications of the resource providers. They are downloaded into a
temporary folder and read as text: nothing of them is imported, installed, or a dependency of this project.
"""
