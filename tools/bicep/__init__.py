"""Evaluates Bicep files as Azure would, without Azure: what resources a deployment makes, and what it puts out.

The grammar is tree-sitter's; of the language it knows what deploy/azure uses, and stops at anything else. What only a
running resource can say (a host name, a principal) is asked from `runtime`.
"""

from tools.bicep.model import BicepError, Deployment, Resource
from tools.bicep.template import evaluate

__all__ = ["BicepError", "Deployment", "Resource", "evaluate"]
