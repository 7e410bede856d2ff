"""`Model`: files that a run made, under a name and a version. Azure ML's names."""

from __future__ import annotations

import builtins
import os
import posixpath
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datastores.errors import AlreadyExists, DefinitionRejected, NotFound
from datastores.history.details import table, wanted_labels
from datastores.history.events import file_name, label_name
from datastores.history.files import file_datastore
from datastores.history.model_records import ModelRecord, ModelRegistry, model_name
from datastores.history.records import RunFile, folder_in_store
from datastores.keys import basename, parent
from datastores.keys import join as join_place
from datastores.transfer import Options, Overwrite

if TYPE_CHECKING:
    from datastores.catalog.workspace import Workspace
    from datastores.history.run import Run


class Model:
    """A version of a model that the workspace knows, by default the newest of its name."""

    def __init__(
        self,
        workspace: Workspace,
        name: str | None = None,
        id: str | None = None,  # noqa: A002  # Azure ML's word
        tags: Any = None,
        properties: Any = None,
        version: int | None = None,
        run_id: str | None = None,
        model_framework: str | None = None,
        expand: bool = True,  # noqa: ARG002  # Azure ML's; nothing is fetched piecemeal
        _record: ModelRecord | None = None,
        **kwargs: Any,  # noqa: ARG002  # Azure ML's signature
    ) -> None:
        if _record is None:
            wanted = (wanted_labels(tags), wanted_labels(properties), run_id, model_framework)
            _record = _found(workspace, *_identity(name, id, version), *wanted)
        self.workspace, self._record = workspace, _record

    @staticmethod
    def list(
        workspace: Workspace,
        name: str | None = None,
        tags: Any = None,
        properties: Any = None,
        run_id: str | None = None,
        latest: bool = False,
        dataset_id: str | None = None,  # noqa: ARG004  # Azure ML's; models know no datasets here
        expand: bool = True,  # noqa: ARG004  # Azure ML's; nothing is fetched piecemeal
        page_count: int = 255,  # noqa: ARG004  # Azure ML's; the list comes at once
        model_framework: str | None = None,
    ) -> builtins.list[Model]:
        """The models that fit, by name, the newest version first; with `latest` that one alone."""
        wanted = (wanted_labels(tags), wanted_labels(properties), run_id, model_framework)
        found = [
            one
            for one in _registry(workspace).list()
            if name in (None, one.name) and _fits(one, *wanted)
        ]
        if latest:
            found = list({one.name: one for one in reversed(found)}.values())
            found.sort(key=lambda one: one.name)
        return [Model(workspace, _record=one) for one in found]

    # What it is.

    @property
    def id(self) -> str:
        """Name and version."""
        return f"{self.name}:{self.version}"

    @property
    def name(self) -> str:
        """What it is called."""
        return self._record.name

    @property
    def version(self) -> int:
        """Counts the models of its name from 1."""
        return self._record.version

    @property
    def run_id(self) -> str:
        """The run that made it."""
        return self._record.run_id

    @property
    def run(self) -> Run:
        """The run that made it; `NotRegistered` where that was deleted."""
        from datastores.history.run import Run

        return Run.get(self.workspace, self.run_id)

    @property
    def url(self) -> str:
        """Where its files are."""
        return f"azureml://datastores/{self._record.datastore}/paths/{self._record.place}"

    @property
    def created_time(self) -> datetime:
        """When it was registered."""
        return self._record.created

    @property
    def description(self) -> str | None:
        """What people said of it."""
        return self._record.description

    @property
    def model_framework(self) -> str | None:
        """What made it, as it was said."""
        return self._record.framework

    @property
    def model_framework_version(self) -> str | None:
        """In which version."""
        return self._record.framework_version

    @property
    def tags(self) -> dict[str, str]:
        """Its tags, as they were when it was found or last changed here."""
        return dict(self._record.tags)

    @property
    def properties(self) -> dict[str, str]:
        """Its properties, likewise."""
        return dict(self._record.properties)

    def download(
        self,
        target_dir: str | os.PathLike[str] = ".",
        exist_ok: bool = False,
        exists_ok: bool | None = None,
    ) -> str:
        """Bring its file or folder below a folder, under its own last name; the path there.

        What is there already is replaced with `exist_ok` alone. Files of a run that still goes on
        may not have arrived; then it is `NotFound`.
        """
        from datastores import transfer

        record, folder = self._record, Path(target_dir).expanduser()
        target = folder / basename(record.place)
        if target.exists() and not (exist_ok or exists_ok):
            raise AlreadyExists(str(folder), target.name, "pass exist_ok=True, or another folder")
        with file_datastore(self.workspace, record.datastore).opened() as store:
            summary = transfer.download(
                store,
                record.place,
                folder,
                strip=parent(record.place),
                options=_options(folder),
            )
        if summary.moved == 0:
            raise NotFound(
                record.datastore, record.place, f"files of run {self.run_id} arrive when it ends"
            )
        return str(target)

    def add_tags(self, tags: Mapping[str, Any]) -> None:
        """Put tags over earlier ones."""
        self._label(tags=_texts(tags))

    def remove_tags(self, tags: Sequence[str]) -> None:
        """Take tags away."""
        self._label(remove=(tags,) if isinstance(tags, str) else tuple(tags))

    def add_properties(self, properties: Mapping[str, Any]) -> None:
        """Add properties, which never change."""
        self._label(properties=_texts(properties))

    def _label(self, **changes: Any) -> None:
        self._record = _registry(self.workspace).label(self.name, self.version, **changes)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Model):
            return NotImplemented
        return (self.workspace, self.id) == (other.workspace, other.id)

    def __hash__(self) -> int:
        return hash((self.workspace, self.id))

    def __repr__(self) -> str:
        return f"Model(workspace={self.workspace.name}, name={self.name}, version={self.version})"

    def _repr_html_(self) -> str:
        row = (self.name, self.version, self.run_id, self._record.path)
        return table(("Name", "Version", "Run", "Path"), [row])


