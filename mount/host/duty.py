"""What a worker does for whoever asks at the control socket."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from datastores.contract import LeaseSpec
from datastores.errors import DatastoresError
from datastores.keys import join
from datastores.secret import redact
from mount.cache import NodeCache
from mount.cache.warm import WarmProgress, warm
from mount.errors import MountError
from mount.fs.revival import RevivableFileSystem
from mount.fs.version_pages import add_gap, page_after
from mount.fuse.mounted import Mounted
from mount.fuse.supervisor import Line
from mount.host.kept import Kept
from mount.host.order import MountOrder
from mount.host.status import HostStatus
from mount.leases import RenewableLease, RenewableStore

log = logging.getLogger(__name__)

# Counting every file of the cache takes 10 us each.
CACHE_SECONDS = 30.0
# Of a bound, so much is for saying what was not done.
LAST_SHARE = 0.1
NAMED = 5


class Duty:
    """One worker's work, besides answering the kernel."""

    def __init__(
        self,
        order: MountOrder,
        line: Line,
        kept: Kept,
        lease: RenewableLease,
        store: RenewableStore,
        cache: NodeCache,
        files: RevivableFileSystem,
        mounted: Mounted,
    ) -> None:
        self._order = order
        self._line = line
        self._kept = kept
        self._lease = lease
        self._store = store
        self._cache = cache
        self._files = files
        self._mounted = mounted
        self._lock = threading.Lock()
        # Under the lock.
        self._cache_seen: dict[str, int] = {}
        self._cache_seen_at = float("-inf")
        self._defects_seen = 0
        self._warming = WarmProgress()
        self._warmer: threading.Thread | None = None
        self._stop_warming = threading.Event()
        # Set while nobody waits for the answer to a release.
        self._answered = threading.Event()
        self._answered.set()
        # Held by the one release that works.
        self._releasing = threading.Lock()
        self._was_told = threading.Event()

    def serve(self) -> None:
        """Answer the kernel until the mount is gone, and let a release be answered."""
        self._mounted.serve()
        self._answered.wait(self._order.stop_seconds)

    def status(self) -> dict[str, Any]:
        self._count_defects()
        counts = self._files.counters()
        if not self._mounted.passthrough:
            # The file system offers them; a kernel that refuses one to this user refuses all.
            counts = replace(counts, backed_opens=0)
        spec = self._lease.spec
        status = HostStatus(
            name=self._order.name,
            at=str(self._order.at),
            source=self._order.definition.display,
            read_only=self._order.read_only,
            pid=self._kept.supervisor,
            worker=os.getpid(),
            since=self._kept.since,
            restarts=self._line.life,
            passthrough=self._mounted.passthrough,
            passthrough_share=counts.backed_opens / counts.opens if counts.opens else 0.0,
            dirty_bytes=counts.dirty_bytes,
            lease_ends=spec.expires_at if spec else None,
            lease_trouble=self._lease.trouble,
            counters=asdict(counts),
            cache=self._cache_figures(),
            warming=self._warming_figures(),
            left=tuple(self._kept.left),
        )
        return asdict(status)

    def renew(self, lease: LeaseSpec) -> None:
        self._kept.keep_lease(lease)
        self._lease.renew(lease)

    def warm(self, patterns: Sequence[str]) -> None:
        """Begin; a warming under way ends first."""
        if not patterns:
            return
        with self._lock:
            self._stop_warming.set()
            before, stop = self._warmer, threading.Event()
            self._stop_warming = stop
            self._warmer = threading.Thread(
                target=self._warm,
                args=(tuple(patterns), before, stop),
                name="host-warm",
                daemon=True,
            )
            self._warmer.start()

    def refresh(self) -> None:
        self._files.refresh()

    def note_versions(self, folder: str) -> dict[str, Any]:
        """Note what is opened from now on in this folder, the workers after this one too."""
        try:
            if self._kept.has_lost_versions:
                add_gap(Path(folder))
            section = self._files.note_versions(Path(folder))
        except OSError as error:
            reason = error.strerror or str(error)
            raise MountError(
                f'nothing can be noted in "{folder}" ({reason}); name another folder'
            ) from error
        self._kept.keep_versions(Path(folder))
        return {"section": section}

    def versions(self, since: int, after: str) -> dict[str, Any]:
        """The next page of what was noted since a section, after the page of that name."""
        folder = self._kept.versions()
        if folder is None:
            raise MountError("nothing is noted here; ask for it with POST /note-versions first")
        page = page_after(folder, since, after)
        return {"page": page[0], "text": page[1].decode()} if page else {"page": None, "text": ""}

    def release(self, bound_seconds: float) -> dict[str, Any]:
        """Store, unmount, and name what is not stored, all within the bound."""
        self._answered.clear()
        left = self._wind_down(bound_seconds)
        if not left:
            return {}
        names = ", ".join(f'"{key}"' for key in left[:NAMED])
        more = f" and {len(left) - NAMED} more" if len(left) > NAMED else ""
        return {
            "name": self._order.name,
            "left": left,
            "reason": f"{names}{more} did not arrive; the bytes are in {self._order.spool}",
        }

    def released(self) -> None:
        """The answer is sent: nothing holds this process any more."""
        self._answered.set()
        self._exit()

    def stop(self) -> None:
        """A notice: the same as a release, and nobody to answer; it may come again and again."""
        if self._was_told.is_set():
            return
        self._was_told.set()
        left = self._wind_down(self._order.stop_seconds)
        if left:
            log.error(
                "%d files did not arrive; their bytes are in %s", len(left), self._order.spool
            )
        self._exit()

    def _wind_down(self, bound_seconds: float) -> list[str]:
        deadline = time.monotonic() + max(0.0, bound_seconds)
        work_until = deadline - LAST_SHARE * max(0.0, bound_seconds)
        with self._releasing:
            self._stop_warming.set()
            self._unmount()
            self._files.store_all(work_until - time.monotonic())
            self._files.hurry(work_until - time.monotonic())
            if not self._mounted.wait(max(0.0, work_until - time.monotonic())):
                # Somebody still has files open, or the store hangs: callers get an error.
                self._mounted.abort()
                self._mounted.wait(max(0.0, deadline - time.monotonic()))
            return self._files.left()

    def _unmount(self) -> None:
        if self._mounted.connection is not None:
            self._mounted.connection.unmount(self._line.place)

    def _exit(self) -> None:
        # Threads that hang in the network hold up nothing: their bytes are in the spool.
        os._exit(0)

    def _count_defects(self) -> None:
        """The adapter's number, which ends with this process, as far as it is news."""
        with self._lock:
            defects = self._mounted.figures.defects
            self._files.count("defects", defects - self._defects_seen)
            self._defects_seen = defects

    def _cache_figures(self) -> dict[str, int]:
        with self._lock:
            if time.monotonic() - self._cache_seen_at > CACHE_SECONDS:
                figures = asdict(self._cache.status())
                self._cache_seen = {
                    name: value for name, value in figures.items() if isinstance(value, int)
                }
                self._cache_seen_at = time.monotonic()
            return self._cache_seen

    def _warming_figures(self) -> dict[str, Any]:
        with self._lock:
            progress, warmer = self._warming, self._warmer
        figures = asdict(replace(progress, ending=None, failures=()))
        figures["ending"] = progress.ending.value if progress.ending else None
        figures["failures"] = [f"{key}: {redact(reason)}" for key, reason in progress.failures]
        return figures | {"under_way": warmer is not None and warmer.is_alive()}

    def _warm(
        self, patterns: tuple[str, ...], before: threading.Thread | None, stop: threading.Event
    ) -> None:
        if before is not None:
            before.join()
        place = self._order.place
        wanted = [join(place, one) if one else f"{place}/" * bool(place) for one in patterns]
        try:
            warm(self._cache, self._store, wanted, stop=stop, progress=self._note_warming)
        except DatastoresError as error:
            log.warning("warming ended: %s", error)

    def _note_warming(self, progress: WarmProgress) -> None:
        with self._lock:
            self._warming = progress
