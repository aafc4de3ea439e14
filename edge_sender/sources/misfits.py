"""What becomes no reading, and why. Pure."""

from __future__ import annotations


class Misfit(Exception):  # noqa: N818  # it is a message's fault, and no error of ours
    """A message, or a part of one, that becomes no reading."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
