"""Whether a folder still is what its source says, and only the bad parts fetched again."""

from __future__ import annotations

import enum
import hashlib
import os
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from datastores import keys
from datastores.errors import CredentialError, DatastoresError
from datastores.storage.contract import ObjectInfo, Store
from datastores.transfer import disk, journal
from datastores.transfer.checksum import ALGORITHMS, PREFERRED
from datastores.transfer.crew import Crew, Work
from datastores.transfer.download import download, listing, named
from datastores.transfer.hosts import budget_for
from datastores.transfer.ledger import Ledger
from datastores.transfer.options import Options, Overwrite
from datastores.transfer.planning import (
    Fetch,
    LocalState,
    MakeFolder,
    Refuse,
    Skip,
    plan_download,
    version_of,
)
from datastores.transfer.ranges import Range, plan_ranges, range_bytes
from datastores.transfer.records import Record, Records
from datastores.transfer.summary import Summary
from datastores.transfer.watcher import Silent, Watcher
from datastores.value import Value

_READ_BYTES = 1 << 20


class Depth(enum.Enum):
    """How much a verification reads."""

    # Names, sizes and versions.
    NAMES = "names"
    # Also every local byte, against recorded checksums or the MD5 the store declares.
    RECORDED = "recorded"
    # Also every byte of the source.
    BYTES = "bytes"


class Problem(enum.Enum):
    """What is wrong with a local file."""

    MISSING = "missing"
    WRONG_SIZE = "wrong size"
    # The source has another version by now.
    OUTDATED = "outdated"
    DAMAGED = "damaged"
    # Nothing recorded or declared to compare with; `Depth.BYTES` would tell.
    UNPROVEN = "unproven"


class Finding(Value):
    """One file that is not as it should be; for damage, the ranges that are bad."""

    name: str
    problem: Problem
    ranges: tuple[Range, ...] = ()


class Report(Value):
    """What a verification found."""

    files: int
    good: int
    findings: tuple[Finding, ...]
    # The object that was compared, when it has another name here.
    renamed: str | None = None

    @property
    def is_clean(self) -> bool:
        return not self.findings


def verify(
    store: Store,
    place: str,
    target: Path,
    *,
    strip: str = "",
    name: str | None = None,
    depth: Depth = Depth.RECORDED,
    options: Options | None = None,
    watcher: Watcher | None = None,
) -> Report:
    """Compare the files of a download with their source; changes nothing.

    With `name`, the place is one object and this is its local name, as for `download`.
    `TransferFailed` when something could not be compared at all.
    """
    options = options or Options()
    watcher = watcher or Silent()
    folder = options.records or target
    records = Records.open(folder) if (folder / disk.RECORDS).exists() else None
    crew = Crew(budget_for(store.identity), options.limits)
    check = _Check(store, target, strip, name, depth, options, Ledger(watcher), records, crew)
    try:
        crew.run(check.works(place))
        if crew.gave_up:
            check.ledger.abandon()
        check.ledger.settle()
    finally:
        if records is not None:
            records.close()
        watcher.close()
    findings = tuple(sorted(check.findings, key=lambda finding: finding.name))
    renamed = None if name is None else place
    return Report(check.files, check.files - len(findings), findings, renamed)


def repair(
    store: Store,
    target: Path,
    report: Report,
    *,
    strip: str = "",
    options: Options | None = None,
    watcher: Watcher | None = None,
) -> Summary:
    """Fetch what a verification found wrong: single ranges of large files, small files whole.

    A damaged large file loses its final name until it is whole again.
    """
    options = options or Options()
    folder = options.records or target
    if (folder / disk.RECORDS).exists():
        records = Records.open(folder)
        try:
            for finding in report.findings:
                if finding.problem is Problem.DAMAGED:
                    _reopen(target, finding, records.find(finding.name), options.small_bytes)
        finally:
            records.close()
    if report.renamed is not None:
        again = replace(options, overwrite=Overwrite.ALWAYS, only=None, delete=False)
        summary = Summary()
        for finding in report.findings:
            summary = download(
                store, report.renamed, target, name=finding.name, options=again, watcher=watcher
            )
        return summary
    wanted = replace(
        options,
        only=tuple(finding.name for finding in report.findings),
        overwrite=Overwrite.ALWAYS,
        delete=False,
    )
    return download(store, "", target, strip=strip, options=wanted, watcher=watcher)


def _reopen(target: Path, finding: Finding, record: Record | None, small_bytes: int) -> None:
    """Make a damaged file a half-done one, so that the ordinary resume fetches what is bad."""
    # What is fetched whole resumes nothing, and would leave its journal behind.
    if record is None or record.size <= small_bytes:
        return
    if record.version is None or record.range_bytes != range_bytes(record.size):
        return
    path = os.fspath(keys.local_target(target, finding.name))
    bad = {piece.index for piece in finding.ranges}
    hidden = disk.hidden_beside(path, disk.JOURNAL)
    binding = journal.Binding(
        record.origin, record.size, record.version, record.range_bytes, record.algorithm
    )
    try:
        log = journal.Journal.begin(hidden, binding)
        try:
            for index, checksum in enumerate(record.checksums):
                if index not in bad:
                    log.note(index, checksum)
        finally:
            log.close()
        os.replace(path, disk.hidden_beside(path, disk.PART))  # noqa: PTH105  # text paths here
    except OSError as error:
        raise disk.explain(error, str(target), finding.name) from error


