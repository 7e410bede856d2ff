"""`datastore://<name>/<path>` and Azure ML's long `azureml://` addresses, for fsspec."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fsspec import AbstractFileSystem

from datastores.errors import DefinitionRejected, Unsupported
from datastores.keys import relative

if TYPE_CHECKING:
    from datastores.catalog.workspace import Workspace

_LONG = re.compile(
    r"azureml://(?:subscriptions/(?P<subscription_id>[^/]+)/resource[gG]roups/"
    r"(?P<resource_group>[^/]+)/(?:providers/Microsoft\.MachineLearningServices/)?"
    r"workspaces/(?P<workspace_name>[^/]+)/)?"
    r"datastores/(?P<datastore>[^/]+)(?:/paths(?:/(?P<path>.*))?)?/?\Z",
    re.DOTALL,
)


class DatastoreFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """All datastores of a workspace as one file system: the first folder is the datastore's name.

    The workspace is the one of the address, or the one that `Workspace.from_config()` finds.
    """

    protocol = ("datastore", "azureml")
    root_marker = ""
    cachable = False

    def __init__(
        self,
        workspace: Workspace | None = None,
        workspace_name: str | None = None,
        subscription_id: str | None = None,
        resource_group: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(use_listings_cache=False, **options)
        self._given = (workspace, workspace_name, subscription_id, resource_group)
        self._workspace = workspace
        self._inner: dict[str, AbstractFileSystem] = {}

    def __reduce__(self) -> tuple[object, ...]:
        return DatastoreFileSystem, self._given

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(one) for one in path]
        path = str(path)
        if path.startswith("azureml://"):
            match = _LONG.match(path)
            if not match:
                raise DefinitionRejected(
                    path,
                    "write azureml://subscriptions/S/resourcegroups/R/workspaces/W/"
                    "datastores/NAME/paths/PATH, or azureml://datastores/NAME/paths/PATH",
                )
            path = f"{match['datastore']}/{match['path'] or ''}"
        return path.removeprefix("datastore://").strip("/")

    @staticmethod
    def _get_kwargs_from_urls(path: str) -> dict[str, Any]:
        match = _LONG.match(path)
        if not match or not match["workspace_name"]:
            return {}
        wanted = ("workspace_name", "subscription_id", "resource_group")
        return {name: match[name] for name in wanted}

    @property
    def workspace(self) -> Workspace:
        """Where names are looked up; found at first use."""
        if self._workspace is None:
            from datastores.catalog.workspace import Workspace

            _, name, subscription_id, resource_group = self._given
            self._workspace = (
                Workspace.get(name, subscription_id=subscription_id, resource_group=resource_group)
                if name
                else Workspace.from_config()
            )
        return self._workspace

    def ls(self, path: str, detail: bool = True, **options: Any) -> list[Any]:
        path = self._strip_protocol(path)
        if not path:
            entries = [
                {"name": name, "size": 0, "type": "directory"} for name in self.workspace.datastores
            ]
            return entries if detail else [entry["name"] for entry in entries]
        name, fs, inner = self._enter(path)
        found = fs.ls(inner, detail=detail, **options)
        return [_outside(name, entry) if detail else f"{name}/{entry}" for entry in found]

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        path = self._strip_protocol(path)
        name, _, inner = path.partition("/")
        if not inner:
            if name:
                self._enter(path)
            return {"name": name, "size": 0, "type": "directory"}
        _, fs, inner = self._enter(path)
        return _outside(name, fs.info(inner, **options))

    def find(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool = False,
        detail: bool = False,
        **options: Any,
    ) -> Any:
        path = self._strip_protocol(path)
        if not path:
            return super().find(path, maxdepth, withdirs, detail=detail, **options)
        name, fs, inner = self._enter(path)
        # By name: adlfs has these in another place, and does not know `maxdepth`.
        found = fs.find(inner, maxdepth=maxdepth, withdirs=withdirs, detail=True, **options)
        entries = {
            f"{name}/{key}": _outside(name, entry)
            for key, entry in found.items()
            if maxdepth is None or relative(key, inner).count("/") < maxdepth
        }
        return entries if detail else list(entries)

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        _, fs, inner = self._enter(self._strip_protocol(path))
        options.pop("autocommit", None)
        return fs.open(inner, mode, **options)

    def cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **options: Any
    ) -> Any:
        return self._on(path, lambda fs, inner: fs.cat_file(inner, start, end, **options))

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> None:
        self._on(path, lambda fs, inner: fs.pipe_file(inner, value, mode=mode, **options))

    def rm_file(self, path: str) -> None:
        self._on(path, lambda fs, inner: fs.rm_file(inner))

    def _rm(self, path: str) -> None:
        self._on(path, lambda fs, inner: fs.rm(inner, recursive=fs.isdir(inner)))

    def mkdir(self, path: str, create_parents: bool = True, **options: Any) -> None:
        self._on(path, lambda fs, inner: fs.mkdir(inner, create_parents, **options))

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        self._on(path, lambda fs, inner: fs.makedirs(inner, exist_ok=exist_ok))

    def rmdir(self, path: str) -> None:
        self._on(path, lambda fs, inner: fs.rmdir(inner))

    def modified(self, path: str) -> Any:
        return self._on(path, lambda fs, inner: fs.modified(inner))

    def created(self, path: str) -> Any:
        return self._on(path, lambda fs, inner: fs.created(inner))

    def cp_file(self, path1: str, path2: str, **options: Any) -> None:
        name, fs, inner = self._enter(self._strip_protocol(path1))
        other, _, other_inner = self._enter(self._strip_protocol(path2))
        if other == name:
            fs.cp_file(inner, other_inner, **options)
            return
        if fs.isdir(inner):
            self.makedirs(path2, exist_ok=True)
            return
        with self.open(path1, "rb") as source, self.open(path2, "wb") as target:
            while piece := source.read(4 << 20):
                target.write(piece)

    def _on(self, path: str, act: Callable[[AbstractFileSystem, str], Any]) -> Any:
        _, fs, inner = self._enter(self._strip_protocol(path))
        return act(fs, inner)

    def _enter(self, path: str) -> tuple[str, AbstractFileSystem, str]:
        name, _, inner = path.partition("/")
        if name not in self._inner:
            datastore = self.workspace.get_datastore(name)
            if datastore.definition.holds == "rows":
                raise Unsupported(name, None, "it holds rows; read them with read_batches()")
            self._inner[name] = datastore.filesystem()
        return name, self._inner[name], inner


def _outside(name: str, entry: dict[str, Any]) -> dict[str, Any]:
    return {**entry, "name": f"{name}/{entry['name']}".rstrip("/")}
