"""Helpers for third-party programs that the tests run against: Node.js and Azurite."""

from __future__ import annotations

import json
import subprocess
import uuid
from typing import Any

from azure.eventhub.extensions.checkpointstoreblobaio import BlobCheckpointStore

from sandbox.peers.node import NODE, NODE_FOLDER


def run_node(script: str, *arguments: str) -> object:
    """The JSON that tests/node/<script> prints."""
    command = [str(NODE), script, *arguments]
    done = subprocess.run(command, cwd=NODE_FOLDER, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


async def new_container(connection_string: str, **options: Any) -> str:
    """The name of a new blob container."""
    name = f"checkpoints-{uuid.uuid4().hex[:8]}"
    async with BlobCheckpointStore.from_connection_string(connection_string, name, **options) as store:
        await store._container_client.create_container()
    return name