def register(
    workspace: Workspace,
    run_id: str,
    files: Sequence[RunFile],
    name: str,
    path: str | None,
    **said: Any,
) -> Model:
    """A file or folder among a run's files as the next version of a model."""
    place = file_name(posixpath.normpath(path or model_name(name)))
    chosen = [file for file in files if file.name == place or file.name.startswith(f"{place}/")]
    if not chosen:
        known = sorted({file.name for file in files})[:12]
        raise DefinitionRejected(
            name,
            f'run "{run_id}" has no file "{place}" (it has: {", ".join(known) or "none"}); '
            f"upload it first, or write it to outputs/",
        )
    default = file_datastore(workspace, None).name
    stores = sorted({file.datastore or default for file in chosen})
    if len(stores) > 1:
        raise DefinitionRejected(
            name, f"its files are in several datastores ({', '.join(stores)}); upload them to one"
        )
    said["tags"], said["properties"] = (_texts(said[one]) for one in ("tags", "properties"))
    stored = join_place(folder_in_store(run_id), place)
    record = ModelRecord(model_name(name), run_id, place, stores[0], stored, **said)
    return Model(workspace, _record=_registry(workspace).add(record))


def _identity(name: str | None, given: str | None, version: int | None) -> tuple[str, int | None]:
    """The name and the version that somebody asks for; any version where none is named."""
    if given is not None:
        head, _, number = given.rpartition(":")
        if head and number.isdigit():
            return head, int(number)
    if given is not None or name is None:
        raise DefinitionRejected("model", "name one with name=, or with an id of NAME:VERSION")
    return name, version


def _found(
    workspace: Workspace,
    name: str,
    version: int | None,
    *wanted: Any,
) -> ModelRecord:
    registry = _registry(workspace)
    newest = registry.get(name, version)
    for one in [newest, *registry.list()]:
        if one.name == name and version in (None, one.version) and _fits(one, *wanted):
            return one
    raise DefinitionRejected(
        name, "none of its versions has these labels, run and framework; ask Model.list"
    )


def _registry(workspace: Workspace) -> ModelRegistry:
    return ModelRegistry(workspace.registry, workspace.name)


def _texts(labels: Mapping[str, Any] | None) -> dict[str, str]:
    return {
        label_name(name): "" if value is None else str(value)
        for name, value in (labels or {}).items()
    }


def _fits(
    record: ModelRecord,
    tags: Mapping[str, str | None] | None,
    properties: Mapping[str, str | None] | None,
    run_id: str | None,
    framework: str | None,
) -> bool:
    return (
        run_id in (None, record.run_id)
        and framework in (None, record.framework)
        and all(
            name in given and value in (None, given[name])
            for given, wanted in ((record.tags, tags or {}), (record.properties, properties or {}))
            for name, value in wanted.items()
        )
    )


def _options(folder: Path) -> Options:
    from datastores.catalog.progress import writable_notes_for

    return Options(overwrite=Overwrite.ALWAYS, records=writable_notes_for(folder))
