"""How a host is, as it says itself."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from datastores.value import Value, field


class HostStatus(Value):
    """One answer of a host.

    `pid` is the supervisor's, to which signals go; `worker` is the process that serves. `since` is
    when the mount was made, `restarts` how often its worker was replaced; the totals among the
    counters are of all of them. `passthrough_share` of the opens cost no request afterwards. `left` names files of
    earlier hosts that are in the spool and not in the store.
    """

    name: str
    at: str
    source: str
    read_only: bool
    pid: int
    worker: int
    since: float
    restarts: int
    passthrough: bool
    passthrough_share: float
    dirty_bytes: int
    lease_ends: float | None
    lease_trouble: str | None
    counters: Mapping[str, int | float] = field(default_factory=dict)
    cache: Mapping[str, int] = field(default_factory=dict)
    warming: Mapping[str, Any] = field(default_factory=dict)
    left: Sequence[str] = ()

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> HostStatus:
        """The status of a host's answer; fields that only a newer host knows are left out."""
        known = {one.name for one in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in raw.items() if name in known})
