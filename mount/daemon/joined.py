"""Since when each job uses a shared mount, and whether others used it meanwhile.

A mount that is shared is asked for what anybody opened since a job joined; the file system cannot
tell jobs apart. Each attach of a job begins a section of the mount's notes.
"""

from __future__ import annotations

import json
import logging
import shutil
import threading
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

from datastores.errors import DatastoresError
from datastores.value import Value
from mount.daemon.home import Home
from mount.fs.version_pages import drop_pages
from mount.fuse import device
from mount.host.host import Host

log = logging.getLogger(__name__)


class Joined(Value):
    """A path's part of the notes: from a section on, with what other jobs opened or without."""

    since: int
    owner: str
    is_shared: bool
    # Nothing was opened at the path that is not noted.
    is_whole: bool = True


class JoinedJobs:
    """Who joined which mount, in a file beside each mount's notes, for the daemon after this one."""

    def __init__(self, home: Home) -> None:
        self._home = home
        # Of the files.
        self._lock = threading.Lock()

    def join(self, share: str, at: str, owner: str | None, *, others: bool) -> None:
        """Somebody is about to see the mount at this path; a job that did before goes on.

        Whoever has no owner is no job, and may open things all the same. Where nothing can be noted the mount is shown all the same.
        """
        with self._lock:
            try:
                self._join(share, at, owner, others=others)
            except (DatastoresError, OSError) as error:
                log.warning("what is opened at %s is not noted: %s", at, error)

    def leave(self, share: str, at: str) -> None:
        """The path does not show the mount any more."""
        with self._lock:
            known = self._read(share)
            if known.pop(at, None) is None:
                return
            try:
                self._write(share, known)
                drop_pages(
                    self._pages(share), min((one.since for one in known.values()), default=0)
                )
            except OSError as error:
                log.warning("notes of %s are left behind: %s", share, error)

    def forget(self, share: str) -> None:
        """The mount is gone."""
        with self._lock:
            self._file(share).unlink(missing_ok=True)
            shutil.rmtree(self._pages(share), ignore_errors=True)

    def find(self, share: str, at: str) -> Joined | None:
        """Since when the job of this path uses the mount; None where nothing is noted for it."""
        with self._lock:
            return self._read(share).get(at)

    def _join(self, share: str, at: str, owner: str | None, *, others: bool) -> None:
        before = self._read(share)
        known = {one: _met(joined, owner) for one, joined in before.items()}
        if owner is not None:
            # Also for a job that goes on: its mount may have a new host.
            section = Host(self._home.host_folder(share)).note_versions(self._pages(share))
            known[at] = _again(known[at]) if at in known else Joined(section, owner, others)
        if known != before:
            self._write(share, known)

    def _file(self, share: str) -> Path:
        return self._home.host_folder(share) / "joined.json"

    def _pages(self, share: str) -> Path:
        return self._home.host_folder(share) / "versions"

    def _read(self, share: str) -> dict[str, Joined]:
        try:
            raw = json.loads(self._file(share).read_text("utf-8"))
            return {at: Joined(**one) for at, one in raw.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            log.warning("who joined %s cannot be read: %s", share, error)
            return {}

    def _write(self, share: str, known: Mapping[str, Joined]) -> None:
        aside = self._file(share).with_suffix(".new")
        aside.write_text(json.dumps({at: asdict(one) for at, one in known.items()}), "utf-8")
        aside.replace(self._file(share))


def _again(joined: Joined) -> Joined:
    # A symbolic link shows the mount of a new host before that was asked to note anything.
    return joined if device.may_mount() else replace(joined, is_whole=False)


def _met(joined: Joined, newcomer: str | None) -> Joined:
    return joined if joined.owner == newcomer else replace(joined, is_shared=True)
