"""Bicep's grammar, which is tree-sitter's: declarations, and what they consist of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import tree_sitter_bicep
from tree_sitter import Language, Node, Parser

from tools.bicep.model import BicepError


def parsed(file: Path) -> list[Node]:
    """The declarations of a file. Raises BicepError where it does not follow the grammar."""
    tree = Parser(Language(tree_sitter_bicep.language())).parse(file.read_bytes())
    for node in below(tree.root_node):
        if node.is_error or node.is_missing:
            raise BicepError(f"{file.name}:{node.start_point.row + 1}: this is no Bicep")
    return tree.root_node.named_children


def text(node: Node) -> str:
    return (node.text or b"").decode()


def values(node: Node) -> list[Node]:
    return [child for child in node.named_children if child.type != "comment"]


def below(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from below(child)


def leaves(node: Node, types: tuple[str, ...]) -> list[Node]:
    return [child for child in below(node) if child.type in types and not child.named_children]
