"""Any file system that fsspec knows, as a store: S3, GCS, SFTP, HTTP and the rest."""

from __future__ import annotations

import errno
import hashlib
import json
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import urlsplit

import fsspec

from datastores.credentials.kinds import Anonymous, Credential, Identity, StorageOptions
from datastores.definitions import FsspecUrl
from datastores.errors import (
    AlreadyExists,
    Corrupted,
    CredentialRefused,
    DatastoresError,
    DefinitionRejected,
    NameRejected,
    NotFound,
    PermissionDenied,
    PreconditionFailed,
    StoreError,
    Unavailable,
    Unsupported,
)
from datastores.secret import Secret, masked, redact
from datastores.storage.contract import ABSENT, Features, ObjectInfo, Page, Patience, Presence
from datastores.storage.forks import renewed
from datastores.storage.local import LocalStore
from datastores.storage.local_file import translated
from datastores.storage.verbs import pieces

if TYPE_CHECKING:
    from datastores.storage.contract import Body, Store

T = TypeVar("T")

PIECE_BYTES = 8 * 1024 * 1024
IN_MEMORY_BYTES = 16 * 1024 * 1024
PAGE_SIZE = 1000
TEMPORARY = ".datastores-tmp-"

# Folders exist only as the beginning of keys, so `a` may stand beside `a/b`.
FLAT = frozenset({"s3", "s3a", "gs", "gcs", "oss", "oci", "r2"})
# One upload becomes visible in one step; elsewhere a file is written aside and renamed.
IN_ONE_STEP = FLAT | {"abfs", "abfss", "az", "adl", "memory"}


def open_fsspec(definition: FsspecUrl, credential: Credential, patience: Patience) -> Store:
    """The store at a URL; its storage options are the credential."""
    protocol = urlsplit(definition.url).scheme.rpartition("::")[2]
    if protocol in ("file", "local"):
        return renewed(LocalStore(definition.name, Path(urlsplit(definition.url).path)))
    options = _options(definition, credential)
    # Kept alive with the store, so that messages from libraries are masked by value.
    secrets = [Secret(text) for text in _texts(options)]
    try:
        fs, root = fsspec.core.url_to_fs(definition.url, **_bounded(protocol, options, patience))
    except ImportError as error:
        raise Unsupported(
            definition.name, detail=redact(f"{error}; install that package")
        ) from error
    except (ValueError, TypeError) as error:
        raise DefinitionRejected(
            definition.name, redact(f"{error}; see the options of fsspec's {protocol}")
        ) from error
    return renewed(FsspecStore(definition.name, definition.url, fs, root, protocol, secrets))


