"""What the lifecycle needs to know about a job spec: names, ways and bounds."""

from __future__ import annotations

import enum

from datastores.value import Value


class Way(enum.Enum):
    """How a reference becomes a path."""

    COPY = "copy"
    MOUNT = "mount"


class PlannedInput(Value):
    """Something the script reads."""

    name: str
    way: Way = Way.COPY


class PlannedOutput(Value):
    """Something the script writes; without `always` it is kept only after a success."""

    name: str
    way: Way = Way.COPY
    always: bool = True


class Plan(Value):
    """A whole job. Names are unique over inputs and outputs."""

    inputs: tuple[PlannedInput, ...] = ()
    outputs: tuple[PlannedOutput, ...] = ()
    has_source: bool = False
    run_seconds: float | None = None
    grace_seconds: float = 10.0
    flush_seconds: float = 20.0

    @property
    def references(self) -> tuple[PlannedInput | PlannedOutput, ...]:
        """Everything that becomes a path."""
        return (*self.inputs, *self.outputs)
