"""`Run`: one run of an experiment, for those who started it and for its own script."""

from __future__ import annotations

import builtins
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from typing_extensions import override

from datastores.errors import DefinitionRejected
from datastores.history.details import details_of, log_files, log_text, table, wanted_labels
from datastores.history.elsewhere import Elsewhere
from datastores.history.entries import Entry
from datastores.history.keeping import Kept
from datastores.history.metrics import gather
from datastores.history.recorder import error_text, files_in
from datastores.history.records import (
    INTERACTIVE,
    ExperimentName,
    RunFile,
    RunId,
    RunRecord,
    folder_in_store,
)
from datastores.history.status import Status

if TYPE_CHECKING:
    import os

    from datastores.catalog.workspace import Workspace
    from datastores.history.experiment import Experiment
    from datastores.history.input_versions import FileVersion
    from datastores.history.offline import OfflineRun
    from datastores.history.run_history import RunHistory

log = logging.getLogger(__name__)

# What `start_logging` keeps where nobody names a folder: these outputs, if there are any.
OUTPUTS = "outputs"
# Who makes the objects for runs of a type, where somebody else was named for it.
_makers: dict[str, Callable[[Experiment, RunRecord], Run]] = {}


class Run(Elsewhere, Kept):
    """A run that the workspace knows. The object holds its address; what it says is read anew."""

    def __init__(
        self,
        experiment: Experiment,
        run_id: str,
        outputs: str | os.PathLike[str] | None = None,
        **kwargs: Any,  # noqa: ARG002  # Azure ML's signature
    ) -> None:
        self._experiment, self._run_id = experiment, RunId.parse(run_id)
        self._outputs = outputs

    @classmethod
    def get_context(
        cls,
        allow_offline: bool = True,
        used_for_context_manager: bool = False,  # noqa: ARG003  # Azure ML's signature
        **kwargs: Any,  # noqa: ARG003  # Azure ML's signature
    ) -> Run | OfflineRun:
        """The run that this process is the script of; a run that prints where there is none."""
        from datastores.history.offline import OfflineRun
        from datastores.history.script_run import script_run

        found = script_run()
        if found is not None:
            return found
        if not allow_offline:
            raise DefinitionRejected(
                "Run.get_context",
                "this process is not the script of a run; submit it, or allow_offline=True",
            )
        return OfflineRun()

    @classmethod
    def get_submitted_run(cls, **kwargs: Any) -> Run | OfflineRun:
        """Azure ML's older word for `get_context` in a script that is a run."""
        log.warning("get_submitted_run is Azure ML's older word; use get_context")
        return cls.get_context(allow_offline=False, **kwargs)

    @staticmethod
    def add_type_provider(
        runtype: str, run_factory: Callable[[Experiment, RunRecord], Run]
    ) -> None:
        """Let a function make the objects for runs of this type, from experiment and record."""
        if _makers.setdefault(runtype, run_factory) is not run_factory:
            raise DefinitionRejected(runtype, "its runs have a factory already; keep that one")

    @classmethod
    def get_docs_url(cls) -> str:
        """The page of the class in Azure ML's reference, whose names these are."""
        return "https://learn.microsoft.com/python/api/azureml-core/azureml.core.run(class)"

    @staticmethod
    def get(workspace: Workspace, run_id: str) -> Run:
        """The run of this id; `NotRegistered` lists the newest ones."""
        return run_of(workspace, history_of(workspace).get(run_id))

    @staticmethod
    def list(
        experiment: Experiment,
        type: str | None = None,  # noqa: A002  # Azure ML's word
        tags: str | Mapping[str, Any] | None = None,
        properties: str | Mapping[str, Any] | None = None,
        status: str | None = None,
        include_children: bool = False,
        _rehydrate_runs: bool = True,
    ) -> Iterator[Run]:
        """Runs of an experiment, the newest first; fetched page by page."""
        found = history_of(experiment.workspace).every(
            experiment.name,
            type=type,
            tags=wanted_labels(tags),
            properties=wanted_labels(properties),
            status=None if status is None else Status.parse(status),
            top_level=not include_children,
        )
        return (run_of(experiment.workspace, record) for record in found)

    @staticmethod
    def list_by_compute(
        compute: Any,
        type: str | None = None,  # noqa: A002  # Azure ML's word
        tags: str | Mapping[str, Any] | None = None,
        properties: str | Mapping[str, Any] | None = None,
        status: str | None = None,
    ) -> Iterator[Run]:
        """Runs on a compute target, which is what has a `workspace` and a `name`."""
        found = history_of(compute.workspace).every(
            compute_target=compute.name,
            type=type,
            tags=wanted_labels(tags),
            properties=wanted_labels(properties),
            status=None if status is None else Status.parse(status),
        )
        return (run_of(compute.workspace, record) for record in found)

    # What it is.

    @property
    def id(self) -> str:
        """Its id."""
        return str(self._run_id)

    @property
    @override
    def experiment(self) -> Experiment:
        """What it is filed under; `.workspace` is where."""
        return self._experiment

    @property
    def number(self) -> int:
        """Counts the runs of its experiment."""
        return self._record().number

    @property
    def name(self) -> str | None:
        """What people call it."""
        return self.display_name

    @property
    def display_name(self) -> str | None:
        """What people call it; can be set."""
        return self._record().display_name

    @display_name.setter
    def display_name(self, name: str) -> None:
        self._put(Entry(self.id, changes={"display_name": name}))

    @property
    def description(self) -> str | None:
        """What people say of it; can be set."""
        return self._record().description

    @description.setter
    def description(self, text: str) -> None:
        self._put(Entry(self.id, changes={"description": text}))

    @property
    def type(self) -> str:
        """The kind of run, in Azure ML's words."""
        return self._record().type

    @property
    def parent(self) -> Run | None:
        """The run it was started from."""
        parent = self._record().parent
        return None if parent is None else Run.get(self._experiment.workspace, parent)

    @property
    def status(self) -> str:
        """Where it is, in Azure ML's words."""
        return self.get_status()

    @property
    def tags(self) -> dict[str, str | None]:
        """Its tags."""
        return self.get_tags()

    @property
    def properties(self) -> dict[str, str]:
        """Its properties."""
        return self.get_properties()

    @property
    def input_datasets(self) -> Mapping[str, Any]:
        """What it reads and writes by name; inside the run, the paths on the node."""
        return {one.name: one for one in self._record().references}

    def get_status(self) -> str:
        """Where it is, in Azure ML's words."""
        return self._record().status.value

    def get_detailed_status(self) -> dict[str, str | None]:
        """Where it is, and the reason where one is known."""
        record = self._record()
        return {"status": record.status.value, "details": record.error}

    def get_tags(self) -> dict[str, str | None]:
        """Its tags."""
        return dict(self._record().tags)

    @override
    def get_properties(self) -> dict[str, str]:
        """Its properties."""
        return dict(self._record().properties)

    def get_details(self) -> dict[str, Any]:
        """Everything that is known of it; nothing secret."""
        return details_of(self._record())

    def get_details_with_logs(self) -> dict[str, Any]:
        """The same with what its logs say, at their ends where they are long."""
        record = self._record()
        texts = {name: log_text(path) for name, path in log_files(record)}
        return {**details_of(record), "logFiles": texts}

    def get_portal_url(self) -> str:
        """Where its files are, as an `azureml://` address: there is no portal to show it."""
        workspace = self._experiment.workspace
        return (
            f"azureml://subscriptions/{workspace.subscription_id}"
            f"/resourcegroups/{workspace.resource_group}/workspaces/{workspace.name}"
            f"/datastores/{workspace.get_default_datastore().name}"
            f"/paths/{folder_in_store(self.id)}/"
        )

    def input_versions(self, name: str) -> Iterator[FileVersion]:
        """Name, size and version of every file that an input gave the script, once it has ended.

        Not of Azure ML. A summary of them is in `get_details()["inputDatasets"]`. `Unsupported`
        where they are not known, as with mounts and databases.
        """
        from datastores.history.input_versions import input_versions

        return input_versions(self._experiment.workspace, self._record(), name)

    def get_metrics(
        self,
        name: str | None = None,
        recursive: bool = False,
        run_type: str | None = None,
        populate: bool = False,  # noqa: ARG002  # Azure ML's; values are always complete
    ) -> dict[str, Any]:
        """Metrics by name; with `recursive` those of each run below it too, by the run's id."""
        own = gather(self._history().metrics(self.id, name))
        if not recursive:
            return own
        children = self.get_children(recursive=True, type=run_type)
        return {self.id: own, **{child.id: child.get_metrics(name) for child in children}}

    # Its files.

    def get_file_names(self) -> builtins.list[str]:
        """The names of its files."""
        return [file.name for file in self._history().files(self.id)]

    def download_file(
        self,
        name: str,
        output_file_path: str | os.PathLike[str] | None = None,
        _validate_checksum: bool = False,
    ) -> None:
        """Bring a file to this path, into this folder, or here under its own name."""
        from datastores.history.files import fetch_files, find_file, single_target

        file = find_file(self._history().files(self.id), name, self.id)
        given = None if output_file_path is None else Path(output_file_path).expanduser()
        fetch_files(self._experiment.workspace, [file], {file.name: single_target(name, given)})

    def download_files(
        self,
        prefix: str | None = None,
        output_directory: str | os.PathLike[str] | None = None,
        output_paths: Sequence[str | os.PathLike[str]] | None = None,
        batch_size: int = 100,  # noqa: ARG002  # Azure ML's; transfers find their own pace
        append_prefix: bool = True,
        timeout_seconds: float | None = None,  # noqa: ARG002  # Azure ML's; stores have their own patience
    ) -> None:
        """Bring the files whose names begin with the prefix, below a folder or to paths in their
        order.
        """
        from datastores.history.files import fetch_files, targets_below

        beginning = prefix or ""
        files = [file for file in self._history().files(self.id) if file.name.startswith(beginning)]
        if output_paths is not None:
            if len(output_paths) != len(files):
                raise DefinitionRejected(
                    self.id, f"{len(output_paths)} paths for {len(files)} files; give one for each"
                )
            targets = {
                file.name: Path(path) for file, path in zip(files, output_paths, strict=True)
            }
        else:
            folder = Path(output_directory or ".").expanduser()
            targets = targets_below(files, beginning, folder, append_prefix=append_prefix)
        fetch_files(self._experiment.workspace, files, targets)

    # Runs below it.

    def child_run(
        self,
        name: str | None = None,
        run_id: str | None = None,
        outputs: str | os.PathLike[str] | None = None,
    ) -> Run:
        """A new run below this one, which ends when `complete` or `fail` says so."""
        record = self._child(name, run_id)
        self._put(Entry(record.run_id, child=record))
        return self._sibling(record.run_id, outputs)

    def submit_child(
        self, config: Any, tags: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> Run:
        """Start a run below this one and return at once; it goes on when this one ends.

        It takes what `Experiment.submit` takes.
        """
        return self._experiment.submit(config, tags, parent=self.id, **kwargs)

    def create_children(
        self,
        count: int | None = None,
        tag_key: str | None = None,
        tag_values: Sequence[Any] | None = None,
    ) -> builtins.list[Run]:
        """Several runs below this one: so many, or one for each value of a tag."""
        if (count is None) == (tag_values is None) or (tag_key is None) != (tag_values is None):
            raise DefinitionRejected(self.id, "give a count, or a tag_key with tag_values")
        values: Sequence[Any] = [None] * count if count is not None else tag_values or ()
        children = [self.child_run() for _ in values]
        if tag_key is not None:
            for child, value in zip(children, values, strict=True):
                child.tag(tag_key, value)
        return children

    def get_children(
        self,
        recursive: bool = False,
        tags: str | Mapping[str, Any] | None = None,
        properties: str | Mapping[str, Any] | None = None,
        type: str | None = None,  # noqa: A002  # Azure ML's word
        status: str | None = None,
        _rehydrate_runs: bool = True,
    ) -> Iterator[Run]:
        """Runs below this one, the newest first."""
        wanted = None if status is None else Status.parse(status)
        workspace = self._experiment.workspace
        below, seen = [self.id], {self.id}
        while below:
            for record in history_of(workspace).every(parent=below.pop()):
                if recursive and str(record.run_id) not in seen:
                    seen.add(str(record.run_id))
                    below.append(record.run_id)
                if _is_wanted(record, tags, properties, type, wanted):
                    yield run_of(workspace, record)

    # Its life.

    def wait_for_completion(
        self,
        show_output: bool = False,
        wait_post_processing: bool = False,  # noqa: ARG002  # Azure ML's; a run that is finalizing has not ended here
        raise_on_error: bool = True,
    ) -> dict[str, Any]:
        """Its details once it has ended; the output of its script meanwhile, if wanted.

        An interrupt ends the waiting and not the run. A failure is an error, unless it need not be;
        a run that nobody looks after any more is one in any case, since it would never end.
        """
        from datastores.history.following import follow
        from datastores.submission import look

        workspace, run_id = self._experiment.workspace, self.id
        last = follow(
            lambda: look(workspace, run_id),
            show_output=show_output,
            raise_on_error=raise_on_error,
        )
        return details_of(last)

    def cancel(self) -> None:
        """Ask for its end; one that has ended stays as it is."""
        record = self._record()
        if record.is_finished:
            log.info('run "%s" has ended already: %s', self.id, record.status)
        elif record.type == INTERACTIVE:
            self._end(Status.CANCELED)
        else:
            from datastores.submission import cancel

            cancel(self._experiment.workspace, self.id)

    def clean(self, *, dry_run: bool = False) -> builtins.list[str]:
        """Remove its working folder on this machine, once it has ended; the paths of its files.

        Logs stay, and so does everything in stores. With `dry_run` it is only said.
        """
        from datastores.history.cleaning import clean

        return clean(self._record(), dry_run=dry_run)

    def start(self) -> None:
        """Say that it has begun, where it is one that nobody looks after."""
        if self._record().type == INTERACTIVE:
            self._history().change(self.id, status=Status.RUNNING)

    @override
    def complete(self, _set_status: bool = True) -> None:
        """Say that it ended well; for a submitted run its agent says so."""
        if self._outputs is not None and (self._outputs != OUTPUTS or Path(OUTPUTS).is_dir()):
            self.upload_folder(OUTPUTS, self._outputs)
        if _set_status:
            self._end(Status.COMPLETED)

    @override
    def fail(
        self, error_details: Any = None, error_code: str | None = None, _set_status: bool = True
    ) -> None:
        """Say that it ended badly, and why; for a submitted run its agent decides whether it did."""
        text = error_text(error_details)
        told = f"{error_code}: {text}" if error_code and text else text or error_code
        self._end(Status.FAILED if _set_status else None, told)

    def _end(self, status: Status | None, error: str | None = None) -> None:
        def decide(record: RunRecord) -> RunRecord:
            if record.is_finished:
                return record
            is_ours = record.type == INTERACTIVE and status is not None
            return replace(
                record,
                status=status if is_ours and status is not None else record.status,
                error=error if error is not None else record.error,
            )

        self._history().update(self.id, decide)

    # Where things go.

    @override
    def _put(self, entry: Entry) -> None:
        self._history().absorb(entry)

    @override
    def _keep(
        self, files: Mapping[str, Path | IO[bytes]], datastore: str | None
    ) -> builtins.list[RunFile]:
        from datastores.history.files import send_files

        return send_files(self._experiment.workspace, self.id, files, datastore)

    @override
    def _record(self) -> RunRecord:
        return self._history().get(self.id)

    @override
    def _history(self) -> RunHistory:
        return history_of(self._experiment.workspace)

    def _child(self, name: str | None, run_id: str | None) -> RunRecord:
        now = datetime.now(UTC)
        return RunRecord(
            RunId.parse(run_id) if run_id else RunId.child_of(self.id),
            ExperimentName(self._experiment.name),
            Status.RUNNING,
            created=now,
            started=now,
            type=INTERACTIVE,
            display_name=name,
            parent=self._run_id,
        )

    @override
    def _expected_files(self) -> builtins.list[RunFile]:
        """With what is in the folder that is kept when it completes."""
        folder = None if self._outputs is None else Path(self._outputs)
        written = files_in(folder) if folder is not None and folder.is_dir() else []
        left = [RunFile(f"{OUTPUTS}/{name}", path.stat().st_size) for name, path in written]
        return [*super()._expected_files(), *left]

    def _sibling(self, run_id: str, outputs: str | os.PathLike[str] | None) -> Run:
        return Run(self._experiment, run_id, outputs)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Run):
            return NotImplemented
        return (self.id, self._experiment) == (other.id, other._experiment)

    def __hash__(self) -> int:
        return hash((self.id, self._experiment))

    def __repr__(self) -> str:
        return f"Run(Experiment: {self._experiment.name}, Id: {self.id})"

    def _repr_html_(self) -> str:
        record = self._record()
        row = (record.experiment, record.run_id, record.type, record.status.value, record.number)
        return table(("Experiment", "Id", "Type", "Status", "Number"), [row])


def _is_wanted(
    record: RunRecord,
    tags: str | Mapping[str, Any] | None,
    properties: str | Mapping[str, Any] | None,
    type: str | None,  # noqa: A002  # Azure ML's word
    status: Status | None,
) -> bool:
    labels: Iterable[tuple[Mapping[str, str | None], Mapping[str, str | None]]] = (
        (record.tags, wanted_labels(tags) or {}),
        (record.properties, wanted_labels(properties) or {}),
    )
    return (
        type in (None, record.type)
        and status in (None, record.status)
        and all(
            name in given and value in (None, given[name])
            for given, wanted in labels
            for name, value in wanted.items()
        )
    )


def history_of(workspace: Workspace) -> RunHistory:
    """The runs of a workspace."""
    from datastores.history.run_history import RunHistory

    return RunHistory(workspace.registry, workspace.name)


def run_of(workspace: Workspace, record: RunRecord) -> Run:
    """The object for a record."""
    from datastores.history.experiment import Experiment

    experiment = Experiment(workspace, record.experiment)
    maker = _makers.get(record.type)
    return Run(experiment, record.run_id) if maker is None else maker(experiment, record)
