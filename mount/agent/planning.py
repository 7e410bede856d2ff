"""From a job spec, and what a journal says of an earlier agent, to a lifecycle's plan and past."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from datastores.contract import InputMode, JobSpec, OutputMode, When
from mount.agent.manifest import Sent
from mount.agent.process import Identity
from mount.lifecycle.advance import Past
from mount.lifecycle.job import Ending
from mount.lifecycle.plan import Plan, PlannedInput, PlannedOutput, Way


def plan_of(spec: JobSpec, *, can_mount: bool) -> Plan:
    """The plan of a spec, on a node where mounts are possible or not."""
    mount = Way.MOUNT if can_mount else Way.COPY
    inputs = [
        PlannedInput(one.name, mount if one.mode is InputMode.MOUNT else Way.COPY)
        for one in spec.inputs
    ]
    outputs = [
        PlannedOutput(
            one.name,
            mount if one.mode is OutputMode.MOUNT else Way.COPY,
            always=one.when is When.ALWAYS,
        )
        for one in spec.outputs
    ]
    return Plan(
        (*inputs, *(PlannedInput(one.name) for one in spec.rows)),
        tuple(outputs),
        spec.source is not None,
        spec.limits.run_seconds,
        spec.limits.grace_seconds,
        spec.limits.flush_seconds,
    )


def mounted_names(spec: JobSpec) -> list[str]:
    """The references that ask for a mount."""
    inputs = [one.name for one in spec.inputs if one.mode is InputMode.MOUNT]
    return inputs + [one.name for one in spec.outputs if one.mode is OutputMode.MOUNT]


@dataclass(slots=True)
class History:
    """Everything a journal says."""

    past: Past = field(default_factory=Past)
    # Inputs whose path was free when their fetching began: what is there now came from it.
    fetching: set[str] = field(default_factory=set)
    # By output and name.
    sent: dict[str, dict[str, Sent]] = field(default_factory=dict)
    process: Identity | None = None
    is_settled: bool = False

    def add(self, line: Mapping[str, Any]) -> None:
        """One line more."""
        match line["event"]:
            case "fetching":
                self.fetching.add(line["name"])
            case "sent":
                one = Sent(**line["file"])
                self.sent.setdefault(line["output"], {})[one.name] = one
            case "taken back":
                self.sent[line["output"]].pop(line["name"], None)
            case "started" if line["pid"] is not None:
                self.process = Identity(line["pid"], line["ticks"], line["boot"])
            case "ended":
                self.is_settled = line["settled"]
        self.past = _after(self.past, line)


def history_of(lines: Iterable[Mapping[str, Any]]) -> History:
    """What earlier agents achieved, in their order."""
    history = History()
    for line in lines:
        history.add(line)
    return history


def _after(past: Past, line: Mapping[str, Any]) -> Past:  # noqa: PLR0911  # one for each event
    match line["event"]:
        case "source":
            return replace(past, has_source=True)
        case "ready":
            return replace(past, ready=past.ready | {line["name"]})
        case "fell back":
            return replace(past, fallen_back=past.fallen_back | {line["name"]})
        case "started":
            return replace(past, was_started=True)
        case "not started":
            return replace(past, was_started=False)
        case "exited":
            return replace(past, exit_code=line["code"])
        case "ending":
            return replace(past, ending=Ending(line["ending"]))
        case "sealed":
            return replace(past, sealed=past.sealed | {line["output"]})
        case _:
            return past
