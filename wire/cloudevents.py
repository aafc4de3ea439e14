"""The names that a reading has on the wire: CloudEvents 1.0, singly or in batches.

Source: CloudEvents 1.0.2 (JSON event format and batch, AMQP binding); docs/wire-contract.md says which attributes are used.
"""

from __future__ import annotations

SPEC_VERSION = "1.0"
BATCH_CONTENT_TYPE = "application/cloudevents-batch+json"
STRUCTURED_CONTENT_TYPE = "application/cloudevents+json"

PROPERTY_PREFIX = "cloudEvents_"
"""Of the application properties that hold a single event's attributes; IoT Hub allows no colon in their names."""
PROPERTY_PREFIXES = (PROPERTY_PREFIX, "cloudEvents:")
"""What a reader accepts: the second is the AMQP binding's other one."""

REPLICA_ATTRIBUTE = "replica"
"""Who sent the event, as the sender says; IoT Hub's own annotation goes before it."""

SEQUENCE_DIGITS = 20
"""A sequence number is padded with zeros to this length, since it must order as text."""
