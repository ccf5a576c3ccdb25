"""A record as a frozen dataclass, and its form as a JSON object; every event is one subclass (`events.py`)."""

from dataclasses import MISSING, dataclass, field, fields
from typing import ClassVar, Self

from nmlab.trials.contract.values import JsonMapping, JsonObject

_EVENT, _REST = "event", "rest"
_Shape = tuple[tuple[str, ...], tuple[str, ...]]
_SHAPES: dict[type, _Shape] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Something that happened in a launch.

    A field that is None is left out of the JSON object: records of earlier versions lack it.
    """

    event: ClassVar[str]
    """The name of the event, as it stands in journals."""
    rest: JsonMapping = field(default_factory=dict)
    """The fields that the class does not name; kept, so that a newer version's record is written as it was read."""

    def to_json(self) -> JsonObject:
        """Return the record as a JSON object, its event first."""
        known = {name: value for name in _shape(type(self))[0] if (value := getattr(self, name)) is not None}
        return {_EVENT: self.event, **known, **self.rest}

    @classmethod
    def from_json(cls, record: JsonMapping) -> Self:
        """Return a JSON object of this event as a record; raises ``ValueError`` if it lacks a field."""
        names, required = _shape(cls)
        given: JsonObject = {}
        rest: JsonObject = {}
        for name, value in record.items():
            if name != _EVENT:
                (given if name in names else rest)[name] = value
        if missing := [name for name in required if name not in given]:
            raise ValueError(f"its record {cls.event!r} has no {' and no '.join(missing)}")
        return cls(rest=rest, **given)


def _shape(cls: type[Record]) -> _Shape:
    """Return the names of a class's own fields, and those without a default."""
    known = _SHAPES.get(cls)
    if known is None:
        own = [each for each in fields(cls) if each.name != _REST]
        required = [each.name for each in own if each.default is MISSING and each.default_factory is MISSING]
        known = _SHAPES[cls] = tuple(each.name for each in own), tuple(required)
    return known
