"""What a host is asked to mount, as a value and as strict JSON."""

from __future__ import annotations

import dataclasses
import json
import typing
from pathlib import Path
from typing import Any

from datastores.contract import LeaseSpec
from datastores.contract.decoding import Misfit, decode, encode, load
from datastores.definitions import Definition
from datastores.errors import WireError
from datastores.storage.contract import Patience
from datastores.value import Value

VERSION = 1
_ORDER, _LEASE = "the mount order", "the lease"
_WRITE_IT = "write it with order_to_json"


class MountOrder(Value):
    """One mount: what is shown where, how, and which disk space it may use.

    Paths are absolute. `place` is a folder of the store; `warm` are patterns below it. The cache
    may be shared by any number of mounts, the spool by none that lives. `stop_seconds` is what a notice
    (SIGTERM) leaves for bytes on their way; after `most_restarts` in one minute the mount is given
    up instead of being healed again.
    """

    name: str
    definition: Definition
    place: str
    at: Path
    cache: Path
    cache_quota_bytes: int
    cache_reserve_bytes: int
    spool: Path
    read_only: bool = True
    uid: int | None = None
    gid: int | None = None
    umask: int = 0
    allow_other: bool = False
    warm: tuple[str, ...] = ()
    stop_seconds: float = 20.0
    most_restarts: int = 5
    patience: Patience = Patience()  # a frozen value
    lease: LeaseSpec | None = None

    def __post_init__(self) -> None:
        for what in ("at", "cache", "spool"):
            if not getattr(self, what).is_absolute():
                raise WireError(f'"{what}" of {_ORDER} is not absolute; give the path from /')

    def without_lease(self) -> MountOrder:
        """The order as it may be written to a disk."""
        return dataclasses.replace(self, lease=None)


def order_to_json(order: MountOrder) -> str:
    """The order as JSON, its lease in clear: it may pass through a pipe, and stay nowhere."""
    values = {one.name: getattr(order, one.name) for one in dataclasses.fields(order)}
    wire = {
        name: str(value) if isinstance(value, Path) else encode(value)
        for name, value in values.items()
    }
    return json.dumps({"version": VERSION, **wire}, ensure_ascii=False)


def order_from_json(text: str | bytes) -> MountOrder:
    """The order a JSON text stands for; `WireError` names what is unknown or of a wrong type."""
    try:
        raw = load(text, _ORDER, VERSION, _WRITE_IT)
        return MountOrder(**{name: _field(name, value) for name, value in _complete(raw).items()})
    except Misfit as error:
        raise error.about(_ORDER) from None


def lease_to_json(lease: LeaseSpec) -> str:
    """The lease in clear, for the control socket and for nothing else."""
    return json.dumps({"version": VERSION, "lease": encode(lease)})


def lease_from_json(text: str | bytes) -> LeaseSpec:
    """The lease of a renewal."""
    try:
        raw = load(text, _LEASE, VERSION, "write it with lease_to_json")
        found: dict[str, LeaseSpec] = decode(dict[str, LeaseSpec], raw, "")
    except Misfit as error:
        raise error.about(_LEASE) from None
    if set(found) != {"lease"}:
        raise WireError(f'{_LEASE} has not exactly the field "lease"; write it with lease_to_json')
    return found["lease"]


def _complete(raw: dict[str, Any]) -> dict[str, Any]:
    fields = {one.name: one for one in dataclasses.fields(MountOrder)}
    for name in raw:
        if name not in fields:
            raise Misfit(name, "is a field this side does not know")
    for name, one in fields.items():
        if name not in raw and one.default is dataclasses.MISSING:
            raise Misfit(name, "is missing")
    return raw


def _field(name: str, value: Any) -> Any:
    hint = typing.get_type_hints(MountOrder)[name]
    return Path(decode(str, value, name)) if hint is Path else decode(hint, value, name)
