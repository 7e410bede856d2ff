"""What callers of the socket can ask, as JSON values in and out."""

from __future__ import annotations

import importlib.metadata
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

from datastores.contract.decoding import Misfit, decode
from datastores.errors import WireError
from mount.daemon.engine import Engine
from mount.daemon.lease_source import LeaseSource
from mount.daemon.metrics import MountFigures, exposition, metrics_of
from mount.errors import DaemonUnreachable, MountError
from mount.fuse import device
from mount.host.host import Host
from mount.host.order import lease_from_json, order_from_json
from mount.host.sent_error import error_to_wire
from mount.host.status import HostStatus

log = logging.getLogger(__name__)

_HOSTS_AT_ONCE = 16


class Desk:
    """Carries out requests; `control` is told of those about the daemon itself."""

    def __init__(self, engine: Engine, control: Callable[[str], None]) -> None:
        self._engine = engine
        self._control = control
        self._since = time.time()
        with tempfile.TemporaryDirectory(prefix="datastores-trial-") as trial:
            self._refusal = device.why_not(trial)

    def answer(  # noqa: C901  # one line each
        self, method: str, path: str, body: bytes, caller: int
    ) -> dict[str, Any]:
        """The answer to one request of the process `caller`; errors are raised."""
        match (method, path):
            case ("GET", "/health"):
                return self.health()
            case ("GET", "/status"):
                return self.status()
            case ("POST", "/attach"):
                return self._attach(_fields(body, _ATTACH), caller)
            case ("POST", "/detach"):
                return self._detach(_fields(body, {"at": str, "bound_seconds": float}))
            case ("POST", "/lease"):
                given = _fields(body, {"at": str, "lease": str})
                self._engine.renew(given["at"], lease_from_json(given["lease"]))
            case ("POST", "/warm"):
                given = _fields(body, {"at": str, "patterns": tuple[str, ...]})
                self._engine.host_at(given["at"]).warm(given["patterns"])
            case ("POST", "/refresh"):
                self._engine.host_at(_fields(body, {"at": str})["at"]).refresh()
            case ("POST", "/versions"):
                return self._versions(_fields(body, {"at": str, "after": str}))
            case ("POST", "/stop"):
                keep = _fields(body, {"keep_mounts": bool})["keep_mounts"]
                self._control("leave" if keep else "stop")
            case ("POST", "/upgrade"):
                self._control("upgrade")
            case _:
                raise UnknownVerb(
                    f'the daemon knows no "{method} {path}"; ask GET /health, /status or /metrics, '
                    f"or POST /attach, /detach, /lease, /warm, /refresh, /versions, /stop or /upgrade"
                )
        return {}

    def health(self) -> dict[str, Any]:
        return {
            "is_healthy": self._engine.forgotten == 0,
            "pid": os.getpid(),
            "uid": os.getuid(),
            "version": importlib.metadata.version("datastores"),
            "since": self._since,
            "state": str(self._engine.home.path),
            "refusal": self._refusal,
        }

    def status(self) -> dict[str, Any]:
        hosts = self._hosts()
        mounts = [
            {**one, "host": asdict(found) if (found := hosts.get(one["share"])) else None}
            for one in self._engine.mounts()
        ]
        return {"daemon": self.health(), "mounts": mounts}

    def metrics(self) -> str:
        """The numbers for Prometheus."""
        hosts = self._hosts()
        figures = [
            MountFigures(
                one["share"],
                one["datastore"],
                len(one["at"]),
                found.restarts if (found := hosts.get(one["share"])) else 0,
                found.counters if found else None,
            )
            for one in self._engine.mounts()
        ]
        return exposition(
            metrics_of(
                figures,
                version=importlib.metadata.version("datastores"),
                since=self._since,
                forgotten=self._engine.forgotten,
            )
        )

    def unheard(self, path: str, answer: dict[str, Any]) -> None:
        """Whoever asked for this has gone: a mount that nobody knows of is taken away again."""
        if path == "/attach" and answer["is_new"]:
            log.warning("%s is given up: its caller has gone", answer["at"])
            self._engine.withdraw(answer["at"])

    def _attach(self, given: Mapping[str, Any], caller: int) -> dict[str, Any]:
        order = order_from_json(given["order"])
        source = LeaseSource.of_wire(given["source"]) if given["source"] else None
        met = self._engine.attach(order, caller if given["owned"] else None, source)
        return {
            "at": str(order.at),
            "share": met.share,
            "mountpoint": str(self._engine.home.mountpoint(met.share)),
            "is_new": met.is_new,
        }

    def _detach(self, given: Mapping[str, Any]) -> dict[str, Any]:
        parting = self._engine.detach(given["at"], given["bound_seconds"])
        return {
            "counters": dict(parting.counters),
            "is_released": parting.is_released,
            "error": error_to_wire(parting.error) if parting.error else None,
        }

    def _versions(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """A page of what was opened since the job of a path joined its mount."""
        joined = self._engine.joined(given["at"])
        host = Host(self._engine.host_at(given["at"]).folder)
        page = host.page_after(joined.since, given["after"])
        # Asked last: whoever comes later opens nothing that is in this answer.
        is_shared = self._engine.joined(given["at"]).is_shared
        return {"page": page[0], "text": page[1].decode(), "is_shared": is_shared}

    def _hosts(self) -> dict[str, HostStatus]:
        """What the hosts say of themselves, those that answer."""
        shares = self._engine.serving()
        with ThreadPoolExecutor(_HOSTS_AT_ONCE, thread_name_prefix="ask") as pool:
            found = zip(shares, pool.map(self._ask, shares), strict=True)
            return {share: status for share, status in found if status is not None}

    def _ask(self, share: str) -> HostStatus | None:
        try:
            return self._engine.host_of(share).status()
        except DaemonUnreachable:
            return None


class UnknownVerb(MountError):
    """There is no such request."""


_ATTACH: dict[str, Any] = {"order": str, "owned": bool, "source": dict[str, Any] | None}


def _fields(body: bytes, hints: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a request, exactly these."""
    try:
        raw = json.loads(body)
    except ValueError:
        raise WireError(f"the request is not JSON; send an object with {sorted(hints)}") from None
    if not isinstance(raw, dict) or set(raw) != set(hints):
        raise WireError(f"the request does not have exactly the fields {sorted(hints)}; send these")
    try:
        return {name: decode(hint, raw[name], name) for name, hint in hints.items()}
    except Misfit as error:
        raise error.about("the request") from None
