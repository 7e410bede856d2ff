"""A running daemon as its callers see it, and mounts through it for the agent."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from typing_extensions import override

from datastores.contract import LeaseSpec
from datastores.errors import DatastoresError
from datastores.value import Value
from mount.agent.mounting import MountWish
from mount.agent.opened_notes import fetch_notes
from mount.daemon.bounds import ATTACH_SECONDS, LAST_SECONDS
from mount.daemon.home import Home, default_home
from mount.daemon.lease_source import LeaseSource
from mount.daemon.orders import CacheWish, order_of
from mount.errors import DaemonUnreachable, MountError
from mount.host.order import MountOrder, lease_to_json, order_to_json
from mount.host.sent_error import error_of_wire

ANSWER_SECONDS = 60.0
FIND_SECONDS = 5.0


class Daemon(Value):
    """The daemon behind one socket; any thread may ask."""

    home: Home

    def health(self, seconds: float = ANSWER_SECONDS) -> dict[str, Any]:
        return self._ask("GET", "/health", None, seconds)

    def status(self) -> dict[str, Any]:
        return self._ask("GET", "/status")

    def metrics(self) -> str:
        status, text = self._exchange("GET", "/metrics", None, ANSWER_SECONDS)
        if status != 200:
            raise error_of_wire(json.loads(text))
        return text.decode()

    def attach(
        self, order: MountOrder, *, is_owned: bool, source: LeaseSource | None = None
    ) -> str:
        """Have the order's mount at its path, until this process ends if it is to own it.

        The answer is the share. Asking twice is fine, so a lost answer can be asked for again.
        """
        given = {
            "order": order_to_json(order),
            "owned": is_owned,
            "source": source.to_wire() if source else None,
        }
        return str(self._ask("POST", "/attach", given, ATTACH_SECONDS + LAST_SECONDS)["share"])

    def detach(self, at: Path, bound_seconds: float) -> Detached:
        """Take the mount away from a path."""
        given = {"at": str(at), "bound_seconds": bound_seconds}
        answer = self._ask("POST", "/detach", given, bound_seconds + 2 * LAST_SECONDS)
        error = error_of_wire(answer["error"]) if answer["error"] else None
        return Detached(answer["counters"], bool(answer["is_released"]), error)

    def renew(self, at: Path, lease: LeaseSpec) -> None:
        self._ask("POST", "/lease", {"at": str(at), "lease": lease_to_json(lease)})

    def warm(self, at: Path, patterns: Sequence[str]) -> None:
        self._ask("POST", "/warm", {"at": str(at), "patterns": list(patterns)})

    def refresh(self, at: Path) -> None:
        self._ask("POST", "/refresh", {"at": str(at)})

    def versions(self, at: Path, after: str, seconds: float = ANSWER_SECONDS) -> VersionsPage:
        """The next page of what was opened since the job of a path joined its mount."""
        answer = self._ask("POST", "/versions", {"at": str(at), "after": after}, seconds)
        return VersionsPage(answer["page"], answer["text"].encode(), answer["is_shared"])

    def upgrade(self) -> None:
        self._ask("POST", "/upgrade", {})

    def stop(self, *, keep_mounts: bool) -> None:
        self._ask("POST", "/stop", {"keep_mounts": keep_mounts})

    def mount_at(self, at: Path) -> dict[str, Any] | None:
        """What the daemon has at a path; None when nothing."""
        for one in self.status()["mounts"]:
            if str(at) in one["at"]:
                return dict(one)
        return None

    def _ask(
        self,
        method: str,
        path: str,
        given: Mapping[str, Any] | None = None,
        seconds: float = ANSWER_SECONDS,
    ) -> dict[str, Any]:
        status, text = self._exchange(method, path, given, seconds)
        found = json.loads(text)
        if status != 200:
            raise error_of_wire(found)
        return dict(found)

    def _exchange(
        self, method: str, path: str, given: Mapping[str, Any] | None, seconds: float
    ) -> tuple[int, bytes]:
        connection = _Connection(self.home, seconds)
        body = None if given is None else json.dumps(given)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, HTTPException) as error:
            raise DaemonUnreachable(
                f'the daemon at "{self.home.socket_path}" does not answer ({error}); '
                f'start it with "datastores-agent daemon"'
            ) from error
        finally:
            connection.close()


class VersionsPage(Value):
    """Lines as `mount.fs.versions_opened` writes them; without a name there are no more.

    `is_shared` where others used the mount meanwhile, whose opens are among them.
    """

    name: str | None
    text: bytes
    is_shared: bool


class Detached(Value):
    """What became of a mount; `is_released` where nobody else uses it."""

    counters: Mapping[str, int | float]
    is_released: bool
    error: DatastoresError | None


def find_daemon(home: Home | None = None, cache: CacheWish | None = None) -> DaemonMounter | None:
    """The node's daemon, if one answers."""
    daemon = Daemon(home or Home.at(default_home()))
    try:
        daemon.health(FIND_SECONDS)
    except (DaemonUnreachable, OSError):
        return None
    return DaemonMounter(daemon, cache or CacheWish())


