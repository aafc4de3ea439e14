"""What is configured and hardly wanted, but does not prevent the start: `run` logs it, and `check` prints it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from dedup_service.config.file import SETTING, ConfigFile, GroupSettings, InputSettings, OutputSettings
from dedup_service.config.hubs import InputConfig, OutputConfig
from dedup_service.config.senders import SenderSettings
from dedup_service.config.settings import PREFIX
from dedup_service.config.variables import unknown_variables
from dedup_service.core.groups import CLOUDEVENTS
from dedup_service.core.patterns import are_all_named
from wire.formats.registry import doubts_of


@dataclass(frozen=True, slots=True)
class ConfigWarning:
    name: str
    """In logs."""
    setting: str
    effect: str
    """What happens, and what to do."""
    place: str = ""
    """Where in the file it is, such as `group presses, format_options.source`."""

    def __str__(self) -> str:
        return f"{self.setting}: {self.place + ': ' if self.place else ''}{self.effect}"


def no_groups() -> ConfigWarning:
    effect = "all devices are one group: each of them may send, and so suppress, any source"
    return ConfigWarning("no_groups", SETTING, effect)


def unknown_settings(environment: Iterable[str], file: ConfigFile | None) -> Iterator[ConfigWarning]:
    hubs: list[InputSettings | OutputSettings] = [] if file is None else [*file.inputs, *file.outputs]
    named = {hub.connection_string_env for hub in hubs}
    for variable, meant in unknown_variables(environment).items():
        if variable not in named:
            help_text = f"did you mean {meant}?" if meant else "`dedup-service run --help` lists the settings"
            yield ConfigWarning("unknown_setting", variable, f"is no setting, and is ignored; {help_text}")


def shared_consumer_groups(inputs: Sequence[InputConfig], outputs: Sequence[OutputConfig]) -> Iterator[ConfigWarning]:
    for side, hubs in (("INPUT", inputs), ("OUTPUT", outputs)):
        if any(hub.consumer_group.lower() == "$default" for hub in hubs):
            effect = "this service's readers disconnect every other reader of $Default; give it a group of its own"
            yield ConfigWarning("shared_consumer_group", f"{PREFIX}{side}_CONSUMER_GROUP", effect)


def file_warnings(file: ConfigFile) -> Iterator[ConfigWarning]:
    for kind, senders in (("input", file.inputs), ("group", file.groups)):
        for sender in senders:
            for place, reason in doubts(sender):
                yield ConfigWarning("doubtful_identity", SETTING, reason, f"{kind} {sender.name}, {place}")
    yield from _other_identities(file)
    yield from _taken_devices(file)


def _taken_devices(file: ConfigFile) -> Iterator[ConfigWarning]:
    """A device belongs to the first group that names it."""
    for number, group in enumerate(file.groups):
        for index, pattern in enumerate(group.devices):
            if takers := _takers(pattern, file.groups[:number]):
                one = len(takers) == 1
                yield ConfigWarning(
                    "devices_taken",
                    SETTING,
                    f"no device of {pattern} is ever in this group, since {'group' if one else 'groups'} "
                    f"{' and '.join(takers)}, which {'comes' if one else 'come'} first, {'names' if one else 'name'} all of "
                    "them: put this group before, or let these devices out there",
                    f"group {group.name}, devices[{index}]",
                )


def _takers(pattern: str, earlier: Sequence[GroupSettings]) -> list[str]:
    """The one earlier group that names all of the pattern's devices, or those that do so together."""
    for group in earlier:
        if are_all_named(pattern, group.devices):
            return [group.name]
    together = [device for group in earlier for device in group.devices]
    return [group.name for group in earlier] if len(earlier) > 1 and are_all_named(pattern, together) else []


def doubts(sender: SenderSettings) -> Iterator[tuple[str, str]]:
    """(field, why copies hardly ever agree on what it names, and what to do)"""
    if sender.format != CLOUDEVENTS:
        for member, reason in doubts_of(sender.format, json.dumps(sender.format_options)):
            yield f"format_options{member}", reason


def _other_identities(file: ConfigFile) -> Iterator[ConfigWarning]:
    """A device may send to any input, so that only the operator knows whether a group's copies come by several."""
    by_input = {source.name: source.strategy for source in file.inputs if source.strategy is not None}
    groups = [group.name for group in file.groups if "identity" in group.inherited]
    if groups and len(set(by_input.values())) > 1:
        told = ", ".join(f"{strategy} by {name}" for name, strategy in by_input.items())
        yield ConfigWarning(
            "identities_by_input",
            SETTING,
            f"readings have the identity {told}, so that copies that come by different inputs never match. Where devices "
            "of a group use several, let these have one `identity`, or give the group a `format` of its own",
            f"{'group' if len(groups) == 1 else 'groups'} {', '.join(groups)}",
        )
