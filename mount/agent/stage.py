"""The way of each reference to its path."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from datastores import keys
from datastores.contract import InputSpec, JobSpec, OutputSpec, RowsSpec
from datastores.contract.job import Reference
from datastores.errors import DatastoresError
from mount.agent.journal import Journal
from mount.agent.leash import Abandoned, Leash
from mount.agent.mounting import Mounted, MountWish
from mount.agent.opening import reason_of
from mount.agent.placement import refuse_taken
from mount.agent.report import ReferenceReport
from mount.agent.run_folder import RunFolder
from mount.agent.settings import MountFallback, Settings
from mount.agent.source import stage_source
from mount.errors import InputFailed, MountRefused, OutputFailed
from mount.leases.table import LeaseTable
from mount.lifecycle import events as on

if TYPE_CHECKING:
    from mount.agent.download_cache import DownloadCache

SOURCE = "the source folder"


class Stage:
    """Fetches, mounts and prepares; its methods run in threads of their own and tell what came."""

    def __init__(
        self,
        spec: JobSpec,
        folder: RunFolder,
        journal: Journal,
        fetching: set[str],
        paths: Mapping[str, Path],
        reports: Mapping[str, ReferenceReport],
        leases: LeaseTable,
        settings: Settings,
    ) -> None:
        self._spec = spec
        self._leases = leases
        self._folder = folder
        self._journal = journal
        self._fetching = fetching
        self._paths = paths
        self._reports = reports
        self._settings = settings
        self._references: dict[str, Reference] = {one.name: one for one in spec.references}
        self._lock = threading.Lock()
        # Under the lock.
        self._opened: DownloadCache | None = None
        # Under the lock until staging is over.
        self.mounts: dict[str, Mounted] = {}
        # Of everything that is fetched.
        self.leash = Leash()

    def stage_source(self) -> on.Event:
        source = self._spec.source
        assert source is not None
        settings = self._settings

        def act() -> None:
            lease = self._leases.source
            stage_source(source, lease, self._folder, self.leash, settings.patience)

        return self._staging(None, act)

    def fetch(self, name: str) -> on.Event:
        one, path, report = self._references[name], self._paths[name], self._reports[name]
        assert isinstance(one, InputSpec | RowsSpec)

        def act() -> None:
            if name in self._fetching and os.path.lexists(path) and not one.overwrite:
                # An earlier agent died between the last rename and its line in the journal.
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            refuse_taken(path, str(one.definition.name), overwrite=one.overwrite)
            self._journal.note("fetching", name=name)
            # The engine is loaded only where something is fetched, while mounts are on their way.
            from datastores.transfer.lines import Lines
            from mount.agent.inputs import fetch_files, fetch_rows

            patience, lease = self._settings.patience, self._leases[name]
            if isinstance(one, RowsSpec):
                if path.exists() and not one.overwrite:
                    path.rmdir()
                fetched = fetch_rows(
                    one, lease, path, self.leash, patience, lambda _rows, _size: None
                )
            else:
                records = self._folder.transfers(len(self._spec.outputs) + self._index(name))
                fetched = fetch_files(
                    one,
                    lease,
                    path,
                    records,
                    self.leash,
                    patience,
                    self._cache(),
                    lambda: Lines(f'input "{name}"'),
                )
            report.how = "rows" if isinstance(one, RowsSpec) else "download"
            report.files, report.bytes = fetched.files, fetched.bytes
            report.counters = dict(fetched.counters)

        return self._staging(name, act)

    def mount(self, name: str) -> on.Event:
        one, path = self._references[name], self._paths[name]
        assert isinstance(one, InputSpec | OutputSpec)
        lease = self._leases[name]
        number, spec = lease.number, lease.spec
        wish = MountWish(
            name,
            one.definition,
            keys.parse_place(one.place),
            path,
            is_writable=isinstance(one, OutputSpec),
            lease=spec,
            versions=self._folder.opened(self._index(name)) if isinstance(one, InputSpec) else None,
        )
        refusal: list[str] = []

        def act() -> None:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                mounted = self._settings.mounter.mount(wish)
            except MountRefused as error:
                if self._settings.mount_fallback is MountFallback.ERROR:
                    raise
                refusal.append(error.reason)
                return
            with self._lock:
                self.mounts[name] = mounted
            if lease.number != number and lease.spec is not None:
                # It came while the mount was made.
                mounted.renew(lease.spec)

        event = self._staging(name, act)
        return on.MountUnavailable(name, refusal[0]) if refusal else event

    def renew(self, names: Iterable[str]) -> None:
        """Tell the mounts of these references their new lease; the others look by themselves."""
        with self._lock:
            mounts = [(name, self.mounts[name]) for name in names if name in self.mounts]
        for name, mounted in mounts:
            spec = self._leases[name].spec
            assert spec is not None
            mounted.renew(spec)

    def close(self) -> None:
        """Let go of the cache; twice is fine."""
        with self._lock:
            opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    def prepare(self, name: str) -> on.Event:
        one, path = self._references[name], self._paths[name]
        assert isinstance(one, OutputSpec)
        wants_folder = one.path_on_compute is None or how(one) == "mount"

        def act() -> None:
            # Whether a path that was chosen is a file or a folder is the script's to say.
            (path if wants_folder else path.parent).mkdir(parents=True, exist_ok=True)
            self._reports[name].how = "upload"

        return self._staging(name, act)

    def failed(self, name: str | None, error: BaseException) -> on.Event:
        one = self._references.get(name or "")
        reason = reason_of(error)
        if isinstance(error, Abandoned):
            reason = "it was given up, because the run is ending"
        code = error.exit_code if isinstance(error, MountRefused) else InputFailed.exit_code
        if name is None:
            return on.SourceFailed(str(InputFailed(SOURCE, reason)), code)
        kind = OutputFailed if isinstance(one, OutputSpec) else InputFailed
        return on.ReferenceFailed(name, str(kind(name, reason)), code)

    def _staging(self, name: str | None, act: Callable[[], None]) -> on.Event:
        began = time.monotonic()
        try:
            act()
        except (DatastoresError, Abandoned) as error:
            return self.failed(name, error)
        except OSError as error:
            from datastores.transfer.disk import explain

            place = self._paths[name] if name is not None else self._folder.work
            return self.failed(name, explain(error, str(place.parent), place.name))
        if name is None:
            return on.SourceReady()
        self._reports[name].seconds = round(time.monotonic() - began, 6)
        return on.ReferenceReady(name)

    def _cache(self) -> DownloadCache | None:
        from mount.agent.download_cache import DownloadCache

        at = self._settings.cache_at
        with self._lock:
            if self._opened is None and at is not None:
                self._opened = DownloadCache(at)
            return self._opened

    def _index(self, name: str) -> int:
        return list(self._references).index(name)


def how(one: Reference) -> str:
    """What a reference asks for, in one word."""
    return "rows" if isinstance(one, RowsSpec) else one.mode.value
