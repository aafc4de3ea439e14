"""Looks at the start whether the claims of this deployment are in a namespace of before, and would be forgotten."""

from __future__ import annotations

from typing import Any, cast

from dedup_service.adapters.redis.calls import RedisClient, call, time_ms
from dedup_service.adapters.redis.leases import scope_prefix
from dedup_service.adapters.redis.unreadable import log_unreadable, read
from dedup_service.errors import ConfigurationError

SETTING = "DEDUP_NAMESPACE"


async def check_former_namespace(client: RedisClient, *, former: str, present: str, hub: str, live_seconds: float) -> None:
    """Refuses to start beside what this input hub's deployment has under its former default namespace.

    Only keys of this very `hub` (`namespace/hub`) count, so that a new deployment is not stopped by another one's. Pods that
    are alive there count even if the present namespace is in use, too (the version was rolled back in between): both would
    publish everything. Costs at most four commands, each on one slot. Raises ConfigurationError, or UnavailableError.
    """
    if not await _has_been_used(client, former, hub):
        return
    is_live = await _is_live(client, former, hub, live_seconds)
    if not is_live and await _has_been_used(client, present, hub):
        return
    problem = (
        f"is not set, and its default now contains the input hub: {present}. But this input hub's claims in Redis are under "
        f"{former}{', where pods are running' if is_live else ''}, and would be forgotten. Set it to {former} to keep them. "
        f"If a deployment with another input hub uses {former}, too, only one of the two may keep it; the other one stops "
        f"all its pods and sets {present}, and copies that are still on their way are then published once more"
    )
    raise ConfigurationError(SETTING, problem, former)


async def _has_been_used(client: RedisClient, namespace: str, hub: str) -> bool:
    """Every pod is on the list while it is alive, and a lease stays for ever; every hub has a partition 0."""
    keys = (scope_prefix(namespace, "pods", hub), f"{scope_prefix(namespace, 'lease', hub)}:0")
    return bool(await call(client, client.exists(*keys)))


async def _is_live(client: RedisClient, namespace: str, hub: str, live_seconds: float) -> bool:
    """Whether a pod has renewed its leases within the last `live_seconds`."""
    pods = scope_prefix(namespace, "pods", hub)
    since_ms = await time_ms(client, pods) - int(live_seconds * 1000)
    return bool(await read(client, log_unreadable, pods, cast("Any", client.zcount(pods, since_ms, "+inf")), 0))