class DaemonMounter(Value):
    """Mounts that the daemon owns and this process uses; they are let go when it ends."""

    daemon: Daemon
    cache: CacheWish = CacheWish()

    def refusal(self) -> str | None:
        """Why the daemon cannot mount, or does not answer; None when mounting can be tried."""
        try:
            refusal = self.daemon.health(FIND_SECONDS)["refusal"]
        except DatastoresError as error:
            return str(error)
        return None if refusal is None else str(refusal)

    def mount(self, wish: MountWish) -> DaemonMount:
        order = order_of(wish, self.cache)
        self.daemon.attach(order, is_owned=True)
        return DaemonMount(self.daemon, order.at, wish.versions)


@dataclass(frozen=True, slots=True)
class DaemonMount:
    """One path of a shared mount."""

    daemon: Daemon
    at: Path
    # Where the agent wants to have what was opened.
    versions: Path | None = None
    _counted: dict[str, int | float] = field(default_factory=dict, compare=False, repr=False)

    def release(self, bound_seconds: float) -> None:
        from mount.daemon.launch import revive_daemon  # it imports this module

        try:
            # One that was killed meanwhile has left the mount to its successor.
            left = revive_daemon(self.daemon.home).detach(self.at, bound_seconds)
        except DaemonUnreachable:
            raise
        except MountError:
            return  # released before
        self._counted.update(left.counters)
        if left.error is not None:
            raise left.error

    def counters(self) -> Mapping[str, int | float]:
        with contextlib.suppress(DaemonUnreachable):
            host = (self.daemon.mount_at(self.at) or {}).get("host")
            if host:
                self._counted.update(host["counters"], restarts=host["restarts"])
        return dict(self._counted)

    def keep_versions(self, bound_seconds: float) -> None:
        from mount.daemon.launch import revive_daemon  # as above

        if self.versions is None:
            return
        daemon = revive_daemon(self.daemon.home)

        def page_after(name: str, seconds: float) -> tuple[str | None, bytes, bool]:
            page = daemon.versions(self.at, name, seconds)
            return page.name, page.text, page.is_shared

        fetch_notes(page_after, self.versions, bound_seconds)

    def renew(self, lease: LeaseSpec) -> None:
        with contextlib.suppress(DaemonUnreachable, MountError):
            self.daemon.renew(self.at, lease)

    def trouble(self) -> str | None:
        with contextlib.suppress(DaemonUnreachable):
            host = (self.daemon.mount_at(self.at) or {}).get("host")
            return host["lease_trouble"] if host else None
        return None


class _Connection(HTTPConnection):
    def __init__(self, home: Home, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._home = home
        self._seconds = seconds

    @override
    def connect(self) -> None:
        self.sock = self._home.connect(self._seconds)
