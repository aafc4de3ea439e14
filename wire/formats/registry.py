"""The formats by name, with their options."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, get_args

import msgspec

from wire.formats.any_json import Json, Shape, doubts
from wire.formats.azure_iot_operations import AzureIotOperations, AzureIotOperationsOptions
from wire.formats.cutting import JsonLayout, MakeLayout
from wire.formats.ignition import Ignition, IgnitionOptions
from wire.formats.kepware import KepwareOptions, kepware
from wire.formats.messages import Format
from wire.formats.opc_publisher import OpcPublisher
from wire.formats.protobuf import RepeatedFieldLayout
from wire.formats.siemens import Siemens, SiemensOptions
from wire.formats.sparkplug import METRICS, Sparkplug, SparkplugOptions
from wire.formats.telegraf import Telegraf, TelegrafOptions

_FORMATS: dict[str, tuple[Any, Callable[[Any], Format]]] = {
    "azure-iot-operations": (AzureIotOperationsOptions, AzureIotOperations),
    "ignition": (IgnitionOptions, Ignition),
    "json": (Shape | list[Shape], lambda shapes: Json(*(shapes if isinstance(shapes, list) else [shapes]))),
    "kepware": (KepwareOptions, kepware),
    "opc-publisher": (OpcPublisher, lambda options: options),
    "siemens": (SiemensOptions, Siemens),
    "sparkplug": (SparkplugOptions, Sparkplug),
    "telegraf": (TelegrafOptions, Telegraf),
}
"""Type of the options, and what makes the format of them."""
NAMES = sorted(_FORMATS)
LEARNING = frozenset(("siemens", "sparkplug"))
"""Those that learn names from one message for others."""
OWN_TIMES = "time-bucket:1"
DEFAULT_STRATEGIES = dict.fromkeys(NAMES, "source-time+value") | {"kepware": OWN_TIMES, "siemens": OWN_TIMES}
"""What tells the readings of a source apart, by format. Kepware's servers and Siemens' connectors stamp what they polled
themselves, so that exact times never match."""


def make_format(name: str, options: bytes | str = b"{}") -> Format:
    """A format for one stream of messages: some formats learn names from it. Raises ValueError, which says what is wrong
    with the options (a JSON object)."""
    kind, make = _FORMATS[name]
    return make(msgspec.json.decode(options, type=kind))


def option_names(name: str) -> tuple[str, ...]:
    """The members that the options of a format can have."""
    kind = _FORMATS[name][0]
    (struct, *_) = get_args(kind) or (kind,)
    names: tuple[str, ...] = struct.__struct_encode_fields__
    return names


def doubts_of(name: str, options: bytes | str) -> Iterator[tuple[str, str]]:
    """(member of the options, why copies hardly ever agree on what it names, and what to do), such as `.source`. The options
    are those of which a format can be made."""
    if name == "json":
        yield from doubts(msgspec.json.decode(options, type=_FORMATS[name][0]))


def layout_of(name: str) -> MakeLayout:
    """What lays out the bodies of a format, of which readings can then be left out."""
    return partial(RepeatedFieldLayout, number=METRICS) if name == "sparkplug" else JsonLayout
