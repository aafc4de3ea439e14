"""What became of one reading, by what is kept of it. What is not kept is said to be unknown, not guessed."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dedup_service.api.views.base import View
from dedup_service.api.views.examples import ConflictView, conflict_view, names_of
from dedup_service.core.accounting import group_figures, replica_figures
from dedup_service.core.claims import MAX_REPLICAS, OTHER_REPLICA
from dedup_service.core.groups import OBSERVE, Group
from dedup_service.observability.fleet import Fate
from dedup_service.ports.accounting import StoredClaim

ConflictState = Literal["none", "seen", "unknown"]
KeyVerdict = Literal["published", "claimed", "observed"]


class KeyView(View):
    group: str
    verdict: KeyVerdict = Field(
        description="`claimed`: the winner is being processed, or was when its pod ended; then it will be processed again. "
        "`observed`: the group observes; the winner would be published, and nothing is."
    )
    winner_origin: str = Field(description="Incarnation/partition/sequence number/index of the copy that won.")
    winner_enqueued_ms: int
    replicas: list[str] = Field(description="Replicas that delivered it.")
    replicas_known: bool = Field(
        description="False where the claim was read back after Redis forgot, which does not say who else had delivered it."
    )
    not_from: list[str] = Field(description="Replicas of the group that have not delivered it, or not yet.")
    copies: int = Field(description="One of each of these replicas: at least so many copies came.")
    copies_exact: bool = Field(
        description="True where no more can have come, since no replica has repeated a reading of this source since then; "
        "repetitions are counted by source, not by reading."
    )
    conflict: ConflictState = Field(
        description="`none`: all copies of this source have agreed since then. `seen`: `conflicts` has copies of this one "
        "that did not. `unknown`: copies of this source differed, but none of the latest 200 examples is of this one; or "
        "they are not counted, or forgotten."
    )
    conflicts: list[ConflictView]
    content: str = Field(description="Hash of what copies must agree on.")
    remembered_seconds: float
    text: str = Field(
        description="The same as a sentence.", examples=["published; 3 copies, of edge-1/sender, edge-2/sender, edge-3"]
    )

    @classmethod
    def of(cls, group: Group, stored: StoredClaim, fate: Fate, names: dict[int, str]) -> KeyView:
        claim = stored.claim
        origin, replicas = claim.origin, names_of(claim.replicas, names)
        conflict = _conflict(fate)
        exact = not claim.restored and not claim.replicas >> OTHER_REPLICA & 1 and _repeated(fate) == 0
        verdict: KeyVerdict = "published" if claim.confirmed else "claimed"
        if group.mode == OBSERVE:
            verdict = "observed"
        return cls(
            group=group.name,
            verdict=verdict,
            winner_origin=f"{origin.incarnation:08x}/{origin.partition}/{origin.sequence_number}/{origin.index}",
            winner_enqueued_ms=claim.enqueued_ms,
            replicas=replicas,
            replicas_known=not claim.restored,
            not_from=[name for number, name in sorted(names.items()) if not claim.replicas >> number & 1],
            copies=len(replicas),
            copies_exact=exact,
            conflict=conflict,
            conflicts=[conflict_view(example, names) for example in fate.conflicts],
            content=claim.content.hex(),
            remembered_seconds=stored.ttl_ms / 1000,
            text=f"{_sentence(verdict, replicas, exact=exact)}{_agreement(conflict, fate)}",
        )


def _conflict(fate: Fate) -> ConflictState:
    if fate.conflicts:
        return "seen"
    return "unknown" if fate.since is None or group_figures(fate.since).conflicts else "none"


def _repeated(fate: Fate) -> int | None:
    """Copies of the source that their replica had delivered before, since the winner came; None where that is not known."""
    if fate.since is None:
        return None
    return sum(replica_figures(fate.since, number).self_duplicates for number in range(MAX_REPLICAS))


def _sentence(verdict: KeyVerdict, replicas: list[str], *, exact: bool) -> str:
    count = len(replicas)
    copies = f"{'' if exact else 'at least '}{count} {'copy' if count == 1 else 'copies'}, of {', '.join(replicas)}"
    return f"{'observed, not published' if verdict == 'observed' else verdict}; {copies}"


def _agreement(conflict: ConflictState, fate: Fate) -> str:
    if conflict == "none":
        return ""
    if conflict == "seen":
        return "; they differ in content (see conflicts)"
    of_others = "copies of this source differed since then, and no example of this one is kept"
    why = of_others if fate.since is not None else "that time is not counted, or forgotten"
    return f"; whether they agree in content is not known: {why}"
