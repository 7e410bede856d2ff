"""One output on its way to its store: while the script runs, and after it."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from typing_extensions import override

from datastores import keys
from datastores.contract import JobSpec, OutputSpec
from datastores.errors import AlreadyExists, DatastoresError
from datastores.storage.contract import ObjectInfo, Patience, Store
from datastores.transfer import Options, Overwrite, Silent, Source, upload
from datastores.transfer.disk import explain
from datastores.transfer.planning import Refuse
from datastores.transfer.sources import Found, find_sources
from mount.agent.claims import Claims
from mount.agent.journal import Journal
from mount.agent.leash import Abandoned, Leash
from mount.agent.manifest import Sent, manifest_key, manifest_text, unsealed
from mount.agent.opening import opened, reason_of
from mount.agent.quiet import Quiet, is_written
from mount.errors import OutputFailed
from mount.leases import RenewableLease
from mount.lifecycle import events as on

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.5
# A scan of a huge folder must not eat a core.
_SCAN_SHARE = 20
_LAST_PAUSE_SECONDS = 60.0
_PIECE_BYTES = 1 << 20


class Output:
    """Sends each version of a file once, and knows what is in the store.

    A journal line follows each object, so a restarted agent goes on behind the last one.
    """

    def __init__(
        self,
        spec: OutputSpec,
        lease: RenewableLease,
        job: JobSpec,
        path: Path,
        *,
        records: Path,
        journal: Journal,
        claims: Claims,
        sent: dict[str, Sent],
        patience: Patience,
        quiet_seconds: float,
        answer: Callable[[on.Event], None],
    ) -> None:
        self._spec = spec
        self._lease = lease
        self._job = job
        self._path = path
        self._place = keys.parse_place(spec.place)
        self._records = records
        self._journal = journal
        self._claims = claims
        self._patience = patience
        self._quiet = Quiet(quiet_seconds)
        self._answer = answer
        self._leash = Leash()
        self._finishing = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        # Both under the lock: what is in the store, and what is not as far as the last look goes.
        self._sent = sent
        self._unsent: dict[str, str] = {}
        # Of the output's own thread.
        self._is_open = False

    @property
    def files(self) -> int:
        return len(self._sent)

    @property
    def total_bytes(self) -> int:
        return sum(one.size for one in list(self._sent.values()))

    def watch(self) -> None:
        """Start to send files that are closed and quiet."""
        self._thread = threading.Thread(target=self._watch, name="datastores-output", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Send the rest, and answer with how that went."""
        self._finishing.set()
        if self._thread is None:
            self.watch()

    def seal(self) -> on.Event:
        """Write the manifest."""
        name, spec = self._spec.name, self._spec
        text = manifest_text(self._job.run_id, self._job.experiment, name, self._sent.values())
        try:
            with opened(spec.definition, self._lease, self._leash, self._patience) as store:
                store.write(self._manifest_key(), text)
        except (Abandoned, DatastoresError) as error:
            reason = reason_of(error) or "time ran out"
            return on.ManifestNotWritten(name, unsealed(name, reason))
        return on.ManifestWritten(name)

    def abandon(self) -> None:
        """Stop sending at the next piece of bytes."""
        self._leash.cut()

    def out_of_time(self) -> str:
        """The sentence for what is not in its store, by name."""
        with self._lock:
            unsent = sorted(self._unsent) or ["its files"]
        named = ", ".join(f'"{name}"' for name in unsent[:12])
        more = f" and {len(unsent) - 12} more" if len(unsent) > 12 else ""
        return self._failure(f"time ran out before {named}{more} arrived")

    def _watch(self) -> None:
        pause, said = _POLL_SECONDS, ""
        while not self._finishing.wait(pause):
            began = time.monotonic()
            try:
                self._send(self._ripe())
                pause = max(_POLL_SECONDS, _SCAN_SHARE * (time.monotonic() - began))
            except Abandoned:
                break
            except Exception as error:  # noqa: BLE001  # the last pass tries again, and tells
                pause = min(2 * pause, _LAST_PAUSE_SECONDS)
                reason = reason_of(error)
                if reason != said:
                    said = reason
                    log.warning('output "%s" cannot be sent yet: %s', self._spec.name, reason)
        self._finishing.wait()
        self._answer(self._finished())

    def _finished(self) -> on.Event:
        name = self._spec.name
        try:
            if not os.path.lexists(self._path):
                reason = f'the script left nothing at "{self._path}"'
                return on.OutputMissing(name, str(OutputFailed(name, reason)))
            found = self._scan(strict=True)
            self._send(found)
            self._remove_vanished(found)
        except Abandoned:
            return on.OutputNotUploaded(name, self.out_of_time())
        except DatastoresError as error:
            reason = self._failure(reason_of(error))
            return on.OutputNotUploaded(name, reason)
        except Exception as error:
            log.exception('output "%s" met a defect', name)
            return on.OutputNotUploaded(name, self._failure(f"{type(error).__name__}: {error}"), 1)
        return on.OutputUploaded(name)

    def _failure(self, why: str) -> str:
        reason = f'{why}; the files are still at "{self._path}", resume the run to send them'
        return str(OutputFailed(self._spec.name, reason))

    def _ripe(self) -> list[Found]:
        ripe = self._quiet.ripe(self._scan(strict=False), time.monotonic())
        return [found for found in ripe if self._is_unsent(found) and not is_written(found.path)]

    def _scan(self, *, strict: bool) -> list[Found]:
        sources: list[Source] | Path = self._path
        if not self._path.is_dir():
            sources = [Source(self._path, self._path.name)] if self._path.exists() else []
        reserved = self._manifest_key() if self._path.is_dir() else None
        scan: list[Found] = []
        for entry in find_sources(sources, Options()):
            if isinstance(entry, Found):
                if self._key(entry) == reserved:
                    detail = "the agent writes an object of that name last; rename the file"
                    raise AlreadyExists(self._spec.name, entry.name, detail)
                scan.append(entry)
            elif isinstance(entry, Refuse) and strict:
                if isinstance(entry.error, OSError) and entry.error.errno is not None:
                    raise explain(entry.error, str(self._path), entry.name) from entry.error
                raise entry.error
        with self._lock:
            self._unsent = {one.name: one.path for one in scan if self._is_unsent(one)}
        return scan

    def _key(self, found: Found) -> str:
        return keys.join(self._place, found.name)

    def _is_unsent(self, found: Found) -> bool:
        sent = self._sent.get(found.name)
        now = (found.size, found.mtime_ns, found.inode)
        return sent is None or (sent.size, sent.mtime_ns, sent.inode) != now

    def _send(self, scan: Sequence[Found]) -> None:
        files = {keys.join(self._place, one.name): one for one in scan if self._is_unsent(one)}
        if not files:
            return

        # From the first file on the place has one manifest, and one owner.
        self._claims.claim(self._spec.name, self._spec.definition, [self._manifest_key(), *files])

        def written(info: ObjectInfo, size: int, md5: str | None) -> None:
            found = files.get(info.key)
            if found is not None:
                self._note(found, size, md5, info.version)

        spec = self._spec
        with opened(spec.definition, self._lease, self._leash, self._patience, written) as store:
            self._open_place(store)
            ours = [one for one in files.values() if spec.overwrite or one.name in self._sent]
            new = [one for one in files.values() if not (spec.overwrite or one.name in self._sent)]
            if ours:
                self._upload(store, ours, Overwrite.ALWAYS)
            if new:
                self._upload(store, new, Overwrite.SKIP_EXISTING)
        for one in files.values():
            self._quiet.sent(one.name)

    def _upload(self, store: Store, files: Sequence[Found], overwrite: Overwrite) -> None:
        taken = _Taken()
        sources = [Source(Path(one.path), one.name) for one in files]
        # The manifest tells this checksum.
        options = Options(overwrite=overwrite, records=self._records, declare_md5=True)
        upload(store, sources, self._place, options=options, watcher=taken)
        by_name = {one.name: one for one in files}
        for name in taken.names:
            self._recognise(store, by_name[name])

    def _recognise(self, store: Store, found: Found) -> None:
        """An object that was there already: ours if it is the same, in the way if it is not.

        It is ours when an agent was killed after the object and before its line in the journal.
        """
        key = keys.join(self._place, found.name)
        with store.read(key) as stream:
            there = hashlib.md5(usedforsecurity=False)
            for piece in stream:
                there.update(piece)
            info = stream.info
        if there.digest() != self._digest(found.path):
            detail = "set overwrite, or give every run a place of its own, such as runs/{run_id}"
            raise AlreadyExists(store.label, key, detail)
        self._note(found, found.size, there.hexdigest(), info.version)

    def _digest(self, path: str) -> bytes:
        here = hashlib.md5(usedforsecurity=False)
        with open(path, "rb") as file:  # noqa: PTH123  # the scan's paths are texts
            while piece := file.read(_PIECE_BYTES):
                self._leash.check()
                here.update(piece)
        return here.digest()

    def _note(self, found: Found, size: int, md5: str | None, version: str | None) -> None:
        sent = Sent(found.name, size, found.mtime_ns, found.inode, md5, version)
        self._journal.note("sent", output=self._spec.name, file=asdict(sent))
        with self._lock:
            self._sent[found.name] = sent
            self._unsent.pop(found.name, None)

    def _open_place(self, store: Store) -> None:
        """From the first file on, no older manifest may call the place complete."""
        if not self._is_open:
            store.delete(self._manifest_key())
            self._is_open = True

    def _remove_vanished(self, found: Sequence[Found]) -> None:
        """Take back what was sent early and has been renamed or removed by the script since."""
        gone = set(self._sent) - {one.name for one in found}
        if not gone:
            return
        spec = self._spec
        with opened(spec.definition, self._lease, self._leash, self._patience) as store:
            for name in sorted(gone):
                store.delete(keys.join(self._place, name))
                self._journal.note("taken back", output=spec.name, name=name)
                with self._lock:
                    del self._sent[name]

    def _manifest_key(self) -> str:
        return manifest_key(self._spec, None if self._path.is_dir() else self._path.name)


class _Taken(Silent):
    """Hears which names were taken."""

    def __init__(self) -> None:
        self.names: list[str] = []

    @override
    def skipped(self, name: str, why: str) -> None:
        if why == "it exists":
            self.names.append(name)