class FsspecStore:
    """Files of an fsspec file system below one path.

    A read compares the version before and after, since fsspec cannot pin one. Conditions are
    looked at and then acted on. A body is gathered before the first byte is sent, on disk when it
    is large, so that one that breaks leaves no trace.
    """

    staging = renaming = copying = folders = None

    def __init__(
        self, label: str, url: str, fs: Any, root: str, protocol: str, secrets: list[Secret]
    ) -> None:
        self.label = label
        self.identity = url.rstrip("/")
        self._fs = fs
        self._fs_is_the_parents = False
        self._root = root.rstrip("/")
        self._in_one_step = protocol in IN_ONE_STEP
        self._secrets = secrets
        self.features = Features(
            real_folders=protocol not in FLAT, atomic_conditions=False, keeps_metadata=False
        )

    def stat(self, key: str) -> ObjectInfo:
        path = self._path(key)
        entry = self._call(key, lambda: self._fs.info(path))
        if entry.get("type") != "file" or str(entry.get("name", path)).endswith("/"):
            raise NotFound(self.label, key)
        return _info(key, entry)

    def read(
        self, key: str, *, start: int = 0, length: int | None = None, version: str | None = None
    ) -> FsspecStream:
        info = self.stat(key)
        self._refuse_other(key, info.version, version)
        end = info.size if length is None else min(info.size, start + length)
        return FsspecStream(self, info, start, end)

    def write(
        self,
        key: str,
        body: Body,
        *,
        only_if: str | Presence | None = None,
        metadata: Mapping[str, str] | None = None,  # noqa: ARG002  # see keeps_metadata
    ) -> ObjectInfo:
        path = self._path(key)
        with tempfile.NamedTemporaryFile(prefix="datastores-") as gathered:
            held = bytearray()
            for piece in pieces(body):
                held += piece
                if len(held) > IN_MEMORY_BYTES:
                    self._put_by(key, gathered, held)
                    held.clear()
            if self.features.real_folders:
                self._refuse_clash(key)
            self._judge(key, only_if)
            mode = "create" if only_if is ABSENT else "overwrite"
            if not gathered.tell():
                self._call(key, lambda: self._send(path, bytes(held), mode))
            else:
                self._put_by(key, gathered, held)
                self._call(key, lambda: self._send(path, gathered.name, mode))
        return self.stat(key)

    def delete(self, key: str) -> None:
        try:
            path = self._path(key)
            if self._in_one_step or self._is_file(key, path):
                self._call(key, lambda: self._fs.rm_file(path))
        except NotFound:
            return

    def list(self, prefix: str = "") -> Iterator[Page]:
        place, _, start = prefix.rpartition("/")
        yield from self._walk(place, start)

    def list_folder(self, place: str = "") -> Iterator[Page]:
        objects, folders = self._children(place)
        for at in range(0, max(len(objects), len(folders), 1), PAGE_SIZE):
            yield Page(objects[at : at + PAGE_SIZE], folders[at : at + PAGE_SIZE])

    def check(self, *, create: bool = False) -> None:
        if create:
            self._call(None, lambda: self._fs.makedirs(self._root, exist_ok=True))
        self._must_be_there()

    def renew(self) -> None:
        """In a forked child: fsspec's threads and connections are the parent's."""
        self._fs_is_the_parents = True

    def close(self) -> None:
        """Sessions are closed by fsspec, when the file system is collected."""

    def piece(self, info: ObjectInfo, start: int, end: int) -> bytes:
        """Bytes of an object, exactly these."""
        path = self._path(info.key)
        found: bytes = self._call(info.key, lambda: self._fs.cat_file(path, start=start, end=end))
        if len(found) != end - start:
            self.confirm(info)
            raise Corrupted(self.label, info.key, "other bytes arrived than asked for; try again")
        return found

    def confirm(self, info: ObjectInfo) -> None:
        """Raise `PreconditionFailed` when the object is another one by now."""
        try:
            now = self.stat(info.key).version
        except NotFound:
            now = None
        if now != info.version:
            raise PreconditionFailed(self.label, info.key, "read it again")

    def _put_by(self, key: str, gathered: IO[bytes], held: bytearray) -> None:
        try:
            gathered.write(held)
            gathered.flush()
        except OSError as error:
            raise translated(self.label, key, error) from error

    def _send(self, path: str, body: bytes | str, mode: str) -> None:
        target = path if self._in_one_step else self._aside(path)
        if isinstance(body, bytes):
            self._fs.pipe_file(target, body, mode=mode)
        else:
            self._fs.put_file(body, target, mode=mode)
        if target != path:
            self._fs.mv(target, path)

    def _aside(self, path: str) -> str:
        parent = path.rpartition("/")[0]
        self._fs.makedirs(parent, exist_ok=True)
        return f"{parent}/{TEMPORARY}{uuid.uuid4().hex}"

    def _walk(self, place: str, start: str) -> Iterator[Page]:
        objects, folders = self._children(place, start)
        for at in range(0, len(objects), PAGE_SIZE):
            yield Page(objects[at : at + PAGE_SIZE])
        for folder in folders:
            yield from self._walk(folder, "")

    def _children(self, place: str, start: str = "") -> tuple[Sequence[ObjectInfo], Sequence[str]]:
        try:
            above = self._path(place) if place else self._root
        except (NameRejected, Unsupported):
            return [], []  # no key begins like this
        try:
            entries = self._call(place or None, lambda: self._fs.ls(above, detail=True))
        except NotFound:
            self._must_be_there()
            return [], []
        objects: dict[str, ObjectInfo] = {}
        folders: set[str] = set()
        for entry in entries:
            name = self._name_below(above, entry["name"])
            if name and name.startswith(start) and not name.startswith(TEMPORARY):
                key = f"{place}/{name}" if place else name
                if entry["type"] == "directory":
                    folders.add(key)
                elif not entry["name"].endswith("/"):
                    objects[key] = _listed(key, entry)
        return [objects[key] for key in sorted(objects)], sorted(folders)

    def _must_be_there(self) -> None:
        """`NotFound` unless there is a place that holds nothing, or something."""
        try:
            self._call(None, lambda: self._fs.ls(self._root, detail=False))
        except NotFound:
            # In an object store a folder without objects is not there; its bucket must be.
            bucket = self._root.lstrip("/").partition("/")[0]
            if not self._in_one_step or bucket == self._root:
                raise
            self._call(None, lambda: self._fs.ls(bucket, detail=False))

    def _name_below(self, above: str, path: str) -> str | None:
        """The name of a direct child; None for the folder itself, which some stores list."""
        before, name = above.strip("/"), path.strip("/")
        if before:
            if not name.startswith(before + "/"):
                return None
            name = name[len(before) + 1 :]
        return None if "/" in name else name

    def _path(self, key: str) -> str:
        segments = key.split("/")
        if any(segment in ("", ".", "..") for segment in segments):
            raise NameRejected("object", key, 'use neither empty segments nor "." and ".."')
        # Real S3 takes line breaks; servers that imitate it look for keys of one line.
        if any(character in key for character in "\0\n\r"):
            raise NameRejected("object", key, "it holds a line break or NUL; rename it")
        try:
            size = len(key.encode())
        except UnicodeEncodeError as error:
            raise NameRejected("object", key, "it has half a character; rename it") from error
        if size > self.features.longest_key:
            raise NameRejected("object", key, f"use at most {self.features.longest_key} bytes")
        path = f"{self._root}/{key}"
        if self._fs._strip_protocol(path) != path or segments[-1].startswith(TEMPORARY):  # noqa: SLF001  # tells what fsspec makes of a name
            raise Unsupported(self.label, key, "fsspec would read this name as another; rename it")
        return path

    def _judge(self, key: str, only_if: str | Presence | None) -> None:
        if only_if is None:
            return
        try:
            present = self.stat(key).version or "unknown"
        except NotFound:
            present = None
        if only_if is not ABSENT:
            self._refuse_other(key, present, str(only_if))
        elif present:
            raise AlreadyExists(self.label, key, "ask for overwrite, or choose another name")

    def _refuse_clash(self, key: str) -> None:
        """Refuse what would put a file in a folder's place, or a folder in a file's."""
        path = self._path(key)
        if self._call(key, lambda: self._fs.isdir(path)):
            raise AlreadyExists(self.label, key, "a folder has that name; remove it")
        files = [above for above in _folders_above(key) if self._is_file(key, self._path(above))]
        if files:
            raise Unsupported(
                self.label, key, f'"{files[0]}" is a file, not a folder; rename one of them'
            )

    def _is_file(self, key: str, path: str) -> bool:
        return bool(self._call(key, lambda: self._fs.isfile(path)))

    def _refuse_other(self, key: str, present: str | None, version: str | None) -> None:
        if version not in (None, present):
            raise PreconditionFailed(self.label, key, "read it again, then decide")

    def _call(self, key: str | None, act: Callable[[], T]) -> T:
        try:
            if self._fs_is_the_parents:
                old = self._fs
                self._fs = type(old)(
                    *old.storage_args, **old.storage_options, skip_instance_cache=True
                )
                self._fs_is_the_parents = False
            return act()
        except DatastoresError:
            raise
        except Exception as error:  # noqa: BLE001  # each file system of fsspec has exceptions of its own
            raise _translated(self.label, key, error) from masked(error)


