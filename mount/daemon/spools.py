"""Spools on the disk: what they hold for which store, and sending it without a mount."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datastores.errors import DatastoresError
from datastores.secret import redact
from datastores.value import Value
from mount.daemon.lease_source import LeaseSource
from mount.errors import MountError, MountRefused
from mount.fs.recovery import recover
from mount.fs.spool import Spool
from mount.host.opening import open_order
from mount.host.order import MountOrder, order_from_json, order_to_json
from mount.leases import RenewableLease

_LABEL = "order.json"


class Unsent(Value):
    """One file of a spool and what became of it: waiting, or an outcome of `recover`."""

    path: Path
    key: str | None
    size: int
    outcome: str
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {
            "path": str(self.path),
            "key": self.key,
            "size": self.size,
            "outcome": self.outcome,
            "reason": redact(self.reason),
        }


def label_spool(order: MountOrder, source: LeaseSource | None) -> None:
    """Write into the order's spool whose it is, so that it can be sent in another year."""
    raw = {
        "order": order_to_json(order.without_lease()),
        "source": source.to_wire() if source else None,
    }
    aside = order.spool / f".{_LABEL}"
    try:
        order.spool.mkdir(parents=True, exist_ok=True, mode=0o700)
        aside.write_text(json.dumps(raw), encoding="utf-8")
        aside.replace(order.spool / _LABEL)
    except OSError as error:
        raise MountRefused(
            str(order.at),
            f'its spool "{order.spool}" cannot be written ({error.strerror}); '
            f"name another with $DATASTORES_SPOOL",
        ) from error


def spools_below(folder: Path) -> list[Path]:
    """The spools that hold anything."""
    if not folder.is_dir():
        return []
    return [one for one in sorted(folder.iterdir()) if any(one.glob("*.data"))]


def unsent(folder: Path) -> Sequence[Unsent]:
    """What nobody alive has in hand."""
    found = []
    for file, note in Spool(folder).abandoned():
        size = note.size if note else file.path.stat().st_size
        outcome = "waiting" if note else "unfinished"
        found.append(Unsent(file.path, note.key if note else None, size, outcome))
    return found


def send_unsent(folder: Path) -> Sequence[Unsent]:
    """The same, sent as far as the store takes it."""
    waiting = unsent(folder)
    if not waiting:
        return ()
    try:
        order, source = _label(folder)
        lease = source.fetch().lease if source else None
        with contextlib.closing(
            open_order(order, RenewableLease(str(order.definition.name), lease))
        ) as store:
            sent = recover(Spool(folder), store)
    except DatastoresError as error:
        return [Unsent(one.path, one.key, one.size, "failed", str(error)) for one in waiting]
    return [Unsent(one.path, one.key, one.size, one.outcome.value, one.reason) for one in sent]


def _label(folder: Path) -> tuple[MountOrder, LeaseSource | None]:
    try:
        raw = json.loads((folder / _LABEL).read_text("utf-8"))
        source = LeaseSource.of_wire(raw["source"]) if raw["source"] else None
        return order_from_json(raw["order"]), source
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MountError(
            f'"{folder}" does not say which store it belongs to ({type(error).__name__}); '
            f"mount the place again, which sends it"
        ) from error
