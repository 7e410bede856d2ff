"""What a daemon must know after it was killed: written aside, then renamed.

Nothing is synced: after a loss of power there are no mounts to remember. No secret is in it.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datastores.errors import DatastoresError
from datastores.value import Value, field
from mount.daemon.lease_source import LeaseSource
from mount.daemon.sharing import Attach, Mount, Phase, Reference, State, Step
from mount.errors import MountError
from mount.host.order import MountOrder, order_from_json, order_to_json

VERSION = 1


class Memory(Value):
    """The decisions so far, what each share mounts, and where its leases come from."""

    state: State = State()  # a frozen value
    orders: Mapping[str, MountOrder] = field(default_factory=dict)
    sources: Mapping[str, LeaseSource] = field(default_factory=dict)


def save(path: Path, memory: Memory) -> None:
    """Replace what was remembered, in one step."""
    raw = {
        "version": VERSION,
        "mounts": {
            share: {"phase": one.phase.value, "losses": one.losses, "leavers": list(one.leavers)}
            for share, one in memory.state.mounts.items()
        },
        "references": {at: _flat(one) for at, one in memory.state.references.items()},
        "orders": {
            share: order_to_json(one.without_lease()) for share, one in memory.orders.items()
        },
        "sources": {share: one.to_wire() for share, one in memory.sources.items()},
    }
    aside = path.with_name(f".{path.name}")
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        json.dump(raw, file)
    aside.replace(path)


def load(path: Path) -> Memory:
    """What the last daemon remembered; nothing where there was none."""
    try:
        raw = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return Memory()
    except (OSError, ValueError) as error:
        raise _unreadable(path, str(error)) from error
    try:
        return _parse(raw)
    except (KeyError, TypeError, ValueError, AttributeError, DatastoresError) as error:
        raise _unreadable(path, f"{type(error).__name__}: {error}") from error


def _parse(raw: Any) -> Memory:
    if raw["version"] != VERSION:
        raise ValueError(f"version {raw['version']} is not {VERSION}")
    mounts = {
        share: Mount(Phase(one["phase"]), one["losses"], tuple(one["leavers"]))
        for share, one in raw["mounts"].items()
    }
    references = {at: _reference(one) for at, one in raw["references"].items()}
    return Memory(
        State(mounts, references),
        {share: order_from_json(text) for share, text in raw["orders"].items()},
        {share: LeaseSource.of_wire(one) for share, one in raw["sources"].items()},
    )


def _flat(one: Reference) -> dict[str, Any]:
    return {**dataclasses.asdict(one), "step": one.step.value}


def _reference(raw: dict[str, Any]) -> Reference:
    successor = raw["successor"]
    return Reference(
        raw["share"],
        raw["owner"],
        Step(raw["step"]),
        raw["is_leaving"],
        raw["is_answered"],
        Attach(**successor) if successor else None,
        raw["is_awaited"],
        raw["links"],
    )


def _unreadable(path: Path, reason: str) -> MountError:
    return MountError(
        f'"{path}" cannot be read ({reason}); unmount what is below "{path.parent}" and remove it'
    )
