"""Values: what they promise, and that `dataclasses` takes them for its own."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any

import pytest

from datastores.value import Value, field


class Place(Value):
    """A point with a name."""

    x: int
    y: int = 0
    name: str = "here"
    notes: dict[str, Any] = field(default_factory=dict)


class Sibling(Value):
    """The same fields under another name."""

    x: int
    y: int = 0
    name: str = "here"
    notes: dict[str, Any] = field(default_factory=dict)


class Deep(Place):
    """A place below another."""

    above: Place | None = None


def test_values_are_equal_by_fields_and_class() -> None:
    """Equal fields of one class are equal and hash alike; another class or field is another value."""
    assert Place(1, 2) == Place(x=1, y=2)
    assert Place(1) != Sibling(1)
    assert Place(1) != Place(2)
    assert len({Place(1, notes=()), Place(1, notes=())}) == 1  # type: ignore[arg-type]


def test_a_value_cannot_be_changed() -> None:
    """Neither a field that it has nor one that it has not can be set."""
    with pytest.raises(AttributeError):
        Place(1).x = 2  # type: ignore[misc]
    with pytest.raises(AttributeError):
        Place(1).z = 2  # type: ignore[attr-defined]


def test_defaults_are_not_shared() -> None:
    """Each value has a dictionary of its own where nobody gave it one."""
    first, second = Place(1), Place(1)
    first.notes["a"] = 1
    assert second.notes == {}


def test_dataclasses_takes_a_value_for_its_own() -> None:
    """`replace`, `fields` and `asdict` answer as for a dataclass of the same fields."""

    @dataclasses.dataclass(frozen=True)
    class Twin:
        """What a value stands in for."""

        x: int
        y: int = 0
        name: str = "here"
        notes: dict[str, Any] = dataclasses.field(default_factory=dict)

    def shape(kind: Any) -> list[tuple[str, Any, Any]]:
        return [(one.name, one.default, one.default_factory) for one in dataclasses.fields(kind)]

    assert dataclasses.is_dataclass(Place)
    assert shape(Place) == shape(Twin) == shape(Place(1))
    assert dataclasses.asdict(Place(1, notes={"a": Place(2)})) == dataclasses.asdict(
        Twin(1, notes={"a": Twin(2)})
    )
    assert dataclasses.replace(Place(1, 2), name="there") == Place(1, 2, "there")
    with pytest.raises(TypeError):
        dataclasses.replace(Place(1), color="red")


def test_fields_of_a_base_come_first() -> None:
    """A subclass has its base's fields and its own, and a value in it becomes a dictionary, too."""
    assert [one.name for one in dataclasses.fields(Deep)] == ["x", "y", "name", "notes", "above"]
    assert dataclasses.asdict(Deep(1, above=Place(2)))["above"] == dataclasses.asdict(Place(2))


def test_values_are_copied_and_sent() -> None:
    """A copy, a deep copy and a pickle equal the original."""
    one = Deep(1, notes={"a": [1]}, above=Place(3))
    assert copy.copy(one) == copy.deepcopy(one) == pickle.loads(pickle.dumps(one)) == one


def test_a_value_shows_its_fields() -> None:
    """The repr is the call that makes an equal one."""
    assert repr(Place(1, name="a")) == "Place(x=1, y=0, name='a', notes={})"