class FsspecStream:
    """An object in ranges; the last is handed out only if the version is still the same."""

    def __init__(self, store: FsspecStore, info: ObjectInfo, start: int, end: int) -> None:
        self.info = info
        self._store = store
        self._start = start
        self._end = end

    def __iter__(self) -> Iterator[bytes]:
        for at in range(self._start, self._end, PIECE_BYTES):
            until = min(at + PIECE_BYTES, self._end)
            piece = self._store.piece(self.info, at, until)
            if until == self._end:
                self._store.confirm(self.info)
            yield piece

    def close(self) -> None:
        """Each range was its own request; nothing is open between them."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _options(definition: FsspecUrl, credential: Credential) -> dict[str, Any]:
    match credential:
        case StorageOptions(options=secret):
            try:
                options = json.loads(secret.reveal())
            except ValueError:
                options = None
            if not isinstance(options, dict):
                # No "from": the parser's message quotes the secret.
                raise CredentialRefused(
                    definition.name, "the storage options are not a JSON object; write them anew"
                ) from None
            return options
        case Anonymous() | Identity():
            return {}
    raise CredentialRefused(
        definition.name, f"fsspec takes storage options, not {credential.kind}; register those"
    )


def _bounded(protocol: str, options: dict[str, Any], patience: Patience) -> dict[str, Any]:
    """Options without caches, since listings go stale and credentials would stay in memory."""
    bounded = options | {"use_listings_cache": False, "skip_instance_cache": True}
    if protocol in ("s3", "s3a"):
        given = options.get("config_kwargs", {})
        bounded["config_kwargs"] = {
            "connect_timeout": patience.connect_seconds,
            "read_timeout": patience.read_seconds,
            **given,
        }
    return bounded


def _texts(value: object) -> Iterator[str]:
    match value:
        case str() if value:
            yield value
        case dict():
            for inner in value.values():
                yield from _texts(inner)
        case list():
            for inner in value:
                yield from _texts(inner)


def _folders_above(key: str) -> Iterator[str]:
    while "/" in key:
        key = key.rpartition("/")[0]
        yield key


def _info(key: str, entry: Mapping[str, Any]) -> ObjectInfo:
    size = int(entry.get("size") or 0)
    modified = next(
        (
            entry[name]
            for name in ("LastModified", "last_modified", "mtime", "modified", "updated", "created")
            if entry.get(name) is not None
        ),
        None,
    )
    return ObjectInfo(key, size, _nanoseconds(modified), _version(entry, size, modified))


def _listed(key: str, entry: Mapping[str, Any]) -> ObjectInfo:
    # Listings may name other times than `info` does, so only a tag is carried over.
    info = _info(key, entry)
    return info if _tag(entry) else replace(info, version=None)


def _tag(entry: Mapping[str, Any]) -> str | None:
    return next(
        (str(entry[name]) for name in ("ETag", "etag", "generation") if entry.get(name)), None
    )


def _version(entry: Mapping[str, Any], size: int, modified: object) -> str | None:
    tag = _tag(entry)
    if tag:
        return tag
    if modified is None:
        return None
    return hashlib.sha256(f"{size} {modified} {entry.get('ino')}".encode()).hexdigest()[:32]


def _nanoseconds(modified: object) -> int | None:
    match modified:
        case datetime():
            return int(modified.timestamp() * 10**6) * 1000
        case int() | float():
            return int(modified * 10**6) * 1000
        case str():
            try:
                return _nanoseconds(datetime.fromisoformat(modified))
            except ValueError:
                return None
    return None


# What waiting does not cure. Some libraries put a service's words into these numbers: s3fs says
# EINVAL for a bucket that cannot have its name.
_LASTING = frozenset(
    [
        errno.ENOSPC,
        errno.EDQUOT,
        errno.ENAMETOOLONG,
        errno.EINVAL,
        errno.EILSEQ,
        errno.EROFS,
        errno.EFBIG,
        errno.EMSGSIZE,
        errno.ENOSYS,
        errno.EOPNOTSUPP,
    ]
)


def _translated(  # noqa: PLR0911  # a table
    label: str, key: str | None, error: Exception
) -> DatastoresError:
    why = redact(str(error) or type(error).__name__)
    match error:
        case FileNotFoundError() | NotADirectoryError():
            return NotFound(label, key)
        case FileExistsError():
            return AlreadyExists(label, key, "ask for overwrite, or choose another name")
        case PermissionError():
            return PermissionDenied(label, key, why)
        case NotImplementedError() | IsADirectoryError():
            return Unsupported(label, key, f"fsspec's file system says: {why}")
        case OSError(errno=number) if number in _LASTING:
            return translated(label, key, OSError(number, why))
        case OSError() | EOFError():
            return Unavailable(label, key, why)
    status = _status_of(error)
    if 400 <= status < 500 and status not in (408, 425, 429):
        return _refused(label, key, status, why)
    # Network libraries under fsspec do not agree on a base class; these names they do share.
    if any(
        word in type(error).__name__ for word in ("Connection", "Timeout", "Endpoint", "Client")
    ):
        return Unavailable(label, key, why)
    if "Credentials" in type(error).__name__:
        return CredentialRefused(label, f"{why}; give it as a storage option")
    return StoreError(label, key, f"{type(error).__name__}: {why}; see fsspec's documentation")


def _status_of(error: Exception) -> int:
    """The HTTP status that the error of a network library carries; 0 for none."""
    response = getattr(error, "response", None)
    if isinstance(response, Mapping):  # botocore
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:  # requests and gcsfs; aiohttp
        status = getattr(response, "status_code", None) or getattr(error, "status", None)
    return status if isinstance(status, int) else 0


def _refused(label: str, key: str | None, status: int, why: str) -> DatastoresError:
    if status == 404:
        return NotFound(label, key)
    if status in (401, 403):
        return PermissionDenied(label, key, f"{why}; ask for access, or give other options")
    return Unsupported(label, key, f"the service says: {why}; check the name and the options")
