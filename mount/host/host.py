"""A mount's host as others see it: asked and told through its control socket."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from typing_extensions import override

from datastores.contract import LeaseSpec
from mount.errors import DaemonUnreachable, MountError, OutputFailed
from mount.fs.spool import Spool
from mount.host.folder import HostFolder
from mount.host.leftovers import clear_place, name_leftovers
from mount.host.order import lease_to_json
from mount.host.sent_error import error_of_wire
from mount.host.status import HostStatus

ANSWER_SECONDS = 30.0
# What a host may take beyond a bound to say what it did, and to be gone.
LAST_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Host:
    """One host; may be used from any thread and process of its owner."""

    folder: Path
    # What it said last, for the data report of one that died.
    _counted: dict[str, int | float] = field(default_factory=dict, compare=False, repr=False)

    def status(self) -> HostStatus:
        """What it does and holds; `DaemonUnreachable` when it does not answer."""
        return HostStatus.of(self._ask("GET", "/status"))

    def counters(self) -> Mapping[str, int | float]:
        """What the mount did so far; what was last known when the host is gone."""
        with contextlib.suppress(DaemonUnreachable):
            status = self.status()
            self._counted.update(status.counters, restarts=status.restarts)
        return dict(self._counted)

    def renew(self, lease: LeaseSpec) -> None:
        """From now on the store is used with this credential; open files go on.

        Never fails for the mount that is gone already.
        """
        with contextlib.suppress(DaemonUnreachable):
            self._ask("POST", "/lease", lease_to_json(lease))

    def trouble(self) -> str | None:
        """The sentence for a credential that failed the mount's readers; None if none did."""
        with contextlib.suppress(DaemonUnreachable):
            return self.status().lease_trouble
        return None

    def warm(self, patterns: Sequence[str]) -> None:
        """Begin to bring these into the cache; `status` tells how far it is."""
        self._ask("POST", "/warm", json.dumps({"patterns": list(patterns)}))

    def refresh(self) -> None:
        """Believe nothing that the store said before now."""
        self._ask("POST", "/refresh", "{}")

    def note_versions(self, folder: Path) -> int:
        """Have it note what is opened from now on in this folder; the number of the section.

        It goes on through the deaths of its workers. A second call begins a further section, which
        has what is opened after it, whether that was noted before or not.
        """
        answer = self._ask("POST", "/note-versions", json.dumps({"folder": str(folder)}))
        return int(answer["section"])

    def versions(self, since: int) -> Iterator[tuple[str, bytes]]:
        """What was noted from that section on, page by page, as `page_after` gives it."""
        name, text = self.page_after(since, "")
        while name is not None:
            yield name, text
            name, text = self.page_after(since, name)

    def page_after(self, since: int, after: str) -> tuple[str | None, bytes]:
        """The next page after one of this name, and its lines; no name when there is none.

        A line is `["name",size,"version"]`; some may come twice.
        """
        answer = self._ask("POST", "/versions", json.dumps({"since": since, "after": after}))
        return answer["page"], str(answer["text"]).encode()

    def release(self, bound_seconds: float) -> None:
        """Store what was written, take the mount away, end the host; twice is fine.

        `OutputFailed` names what is not in its store in time; those bytes are in the spool, from
        where the next mount of the same place sends them. The mount is gone in any case.
        """
        deadline = time.monotonic() + bound_seconds + LAST_SECONDS
        try:
            answer = self._ask(
                "POST",
                "/release",
                json.dumps({"bound_seconds": bound_seconds}),
                bound_seconds + LAST_SECONDS,
            )
        except DaemonUnreachable:
            answer = self._end_by_force(deadline)
        self._await_end(deadline)
        if answer.get("left"):
            raise OutputFailed(str(answer["name"]), str(answer["reason"]))

    def _await_end(self, deadline: float) -> None:
        folder = HostFolder(self.folder)
        while folder.is_taken:
            if time.monotonic() > deadline:
                self._end_by_force(deadline)
                return
            time.sleep(0.01)  # nothing tells that a lock of another process is free

    def _end_by_force(self, deadline: float) -> dict[str, Any]:
        """Of a host that does not answer, or is gone: clear what it left."""
        folder = HostFolder(self.folder)
        record = folder.read_record()
        if record is None:
            return {}
        while folder.is_taken and time.monotonic() < deadline:
            for pid in folder.holders():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)  # as above
        if not folder.is_taken:
            clear_place(record)
        left = list(name_leftovers(Spool.open(Path(record["spool"]))))
        reason = f"the host died before it had stored {', '.join(left[:5])}; mount the place again"
        return {"left": left, "name": record["name"], "reason": reason}

    def _ask(
        self, method: str, path: str, body: str | None = None, seconds: float = ANSWER_SECONDS
    ) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while True:
            try:
                status, text = self._exchange(method, path, body, deadline)
                break
            except ConnectionResetError as error:
                # Its worker died over this; the next one will answer.
                if not HostFolder(self.folder).is_taken or time.monotonic() > deadline:
                    raise self._unreachable(error) from error
                time.sleep(0.01)
            except (OSError, HTTPException) as error:
                raise self._unreachable(error) from error
        found = json.loads(text)
        if status != 200:
            raise error_of_wire(found)
        if not isinstance(found, dict):
            raise MountError(f'the host in "{self.folder}" answers in another way; restart it')
        return found

    def _exchange(
        self, method: str, path: str, body: str | None, deadline: float
    ) -> tuple[int, bytes]:
        left = max(0.1, deadline - time.monotonic())
        connection = _Connection(HostFolder(self.folder), left)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except BrokenPipeError as error:
            raise ConnectionResetError(*error.args) from error
        finally:
            connection.close()

    def _unreachable(self, error: Exception) -> DaemonUnreachable:
        return DaemonUnreachable(
            f'the host in "{self.folder}" does not answer ({error}); start it again'
        )


class _Connection(HTTPConnection):
    def __init__(self, folder: HostFolder, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._folder = folder
        self._seconds = seconds

    @override
    def connect(self) -> None:
        self.sock = self._folder.connect(self._seconds)
