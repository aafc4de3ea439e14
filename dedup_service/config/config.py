"""Everything that the operator said: the environment, and the file that it names, which is read once."""

from __future__ import annotations

import hashlib
import os
from functools import cached_property

from dedup_service.config.addresses import HubAddress
from dedup_service.config.file import GroupSettings, load_config_file
from dedup_service.config.groups import configured_groups, make_group, mode_of, only_observes
from dedup_service.config.hubs import (
    InputConfig,
    OutputConfig,
    check_address,
    configured_inputs,
    configured_outputs,
    dead_letter_address,
)
from dedup_service.config.rebuildable import not_rebuildable
from dedup_service.config.settings import Settings
from dedup_service.config.warnings import ConfigWarning, file_warnings, no_groups, shared_consumer_groups, unknown_settings
from dedup_service.core.groups import OBSERVE, Group
from dedup_service.errors import ConfigurationProblems


class Config:
    """Each property raises ConfigurationError when what it is made of is missing or wrong. They are computed when they are
    asked for, since not every command needs all settings."""

    def __init__(self, settings: Settings) -> None:
        """Raises ConfigurationError when the file is wrong."""
        self.settings = settings
        self._file = None if settings.config_file is None else load_config_file(settings.config_file)

    def note_problems(self, problems: ConfigurationProblems) -> None:
        """All that `run` would stop at."""
        for part in ("inputs", "outputs", "group_settings", "dead_letters"):
            with problems.noted():
                getattr(self, part)

    @cached_property
    def group_settings(self) -> list[GroupSettings]:
        return configured_groups(self.settings, self._file)

    def groups(self, clean_partitions: list[str], input_name: str | None = None) -> list[Group]:
        """As they are for events of this input; without one, as far as they are the same for all. See `make_group`."""
        made = []
        for group in self.group_settings:
            by_input = {} if self._file is None else self._file.by_input(group)
            formats = {read.format for read in by_input.values()}
            own = by_input.get(input_name or "", group)
            made.append(make_group(own, self.settings, clean_partitions, formats, self.namespace))
        return made

    @property
    def only_observes(self) -> bool:
        """Whether no group publishes anything."""
        return only_observes(self.group_settings, self.settings)

    @cached_property
    def inputs(self) -> list[InputConfig]:
        return configured_inputs(self.settings, self._file)

    @cached_property
    def outputs(self) -> list[OutputConfig]:
        return configured_outputs(self.settings, self._file)

    @cached_property
    def common_ground(self) -> str:
        """A digest of what all pods that work at the same time must have in common: the inputs, since a claim that came
        through another one counts as that of a hub that is gone; the groups that are only observed, since what one pod
        observes no other publishes; and the number of shards, since claims that were made with another one are not found."""
        inputs = ["/".join((*source.address.name, source.consumer_group)).lower() for source in self.inputs]
        observed = [group.name for group in self.group_settings if mode_of(group, self.settings) == OBSERVE]
        return _digest(repr((sorted(inputs), sorted(observed), self.settings.shard_count)))

    @property
    def warnings(self) -> list[ConfigWarning]:
        """What does not prevent the start."""
        return [
            *unknown_settings(os.environ, self._file),
            *([no_groups()] if self._file is None else []),
            *shared_consumer_groups(self.inputs, [] if self.only_observes else self.outputs),
            *(file_warnings(self._file) if self._file is not None else []),
            *(not_rebuildable(self._file, self.settings) if self._file is not None else []),
        ]

    @cached_property
    def dead_letters(self) -> HubAddress | None:
        """None where dead letters are discarded."""
        return dead_letter_address(self.settings)

    @cached_property
    def check_address(self) -> HubAddress:
        """Where `check --round-trip` sends."""
        return check_address(self.settings)

    @cached_property
    def namespace(self) -> str:
        """The prefix of all keys in Redis. Two deployments on one Redis must never read each other's claims as their own, so
        by default it is derived from what makes a deployment: its consumer group, its clean hub and its input hubs."""
        if self.settings.namespace:
            return self.settings.namespace
        return _derived(self._former_parts, *("/".join(source.address.name) for source in self.inputs))

    @property
    def former_namespace(self) -> str | None:
        """The default of before, which lacked the input hubs. None where the namespace is set."""
        return None if self.settings.namespace else _derived(self._former_parts)

    @property
    def _former_parts(self) -> str:
        (source,) = self.inputs
        clean = "/".join(self.outputs[0].address.name) if self.outputs else ""
        return f"{source.consumer_group}|{clean}"


def _derived(*parts: str) -> str:
    text = "|".join(parts).lower()
    return f"dd{_digest(text)}"


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
