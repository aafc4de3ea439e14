"""What structures are made of, by the definitions that the server gives. Pure.

Source: OPC 10000-3, 8.48 to 8.51 (StructureDefinition); OPC 10000-6, 5.2.6 to 5.2.8 (their encoding).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from asyncua import ua

from edge_sender.sources.opcua.addresses import Key, key
from edge_sender.sources.opcua.walking import MOST_LEVELS, Kind

LAST_BUILT_IN = 25
STRUCTURE: Key = (0, ua.ObjectIds.Structure)
ENUMERATION, NUMBERS = 29, {26, 27, 28}
"""Data types of the standard's namespace that are encoded as something else: as Int32, and as a Variant."""


class Form(Enum):
    STRUCTURE = "structure"
    OPTIONAL_FIELDS = "structure with optional fields"
    UNION = "union"


FORMS = {
    ua.StructureType.Structure: Form.STRUCTURE,
    ua.StructureType.StructureWithOptionalFields: Form.OPTIONAL_FIELDS,
    ua.StructureType.Union: Form.UNION,
    ua.StructureType.StructureWithSubtypedValues: Form.STRUCTURE,
    ua.StructureType.UnionWithSubtypedValues: Form.UNION,
}
WITH_SUBTYPES = {ua.StructureType.StructureWithSubtypedValues, ua.StructureType.UnionWithSubtypedValues}


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    kind: int | Structure
    """The built-in type, or the structure that stands there."""
    rank: int = 0
    """Number of dimensions."""
    is_optional: bool = False


@dataclass(frozen=True, slots=True)
class Structure:
    form: Form
    fields: tuple[Field, ...]


class UnknownTypeError(ValueError):
    """A structure can't be read, since something that it is made of is not known."""


@dataclass(slots=True)
class DataTypes:
    """What a server says about its data types."""

    supertypes: dict[Key, Key] = field(default_factory=dict)
    definitions: dict[Key, ua.StructureDefinition] = field(default_factory=dict)
    """Of the structures."""
    _structures: dict[Key, Structure] = field(default_factory=dict)

    def structures(self) -> Mapping[Key, Structure]:
        """By the node of their binary encoding, as values name them. Those that can't be read are left out."""
        readable = {}
        for data_type, definition in self.definitions.items():
            try:
                readable[key(definition.DefaultEncodingId)] = self._structure(data_type, 0)
            except UnknownTypeError:
                continue
        return readable

    def _structure(self, data_type: Key, level: int) -> Structure:
        if data_type not in self._structures:
            if level >= MOST_LEVELS:
                raise UnknownTypeError("it contains itself")
            definition = self.definitions[data_type]
            form = FORMS.get(definition.StructureType)
            if form is None:
                raise UnknownTypeError("it is of a kind that is not known")
            has_subtypes = definition.StructureType in WITH_SUBTYPES
            fields = tuple(self._field(part, level + 1, has_subtypes=has_subtypes) for part in definition.Fields or ())
            self._structures[data_type] = Structure(form, fields)
        return self._structures[data_type]

    def _field(self, part: ua.StructureField, level: int, *, has_subtypes: bool) -> Field:
        kind = self._kind(key(part.DataType), level)
        if has_subtypes and part.IsOptional:  # the flag means there that any subtype may stand for the field's type
            kind = Kind.EXTENSION_OBJECT if isinstance(kind, Structure) else Kind.VARIANT
        return Field(
            name=str(part.Name),
            kind=kind,
            rank=max(0, part.ValueRank),
            is_optional=bool(part.IsOptional) and not has_subtypes,
        )

    def _kind(self, data_type: Key, level: int) -> int | Structure:
        if data_type in self.definitions:
            return self._structure(data_type, level)
        seen = set()
        while not _is_standard(data_type):
            if data_type in seen or data_type not in self.supertypes:
                raise UnknownTypeError(f"its type {data_type} is not known")
            seen.add(data_type)
            data_type = self.supertypes[data_type]
        if seen and data_type == STRUCTURE:  # it is encoded in place, and only its definition says how
            raise UnknownTypeError("the server does not define a structure that is a part of it")
        _, number = data_type
        if number == ENUMERATION:
            return Kind.INT32
        return Kind.VARIANT if number in NUMBERS else int(number)


def _is_standard(name: Key) -> bool:
    """Whether it is a built-in type or one of which the encoding is known."""
    namespace, number = name
    return namespace == 0 and isinstance(number, int) and (number <= LAST_BUILT_IN or number in NUMBERS | {ENUMERATION})
