"""The moment a complete file gets its name."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from datastores.transfer import disk
from datastores.transfer.planning import version_of
from datastores.transfer.records import Record

if TYPE_CHECKING:
    from datastores.storage.contract import ObjectInfo
    from datastores.transfer.planning import Fetch
    from datastores.transfer.session import Session

MTIME_KEY = "datastores_mtime_ns"


def publish(
    session: Session,
    fetch: Fetch,
    info: ObjectInfo,
    fd: int,
    part: str,
    *,
    range_bytes: int,
    checksums: tuple[int, ...],
) -> None:
    """Record the file, then rename it into place.

    In this order a kill between the two costs nothing: the record describes a file that does not
    have its name yet, so it proves nothing about whatever has.
    """
    if session.options.preserve_mtime and (mtime_ns := _mtime_ns(info)) is not None:
        os.utime(fd, ns=(mtime_ns, mtime_ns))
    if session.options.durable:
        os.fsync(fd)
    status = os.fstat(fd)
    session.records.add(
        Record(
            name=fetch.name,
            origin=fetch.origin,
            size=info.size,
            version=_comparable_version(fetch.info, info),
            mtime_ns=status.st_mtime_ns,
            range_bytes=range_bytes,
            checksums=checksums,
        )
    )
    try:
        os.replace(part, fetch.path)  # noqa: PTH105  # a Path per file costs 4 us
    except IsADirectoryError:
        if info.size:
            raise
        # An empty object that is also a folder is the folder's marker.
        disk.discard(part)
        session.ledger.skipped(fetch.name, "a folder has its name")
        return
    if not info.size:
        session.empty.add(fetch.path)
    if session.options.durable:
        disk.sync_folder(os.path.dirname(fetch.path))  # noqa: PTH120  # likewise
    session.ledger.finished(fetch.name)


def _mtime_ns(info: ObjectInfo) -> int | None:
    noted = info.metadata.get(MTIME_KEY, "")
    return int(noted) if noted.isdigit() else info.modified_ns


def _comparable_version(listed: ObjectInfo, read: ObjectInfo) -> str | None:
    """What the next listing will show for the version that was read."""
    if listed.version is not None and read.version is not None:
        return read.version
    if listed.version is None and listed.modified_ns == read.modified_ns:
        return version_of(listed)
    return None