@dataclass(slots=True)
class _Check:
    """One running verification."""

    store: Store
    target: Path
    strip: str
    name: str | None
    depth: Depth
    options: Options
    ledger: Ledger
    records: Records | None
    crew: Crew
    lock: threading.Lock = field(default_factory=threading.Lock)
    # Both under the lock.
    files: int = 0
    findings: list[Finding] = field(default_factory=list)

    def works(self, place: str) -> Iterator[Work]:
        only = self.options.only
        objects: Iterable[ObjectInfo | Refuse]
        if self.name is not None:
            objects = [self.store.stat(place)]
        elif only is not None:
            objects = named(self.store, only, self.strip)
        else:
            objects = listing(self.store, place)
        local = LocalState(self.target, lambda _: None, lambda _: None)
        plan = replace(self.options, overwrite=Overwrite.ALWAYS)
        for step in plan_download(objects, self.strip, local, self.store.identity, plan, self.name):
            match step:
                case Fetch(info=info):
                    self.ledger.found(info.size)
                    yield Work(_One(self, step), 2 * _READ_BYTES)
                case Refuse(name=name, error=error):
                    self.ledger.found(0)
                    self.fail(name, error)
                case MakeFolder() | Skip():
                    pass

    def fail(self, name: str, error: Exception) -> None:
        """One file could not be compared; a dead credential would say the same of every other."""
        self.ledger.failed(name, error)
        if isinstance(error, CredentialError):
            self.crew.stop()

    def judge(self, fetch: Fetch) -> Finding | None:
        """What is wrong with one file; None when nothing is."""
        name, info = fetch.name, fetch.info
        try:
            fd = os.open(fetch.path, os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return Finding(name, Problem.MISSING)
        try:
            if os.fstat(fd).st_size != info.size:
                return Finding(name, Problem.WRONG_SIZE)
            record = self.records.find(name) if self.records is not None else None
            if record is not None and (record.origin, record.size) != (fetch.origin, info.size):
                record = None
            if record is not None and record.version not in (None, version_of(info)):
                return Finding(name, Problem.OUTDATED)
            return self._content(fd, name, info, record)
        finally:
            os.close(fd)

    def _content(
        self, fd: int, name: str, info: ObjectInfo, record: Record | None
    ) -> Finding | None:
        if self.depth is Depth.NAMES or not info.size:
            return None
        if self.depth is Depth.BYTES:
            length = record.range_bytes if record and record.range_bytes else range_bytes(info.size)
            pieces = plan_ranges(info.size, length)
            bad = tuple(p for p in pieces if self._local(fd, p, PREFERRED) != self._remote(info, p))
        elif record is not None and record.checksums and record.algorithm in ALGORITHMS:
            pieces = plan_ranges(info.size, record.range_bytes)
            bad = tuple(
                p
                for p in pieces
                if self._local(fd, p, record.algorithm) != record.checksums[p.index]
            )
        elif info.md5 is not None:
            whole = (Range(0, 0, info.size),)
            bad = () if self._md5(fd) == info.md5 else whole
        else:
            return Finding(name, Problem.UNPROVEN)
        return Finding(name, Problem.DAMAGED, bad) if bad else None

    def _local(self, fd: int, piece: Range, algorithm: str) -> int:
        checksum, at, end = ALGORITHMS[algorithm](), piece.start, piece.start + piece.length
        while at < end and (data := os.pread(fd, min(_READ_BYTES, end - at), at)):
            self.crew.check()
            checksum.update(data)
            at += len(data)
        return checksum.intdigest() if at == end else -1

    def _remote(self, info: ObjectInfo, piece: Range) -> int:
        checksum = ALGORITHMS[PREFERRED]()
        with self.store.read(
            info.key, start=piece.start, length=piece.length, version=info.version
        ) as stream:
            for data in stream:
                self.crew.check()
                checksum.update(data)
        return checksum.intdigest()

    def _md5(self, fd: int) -> bytes:
        digest, at = hashlib.md5(usedforsecurity=False), 0
        while data := os.pread(fd, _READ_BYTES, at):
            self.crew.check()
            digest.update(data)
            at += len(data)
        return digest.digest()


class _One:
    """The work of checking one file."""

    __slots__ = ("_check", "_fetch")

    def __init__(self, check: _Check, fetch: Fetch) -> None:
        self._check = check
        self._fetch = fetch

    def __call__(self) -> int | None:
        check, fetch = self._check, self._fetch
        try:
            finding = check.judge(fetch)
        except DatastoresError as error:
            check.fail(fetch.name, error)
            return None
        except OSError as error:
            check.fail(fetch.name, disk.explain(error, str(check.target), fetch.name))
            return None
        with check.lock:
            check.files += 1
            if finding is not None:
                check.findings.append(finding)
        check.ledger.finished(fetch.name)
        return None
