"""Heartbeats as bytes: signed, and worthless when they are repeated, changed, or come from somebody else. Pure.

A beat is the HMAC-SHA256 of a JSON object, and the object. Each process has a random session, and repeats in its beats the
sessions that it has seen of others. It believes only a beat that repeats its own, so that nothing recorded before it started
counts, and of each session only numbers that rise. No clock is involved.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from edge_sender.ports import Standing

VERSION = 1
MAC_BYTES = 32
MAX_BYTES = 8192
MOST_PEERS = 32
Refusal = Literal["forged", "foreign", "replayed", "unproven", "same-name", "own"]
REFUSALS: tuple[Refusal, ...] = ("forged", "foreign", "replayed", "unproven", "same-name", "own")


class RefusedError(Exception):
    def __init__(self, reason: Refusal) -> None:
        super().__init__(reason)
        self.reason: Refusal = reason


@dataclass(slots=True)
class _Peer:
    proven: str = ""
    """The session that has shown to be alive."""
    number: int = -1
    """The highest number in it."""
    claimed: str = ""
    """Another one that was seen last; repeated to it so that it can show the same."""


class Beats:
    """`group`: the replicas that take turns; beats of others are refused."""

    def __init__(self, key: bytes, group: str, name: str, session: str) -> None:
        self.refused: Counter[Refusal] = Counter()
        self._key = key
        self._group = group
        self._name = name
        self._session = session
        self._number = 0
        self._peers: dict[str, _Peer] = {}

    def encode(self, own: Standing) -> bytes:
        """The next beat. What would make it too long is left out: positions, then sources, which peers then send, too."""
        self._number += 1
        positions, reads = dict(own.positions), sorted(own.reads)
        while len(text := self._text(own, reads, positions)) > MAX_BYTES - MAC_BYTES:
            if positions:
                positions = {}
            else:
                reads = reads[: len(reads) // 2]
        return self._mac(text) + text

    def _text(self, own: Standing, reads: list[str], positions: Mapping[str, str]) -> bytes:
        seen = {name: [peer.proven, peer.claimed] for name, peer in self._peers.items()}
        beat = {"v": VERSION, "group": self._group, "name": own.name, "session": self._session, "number": self._number}
        says = {"sender": own.is_sender, "holds": own.holds, "fit": own.is_fit, "send": own.can_send, "ready": own.is_ready}
        return json.dumps({**beat, **says, "seen": seen, "reads": reads, "positions": positions}).encode()

    def decode(self, datagram: bytes) -> Standing:
        """What a peer says now. Raises RefusedError, and counts it."""
        try:
            return self._decode(datagram)
        except RefusedError as error:
            self.refused[error.reason] += 1
            raise
        except (LookupError, TypeError, AttributeError, ValueError):  # signed, and yet not of this version
            self.refused["foreign"] += 1
            raise RefusedError("foreign") from None

    def _decode(self, datagram: bytes) -> Standing:
        mac, text = datagram[:MAC_BYTES], datagram[MAC_BYTES:]
        if len(datagram) > MAX_BYTES or not hmac.compare_digest(mac, self._mac(text)):
            raise RefusedError("forged")
        beat: dict[str, Any] = json.loads(text)
        if (beat.get("v"), beat.get("group")) != (VERSION, self._group):
            raise RefusedError("foreign")
        if beat["name"] == self._name:
            raise RefusedError("own" if beat["session"] == self._session else "same-name")
        self._prove(beat)
        return Standing(
            name=beat["name"],
            is_sender=beat["sender"],
            holds=beat["holds"],
            is_fit=beat["fit"],
            can_send=beat["send"],
            is_ready=beat["ready"],
            reads=frozenset(beat["reads"]),
            positions=beat["positions"],
        )

    def _prove(self, beat: Mapping[str, Any]) -> None:
        """Raises RefusedError for a beat that may have been recorded."""
        if beat["name"] not in self._peers and len(self._peers) >= MOST_PEERS:
            raise RefusedError("foreign")
        peer = self._peers.setdefault(beat["name"], _Peer())
        if self._session not in beat["seen"].get(self._name, ()):
            if beat["session"] != peer.proven:
                peer.claimed = beat["session"]
            raise RefusedError("unproven")
        if beat["session"] != peer.proven:
            peer.proven, peer.claimed, peer.number = beat["session"], "", -1
        if beat["number"] <= peer.number:
            raise RefusedError("replayed")
        peer.number = beat["number"]

    def _mac(self, text: bytes) -> bytes:
        return hmac.digest(self._key, text, hashlib.sha256)
