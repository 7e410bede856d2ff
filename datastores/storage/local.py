"""A folder of this machine, or of a network file system it has mounted, as a store."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Self, TypeAlias

from datastores.errors import (
    AlreadyExists,
    DatastoresError,
    NameRejected,
    NotFound,
    PermissionDenied,
    PreconditionFailed,
    Unsupported,
)
from datastores.keys import is_below, local_target
from datastores.storage.contract import ABSENT, Features, ObjectInfo, Page, Presence
from datastores.storage.local_file import LocalStream, copy_in_kernel, info_of, translated
from datastores.storage.verbs import pieces
from datastores.text import printable

if TYPE_CHECKING:
    from datastores.storage.contract import Body

log = logging.getLogger(__name__)

# Below the root, so that the last rename never crosses file systems.
TEMPORARY = ".datastores-tmp"
STALE_SECONDS = 24 * 3600.0
PAGE_SIZE = 1000
LONGEST_PATH_BYTES = 4095

# Device and inode of each folder on the way to a place.
Passed: TypeAlias = frozenset[tuple[int, int]]


class LocalStore:
    """Files below `root` as objects; it is its own `renaming`, `copying` and `folders`.

    Links that stay inside the root are followed; a key whose way leads out of it is refused and
    left out of listings. So are, with a warning, links that lead to nothing, and links to a folder
    that the way to them has already passed.
    Other programs may write to the folder at any time: a file they change in place while it is
    read makes the read fail, and never mixes.
    """

    staging = None

    def __init__(self, label: str, root: Path) -> None:
        self.label = label
        self.root = Path(os.path.realpath(root))
        self.identity = self.root.as_uri()
        self.features = Features(
            real_folders=True,
            # Other programs do not know our lock. ABSENT alone is judged by the file system.
            atomic_conditions=False,
            keeps_metadata=False,
            longest_key=LONGEST_PATH_BYTES - len(os.fsencode(self.root)) - 1,
        )
        # Held while a condition is judged and the file put in place.
        self._placing = threading.Lock()
        # Under the lock: the last time given to a file.
        self._last_ns = 0

    @property
    def renaming(self) -> Self:
        return self

    @property
    def copying(self) -> Self:
        return self

    @property
    def folders(self) -> Self:
        return self

    def stat(self, key: str) -> ObjectInfo:
        path = self._path_of_target(key)
        try:
            status = path.stat()
        except OSError as error:
            self._fail(key, error)
        return info_of(key, self._regular(key, status))

    def read(
        self, key: str, *, start: int = 0, length: int | None = None, version: str | None = None
    ) -> LocalStream:
        path = self._path_of_target(key)
        try:
            # Without O_NONBLOCK, opening a pipe waits for its other end.
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            self._fail(key, error)
        try:
            info = info_of(key, self._regular(key, os.fstat(fd)))
            self._refuse_other(key, info, version)
        except BaseException:
            os.close(fd)
            raise
        end = info.size if length is None else min(info.size, start + length)
        return LocalStream(self.label, info, fd, start, end)

    def write(
        self,
        key: str,
        body: Body,
        *,
        only_if: str | Presence | None = None,
        metadata: Mapping[str, str] | None = None,  # noqa: ARG002  # see keeps_metadata
    ) -> ObjectInfo:
        target = self._path_of_entry(key)
        with self._temporary(key) as (fd, temporary):
            for piece in pieces(body):
                self._write_all(key, fd, piece)
            return self._place(key, fd, temporary, target, only_if)

    def delete(self, key: str) -> None:
        try:
            path = self._path_of_entry(key)
            if not path.is_dir():
                path.unlink()
        except NotFound:
            return
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            self._fail(key, error)

    def list(self, prefix: str = "") -> Iterator[Page]:
        place, _, start = prefix.rpartition("/")
        objects: list[ObjectInfo] = []
        for info in self._walk(place, start, self._passed(place)):
            objects.append(info)
            if len(objects) == PAGE_SIZE:
                yield Page(objects=objects)
                objects = []
        yield Page(objects=objects)

    def list_folder(self, place: str = "") -> Iterator[Page]:
        page: tuple[list[ObjectInfo], list[str]] = ([], [])
        for key, status in self._entries(place, "", self._passed(place)):
            if stat.S_ISDIR(status.st_mode):
                page[1].append(key)
            else:
                page[0].append(info_of(key, status))
            if len(page[0]) + len(page[1]) == PAGE_SIZE:
                yield Page(*page)
                page = ([], [])
        yield Page(*page)

    def check(self, *, create: bool = False) -> None:
        try:
            if create:
                self.root.mkdir(parents=True, exist_ok=True)
            with os.scandir(self.root) as entries:
                next(entries, None)
            self._reap()
        except OSError as error:
            self._fail(None, error)

    def renew(self) -> None:
        """In a forked child: the lock may be held by a thread of the parent."""
        self._placing = threading.Lock()

    def close(self) -> None:
        """Leave no empty temporary folder behind."""
        with contextlib.suppress(OSError):  # another process may be writing, or have removed it
            (self.root / TEMPORARY).rmdir()

    def rename(self, key: str, new_key: str) -> None:
        source, target = self._path_of_entry(key), self._path_of_entry(new_key)
        if new_key.startswith(key + "/"):
            raise Unsupported(self.label, key, f'"{new_key}" is inside it; choose another name')
        try:
            os.lstat(source)
            self._make_parent(new_key, target)
            source.rename(target)
        except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
            if not os.path.lexists(source):
                raise NotFound(self.label, key) from error
            raise Unsupported(
                self.label, new_key, "a folder or file of that name is there; remove it first"
            ) from error
        except OSError as error:
            self._fail(key, error)

    def copy(self, key: str, new_key: str) -> ObjectInfo:
        target = self._path_of_entry(new_key)
        with self.read(key) as source, self._temporary(new_key) as (fd, temporary):
            try:
                is_copied = copy_in_kernel(source.fileno(), fd, source.info.size)
            except OSError as error:
                self._fail(new_key, error)
            if not is_copied:
                for piece in source:
                    self._write_all(new_key, fd, memoryview(piece))
            source.confirm()
            return self._place(new_key, fd, temporary, target, None)

    def signed_url(self, key: str, lifetime_seconds: float) -> None:
        """Files have no address that needs no credential."""

    def copy_from(self, url: str, key: str, source: ObjectInfo) -> ObjectInfo:  # noqa: ARG002  # refused
        raise Unsupported(self.label, key, "a folder cannot fetch by itself; send the bytes")

    def make_folder(self, place: str) -> None:
        path = self._path_of_entry(place)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise AlreadyExists(self.label, place, "a file has that name; remove it") from error
        except OSError as error:
            self._fail(place, error)

    def remove_folder(self, place: str) -> None:
        try:
            self._path_of_entry(place).rmdir()
        except (FileNotFoundError, NotFound):
            return
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise Unsupported(
                    self.label, place, "it is not an empty folder; remove what is in it"
                ) from error
            self._fail(place, error)

    def _path_of_entry(self, key: str) -> Path:
        """The path whose last name is `key`'s own, be it a link or nothing."""
        path = self._spelled(key)
        self._refuse_escape(key, path.parent)
        return path

    def _path_of_target(self, key: str) -> Path:
        """The path of what a read of `key` would open."""
        path = self._spelled(key)
        self._refuse_escape(key, path)
        return path

    def _spelled(self, key: str) -> Path:
        path = local_target(self.root, key)
        if key.partition("/")[0] == TEMPORARY:
            raise NameRejected("object", key, f'"{TEMPORARY}" holds unfinished files; rename it')
        try:
            size = len(os.fsencode(key))
        except UnicodeEncodeError as error:
            raise NameRejected("object", key, "it has half a character; rename it") from error
        if size > self.features.longest_key:
            raise NameRejected("object", key, f"use at most {self.features.longest_key} bytes")
        return path

    def _refuse_escape(self, key: str, path: Path) -> None:
        if not self._is_inside(path):
            raise PermissionDenied(
                self.label,
                key,
                "a link on its way leads out of the folder; register where it leads to",
            )

    def _is_inside(self, path: Path | str) -> bool:
        return is_below(os.path.realpath(path).lstrip("/"), str(self.root).lstrip("/"))

    def _regular(self, key: str, status: os.stat_result) -> os.stat_result:
        if not stat.S_ISREG(status.st_mode):
            raise NotFound(self.label, key, "it is not a file; list it as a folder")
        return status

    @contextlib.contextmanager
    def _temporary(self, key: str) -> Iterator[tuple[int, Path]]:
        """A new file aside; gone afterwards unless it was put in place."""
        path = self.root / TEMPORARY / f"{os.getpid()}-{uuid.uuid4().hex}"
        try:
            fd = self._create(path)
        except FileNotFoundError as error:
            raise NotFound(self.label, detail="make the folder, or check(create=True)") from error
        except OSError as error:
            self._fail(key, error)
        try:
            yield fd, path
        finally:
            try:
                os.close(fd)
            except OSError as error:
                self._fail(key, error)
            finally:
                path.unlink(missing_ok=True)

    def _create(self, path: Path) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        for _ in range(3):
            with contextlib.suppress(FileExistsError):
                path.parent.mkdir()
            # Another process that closes its store may remove the folder between the two calls.
            with contextlib.suppress(FileNotFoundError):
                return os.open(path, flags, 0o666)
        return os.open(path, flags, 0o666)

    def _write_all(self, key: str, fd: int, piece: memoryview) -> None:
        try:
            while piece:
                piece = piece[os.write(fd, piece) :]
        except OSError as error:
            self._fail(key, error)

    def _place(
        self, key: str, fd: int, temporary: Path, target: Path, only_if: str | Presence | None
    ) -> ObjectInfo:
        try:
            os.fsync(fd)
            self._make_parent(key, target)
            with self._placing:
                self._judge(key, only_if)
                # Clocks of file systems tick in milliseconds and inodes are used again: only a
                # time of our own tells two quick writes apart.
                self._last_ns = max(self._last_ns + 1, time.time_ns())
                os.utime(fd, ns=(self._last_ns, self._last_ns))
                if only_if is ABSENT:
                    self._link(key, temporary, target)
                else:
                    temporary.replace(target)
            return info_of(key, os.fstat(fd))
        except IsADirectoryError as error:
            raise AlreadyExists(self.label, key, "a folder has that name; remove it") from error
        except OSError as error:
            self._fail(key, error)

    def _link(self, key: str, temporary: Path, target: Path) -> None:
        try:
            target.hardlink_to(temporary)
        except FileExistsError as error:
            raise self._taken(key) from error
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
                raise
            # A file system without hard links: look, then place.
            if os.path.lexists(target):
                raise self._taken(key) from error
            temporary.replace(target)

    def _taken(self, key: str) -> AlreadyExists:
        return AlreadyExists(self.label, key, "ask for overwrite, or choose another name")

    def _judge(self, key: str, only_if: str | Presence | None) -> None:
        if not isinstance(only_if, str):
            return
        try:
            present = self.stat(key)
        except NotFound:
            present = ObjectInfo(key, 0)
        self._refuse_other(key, present, only_if)

    def _refuse_other(self, key: str, present: ObjectInfo, version: str | None) -> None:
        if version not in (None, present.version):
            raise PreconditionFailed(self.label, key, "read it again, then decide")

    def _make_parent(self, key: str, target: Path) -> None:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise Unsupported(
                self.label, key, "a file has the name of its folder; rename one of them"
            ) from error

    def _passed(self, place: str) -> Passed:
        """The folders on the way to a place, itself included, as far as there are any."""
        passed: set[tuple[int, int]] = set()
        path = self.root
        for name in ("", *place.split("/")):
            path = path / name
            try:
                status = path.stat()
            except (OSError, ValueError):
                break  # whoever opens it says what is wrong
            passed.add((status.st_dev, status.st_ino))
        return frozenset(passed)

    def _walk(self, place: str, start: str, passed: Passed) -> Iterator[ObjectInfo]:
        """Files below a place whose first name there begins with `start`, depth first."""
        for key, status in self._entries(place, start, passed):
            if stat.S_ISDIR(status.st_mode):
                yield from self._walk(key, "", passed | {(status.st_dev, status.st_ino)})
            else:
                yield info_of(key, status)

    def _entries(
        self, place: str, start: str, passed: Passed
    ) -> Iterator[tuple[str, os.stat_result]]:
        """Files and folders directly in a place, links that stay inside followed."""
        try:
            path = self._path_of_target(place) if place else self.root
            with os.scandir(path) as scan:
                entries = [entry for entry in scan if entry.name.startswith(start)]
        except NameRejected:
            return  # no key begins like this
        except (FileNotFoundError, NotADirectoryError) as error:
            if not place:
                raise NotFound(self.label, detail="make the folder, or mount it") from error
            return
        except OSError as error:
            if error.errno == errno.ELOOP:
                return
            self._fail(place, error)
        for entry in sorted(entries, key=lambda entry: entry.name):
            if place or entry.name != TEMPORARY:
                key = f"{place}/{entry.name}" if place else entry.name
                status = self._status(key, entry, passed)
                if status:
                    yield key, status

    def _status(self, key: str, entry: os.DirEntry[str], passed: Passed) -> os.stat_result | None:
        """What an entry is; None for what is neither file nor folder, left out, or gone by now."""
        status, why = self._look(key, entry, passed)
        if why:
            log.warning('"%s" in "%s" %s and is left out', printable(key), self.label, why)
        if status and (stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode)):
            return status
        return None

    def _look(
        self, key: str, entry: os.DirEntry[str], passed: Passed
    ) -> tuple[os.stat_result | None, str]:
        """What an entry is, or why it is left out; neither if it is gone by now."""
        is_link = entry.is_symlink()
        if is_link and not self._is_inside(entry.path):
            return None, "leads out of the folder"
        try:
            status = entry.stat()
        except FileNotFoundError:
            return None, "is a link to nothing" if is_link else ""
        except OSError as error:
            if error.errno == errno.ELOOP:
                return None, "is a link that leads back to itself"
            self._fail(key, error)
        if is_link and (status.st_dev, status.st_ino) in passed:
            return None, "is a link to a folder it lies in, which would never end,"
        return status, ""

    def _reap(self) -> None:
        """Remove what writers that died left behind."""
        with contextlib.suppress(FileNotFoundError), os.scandir(self.root / TEMPORARY) as entries:
            for entry in entries:
                # A living writer's file is as young as its last piece.
                if entry.stat(follow_symlinks=False).st_mtime < time.time() - STALE_SECONDS:
                    Path(entry.path).unlink(missing_ok=True)

    def _fail(self, key: str | None, error: OSError) -> NoReturn:
        if isinstance(error, DatastoresError):  # some of ours are OSErrors, too
            raise error
        if key and error.errno in (errno.ENOENT, errno.ELOOP):
            raise NotFound(self.label, key, self._broken_link(key)) from error
        raise translated(self.label, key, error) from error

    def _broken_link(self, key: str) -> str:
        """What is wrong with the first link on the way to a key; nothing if no link is to blame."""
        path, way = self.root, []
        for name in key.split("/"):
            path = path / name
            way.append(name)
            if path.is_symlink() and not path.exists():
                link, target = printable("/".join(way)), printable(str(path.readlink()))
                return f'"{link}" is a link to "{target}", which leads to nothing; correct it'
        return ""
