"""fsspec over our own store contract, for the kinds that fsspec does not know."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fsspec import AbstractFileSystem
from fsspec.spec import AbstractBufferedFile

from datastores.errors import NotFound, Unsupported
from datastores.keys import parent, parse_place
from datastores.storage.contract import ObjectInfo

if TYPE_CHECKING:
    from datastores.filesystem.of_datastore import FileDatastore


class StoreFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """File shares and Gen1 lakes as fsspec sees them; pickles as the datastore, without secrets."""

    protocol = "store"
    root_marker = ""
    cachable = False

    def __init__(self, datastore: FileDatastore) -> None:
        super().__init__(use_listings_cache=False)
        self.datastore = datastore
        self.store = datastore.open_store()

    def __reduce__(self) -> tuple[object, ...]:
        from datastores.filesystem.of_datastore import filesystem_of

        return filesystem_of, (self.datastore,)

    def ls(self, path: str, detail: bool = True, **_options: Any) -> list[Any]:
        place = self._key(path)
        entries: list[dict[str, Any]] = []
        for page in self.store.list_folder(place):
            entries += [_folder(folder) for folder in page.folders]
            entries += [_file(info) for info in page.objects]
        if not entries:
            info = self.info(path)
            entries = [info] if info["type"] == "file" else []
        return entries if detail else [entry["name"] for entry in entries]

    def info(self, path: str, **_options: Any) -> dict[str, Any]:
        key = self._key(path)
        if not key:
            return _folder("")
        try:
            return _file(self.store.stat(key))
        except NotFound:
            if self._is_folder(key):
                return _folder(key)
            raise

    def _is_folder(self, key: str) -> bool:
        # The parent's listing knows empty folders too, which the folder's own cannot show.
        return any(key in page.folders for page in self.store.list_folder(parent(key)))

    def created(self, path: str) -> datetime:
        return self.modified(path)

    def modified(self, path: str) -> datetime:
        stamp = self.info(path)["mtime"]
        if stamp is None:
            raise Unsupported(self.store.label, path, "it keeps no time for this")
        return datetime.fromtimestamp(stamp, UTC)

    def cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **_options: Any
    ) -> bytes:
        key = self._key(path)
        if (start or 0) < 0 or (end is not None and end < 0):
            size = self.store.stat(key).size
            start, end, _ = slice(start, end).indices(size)
        start = start or 0
        length = None if end is None else max(end - start, 0)
        with self.store.read(key, start=start, length=length) as stream:
            return b"".join(stream)

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_options: Any) -> None:
        from datastores.storage.contract import ABSENT

        only_if = ABSENT if mode == "create" else None
        self.store.write(self._key(path), value, only_if=only_if)

    def rm_file(self, path: str) -> None:
        key = self._key(path)
        self.store.stat(key)  # fsspec wants an error for what is not there
        self.store.delete(key)

    def cp_file(self, path1: str, path2: str, **_options: Any) -> None:
        key, new_key = self._key(path1), self._key(path2)
        if self.info(path1)["type"] == "directory":
            self.makedirs(path2, exist_ok=True)
        elif self.store.copying:
            self.store.copying.copy(key, new_key)
        else:
            with self.store.read(key) as stream:
                self.store.write(new_key, stream)

    def mv_file(self, path1: str, path2: str) -> None:
        if self.store.renaming:
            self.store.renaming.rename(self._key(path1), self._key(path2))
        else:
            self.cp_file(path1, path2)
            self.rm_file(path1)

    def mkdir(self, path: str, create_parents: bool = True, **_options: Any) -> None:  # noqa: ARG002  # stores make parents by themselves
        if self.store.folders:
            self.store.folders.make_folder(self._key(path))

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        if not exist_ok and self.exists(path):
            raise FileExistsError(path)
        self.mkdir(path)

    def rmdir(self, path: str) -> None:
        if self.store.folders:
            self.store.folders.remove_folder(self._key(path))

    def _rm(self, path: str) -> None:
        if self.info(path)["type"] == "directory":
            self.rmdir(path)
        else:
            self.rm_file(path)

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        if mode == "xb":
            if self.exists(path):
                raise FileExistsError(path)
            mode = "wb"
        if mode not in ("rb", "wb", "ab"):
            raise Unsupported(self.store.label, path, f'mode "{mode}"; use "rb", "wb" or "ab"')
        known = ("block_size", "cache_type", "cache_options", "autocommit", "size")
        kept = {name: value for name, value in options.items() if name in known}
        return StoreFile(self, self._key(path), mode, **kept)

    def _key(self, path: str) -> str:
        return parse_place(self._strip_protocol(path))


class StoreFile(AbstractBufferedFile):  # type: ignore[misc]  # fsspec has no types
    """One open file: reads by ranges of one version, writes in one step when it is closed."""

    def __init__(self, fs: StoreFileSystem, path: str, mode: str, **options: Any) -> None:
        self.buffer: io.BytesIO | None
        super().__init__(fs, path, mode, **options)
        self._parts: list[bytes] = []
        if mode == "ab":
            self._parts.append(fs.cat_file(path) if fs.exists(path) else b"")
            self.loc = len(self._parts[0])

    def _fetch_range(self, start: int, end: int) -> bytes:
        version = self.details.get("version")
        with self.fs.store.read(
            self.path, start=start, length=end - start, version=version
        ) as stream:
            return b"".join(stream)

    def _initiate_upload(self) -> None:
        """The store's own write is atomic, so nothing begins before the last part is there."""

    def _upload_chunk(self, final: bool = False) -> bool:
        if self.buffer is not None:
            self._parts.append(self.buffer.getvalue())
        self.buffer = io.BytesIO()
        if final and self.autocommit:
            self.commit()
        return True

    def commit(self) -> None:
        """Put the whole file in place."""
        self.fs.store.write(self.path, iter(self._parts))
        self._parts = []

    def discard(self) -> None:
        """Forget what was written."""
        self._parts = []


def _file(info: ObjectInfo) -> dict[str, Any]:
    seconds = None if info.modified_ns is None else info.modified_ns / 1e9
    return {
        "name": info.key,
        "size": info.size,
        "type": "file",
        "mtime": seconds,
        "version": info.version,
        "ETag": info.version,
    }


def _folder(key: str) -> dict[str, Any]:
    return {"name": key, "size": 0, "type": "directory", "mtime": None}
