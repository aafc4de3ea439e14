"""Turns the duplicate streams of N redundant edges into one clean stream."""

from importlib.metadata import version

__version__ = version("redundant-edge-dedup")
