"""What must never tell readings apart, because each gateway, process or message makes its own; and what may, but rarely
does, because a plant's own code could set it."""

from __future__ import annotations

_PER_MESSAGE, _PER_GATEWAY = "is made for each message", "is each gateway's own"
_NEVER = {
    "messageid": _PER_MESSAGE,
    "publisherid": _PER_GATEWAY,
    "sequencenumber": "counts in each gateway's process",
    "datasetwriterid": "is the writer's place in one gateway's configuration",
    "metadataversion": "comes from each gateway's clock",
    "servertimestamp": "is made by the server for each subscription",
    "seq": "counts in each gateway's process",
    "bdseq": "counts the births of each gateway",
    "rseq": "counts in each gateway's process",
    "alias": "is valid in one session of one gateway",
    "correlationid": _PER_MESSAGE,
    "creationtime": "is the time of sending",
    "creationtimeutc": "is the time of sending",
    "iothubcreationtimeutc": "is the time of sending",
    "iothubappiothubcreationtimeutc": "is the time of sending",
    "iothubenqueuedtime": "is the time of arrival",
    "xoptenqueuedtime": "is the time of arrival",
    "xoptoffset": "is a place in the input hub",
    "xoptsequencenumber": "is a place in the input hub",
    "host": "is the gateway's own name",
}
_OF_PROPERTIES = {
    "id": _PER_MESSAGE,
    "time": "is the time of sending",
    "recordedtime": "is the time of sending",
    "traceparent": _PER_MESSAGE,
    "uuid": _PER_MESSAGE,
    "sequence": "counts in each gateway's process",
    "externalassetid": "is each cluster's own",
    "servertoconnectormilliseconds": _PER_MESSAGE,
}
_PREFIXES = ("cloudevents", "ce")
_BY_OWN_CODE = ", so that copies never agree on it: leave it out, unless the plant's own code sets it equal on all"
_RARELY = {
    "messageid": f"is normally made anew by each gateway{_BY_OWN_CODE}",
    "correlationid": f"is normally made anew by each gateway{_BY_OWN_CODE}",
    "creationtime": f"is normally the time at which each gateway sends{_BY_OWN_CODE}",
    "iothubconnectiondeviceid": "is another one for each replica, so that copies never agree on it: leave it out",
}
"""Of what is beside a body: what its sender may set at will, and what the hub says of the sender."""


def why_never(name: str, *, is_property: bool = False) -> str | None:
    """Why this member or property can't be an identity, a source or a source time; None where it can. Spelling does not
    matter (`message-id`, `MessageId`)."""
    plain = _plain(name)
    if plain.startswith("iothubconnection"):
        return f"{name} {_PER_GATEWAY}"
    reason = _NEVER.get(plain)
    if reason is None and is_property:
        names = [plain, *(plain.removeprefix(prefix) for prefix in _PREFIXES)]
        reason = next(filter(None, map(_OF_PROPERTIES.get, names)), None)
    return f"{name} {reason}" if reason else None


def why_rarely(name: str) -> str | None:
    """Why this system property or annotation can hardly be an identity, and what to do; None where it can, or never can."""
    return _RARELY.get(_plain(name))


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name)).casefold()
