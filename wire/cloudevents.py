"""Names that readings use on the wire, as CloudEvents 1.0, singly or in batches.

Source: CloudEvents 1.0.2 (JSON event format and batch, AMQP binding); docs/wire-contract.md says which attributes are used.
"""

from __future__ import annotations

SPEC_VERSION = "1.0"
BATCH_CONTENT_TYPE = "application/cloudevents-batch+json"
STRUCTURED_CONTENT_TYPE = "application/cloudevents+json"

READING_TYPE = "reading"
"""The `type` of a reading whose sender says nothing else."""

PROPERTY_PREFIX = "cloudEvents_"
"""Prefix of the application properties that hold a single event's attributes. IoT Hub allows no colon in their names."""
PROPERTY_PREFIXES = (PROPERTY_PREFIX, "cloudEvents:")
"""Prefixes that a reader accepts; the second is the alternative that the AMQP binding allows."""

REPLICA_ATTRIBUTE = "replica"
"""The replica that sent the event, as the sender states it; IoT Hub's own annotation takes precedence."""

SEQUENCE_DIGITS = 20
"""A sequence number is zero-padded to this length, because it must sort as text."""
