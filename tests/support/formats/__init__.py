"""Plants whose gateways send in other senders' formats, and an auditor that reads these formats by itself.

Nothing here uses wire/formats: the shapes are written, and read again, from the senders' documentation.
"""
