"""`Experiment`: a name that runs are filed under, and from which they are started."""

from __future__ import annotations

import builtins
import getpass
import logging
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datastores.errors import DatastoresError, DefinitionRejected
from datastores.history.details import table, wanted_labels
from datastores.history.events import label_name
from datastores.history.records import (
    INTERACTIVE,
    ExperimentName,
    ExperimentRecord,
    ExperimentRemoval,
    RunId,
    RunRecord,
)
from datastores.history.status import Status

if TYPE_CHECKING:
    from datastores.catalog.workspace import Workspace
    from datastores.history.run import Run
    from datastores.history.run_history import RunHistory


log = logging.getLogger(__name__)


class ViewType:
    """Which experiments a listing has, in Azure ML's words."""

    ActiveOnly = "ActiveOnly"
    All = "All"
    ArchivedOnly = "ArchivedOnly"


class Experiment:
    """Runs of one purpose. The registry learns its name with the first run or tag."""

    def __init__(
        self,
        workspace: Workspace,
        name: str,
        _skip_name_validation: bool = False,
        _id: str | None = None,
        _archived_time: datetime | None = None,
        _create_in_cloud: bool = True,
        _experiment_dto: object = None,
        **kwargs: Any,  # noqa: ARG002  # Azure ML's signature
    ) -> None:
        self._workspace, self._name = workspace, ExperimentName.parse(name)

    @property
    def workspace(self) -> Workspace:
        """Where it is."""
        return self._workspace

    @property
    def name(self) -> str:
        """What it is called."""
        return str(self._name)

    @property
    def id(self) -> str:
        """What it is called: in a workspace there is one experiment of a name."""
        return str(self._name)

    @property
    def tags(self) -> dict[str, str]:
        """Its tags."""
        known = self._known()
        return dict(known.tags) if known else {}

    @property
    def archived_time(self) -> datetime | None:
        """Since when it is archived; None while it is active."""
        known = self._known()
        return known.archived if known else None

    @property
    def workspace_object(self) -> Workspace:
        """Azure ML's older word for `workspace`."""
        log.warning("workspace_object is Azure ML's older word; use workspace")
        return self._workspace

    @classmethod
    def get_docs_url(cls) -> str:
        """The page of the class in Azure ML's reference, whose names these are."""
        return "https://learn.microsoft.com/python/api/azureml-core/azureml.core.experiment(class)"

    def get_portal_url(self) -> str:
        """An `azureml://` address that names it: there is no portal to show it."""
        workspace = self._workspace
        return (
            f"azureml://subscriptions/{workspace.subscription_id}"
            f"/resourcegroups/{workspace.resource_group}/workspaces/{workspace.name}"
            f"/experiments/{self.name}"
        )

    @staticmethod
    def from_directory(path: str | os.PathLike[str], auth: object = None) -> Experiment:  # noqa: ARG004  # Azure ML's; workspaces here need no login
        """The experiment of a folder: in the folder's workspace, under the folder's name."""
        from datastores.catalog.workspace import Workspace

        folder = Path(path).expanduser().absolute()
        return Experiment(Workspace.from_config(folder), folder.name)

    @staticmethod
    def list(
        workspace: Workspace,
        experiment_name: str | None = None,
        view_type: str = ViewType.ActiveOnly,
        tags: str | Mapping[str, Any] | None = None,
    ) -> builtins.list[Experiment]:
        """The experiments of a workspace, by name; archived ones only where they are asked for."""
        from datastores.history.run import history_of

        states = _wanted_states(view_type)
        return [
            Experiment(workspace, record.name)
            for record in history_of(workspace).experiments()
            if experiment_name in (None, record.name)
            and (record.archived is not None) in states
            and _has(record, wanted_labels(tags) or {})
        ]

    @staticmethod
    def delete(
        workspace: Workspace, experiment_id: str, *, dry_run: bool = False
    ) -> ExperimentRemoval:
        """Forget an experiment with its runs and all they logged, and say what stays where.

        Files of its runs stay in their datastores and folders. With `dry_run` it is only said.
        `RunRefused` while one of its runs has not ended.
        """
        from datastores.history.run import history_of

        history = history_of(workspace)
        if dry_run:
            return history.plan_removal(experiment_id)
        return history.remove_experiment(experiment_id)

    def archive(self) -> None:
        """Put it away: listings leave it out until it is reactivated, or has another run.

        Its runs stay, and are found as before.
        """
        self._history().archive_experiment(self._name)

    def reactivate(self, new_name: str | None = None) -> None:
        """Take it back; a new name is refused, as in Azure ML."""
        if new_name is not None:
            raise DefinitionRejected(
                self.name, "it cannot be renamed; start runs under the new name instead"
            )
        self._history().archive_experiment(self._name, archived=False)

    def submit(self, config: Any, tags: Mapping[str, Any] | None = None, **kwargs: Any) -> Run:
        """Start a run and return at once; it goes on when this process ends."""
        from datastores.history.run import Run
        from datastores.submission import Pipeline, submit, submit_pipeline

        labels = {
            label_name(key): None if value is None else str(value)
            for key, value in (tags or {}).items()
        }
        start: Callable[..., str] = submit_pipeline if isinstance(config, Pipeline) else submit
        run_id = start(self._workspace, self.name, config, tags=labels, **kwargs)
        return Run(self, run_id)

    def start_logging(
        self,
        name: str | None = None,
        run_id: str | None = None,
        outputs: str | os.PathLike[str] | bool | None = None,
        snapshot_directory: str | os.PathLike[str] | None = ".",
        *,
        display_name: str | None = None,
        **kwargs: Any,  # noqa: ARG002  # Azure ML's signature
    ) -> Run:
        """A run of this process: it has begun, and ends with `complete` or `fail`.

        `outputs` is a folder that is kept with the run when it completes; by default `outputs`
        where there is one, and False for none. A snapshot of the source folder is taken first, in
        the default datastore; `snapshot_directory=None` takes none. Where nobody named a folder and
        this one cannot be kept, a warning says why, and the run begins without.
        """
        from datastores.history.run import OUTPUTS, Run

        chosen = RunId.parse(run_id) if run_id else RunId.new(self._name)
        source = self._snapshot(snapshot_directory) if snapshot_directory else {}
        record = RunRecord(
            chosen,
            self._name,
            Status.RUNNING,
            created=datetime.now(UTC),
            type=INTERACTIVE,
            compute_target="local",
            submitted_by=_user(),
            display_name=display_name or name,
            properties=source,
        )
        self._history().create(record)
        if isinstance(outputs, bool) or outputs is None:
            outputs = None if outputs is False else OUTPUTS
        return Run(self, record.run_id, outputs)

    def _snapshot(self, folder: str | os.PathLike[str]) -> dict[str, str]:
        from datastores.history.snapshots import take

        try:
            return take(self._workspace, Path(folder).expanduser()).properties
        except DatastoresError as error:
            # A notebook in a home folder is no reason not to log.
            if folder != ".":
                raise
            log.warning("the run begins without a snapshot of its source: %s", error)
            return {}

    def get_runs(
        self,
        type: str | None = None,  # noqa: A002  # Azure ML's word
        tags: str | Mapping[str, Any] | None = None,
        properties: str | Mapping[str, Any] | None = None,
        include_children: bool = False,
    ) -> Iterator[Run]:
        """Its runs, the newest first; fetched page by page as they are asked for."""
        from datastores.history.run import Run

        return Run.list(self, type, tags, properties, include_children=include_children)

    def tag(self, key: str, value: Any = None) -> None:
        """Put a tag."""
        self.set_tags({key: value})

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Put tags; others stay."""
        labels = {
            label_name(name): "" if value is None else str(value) for name, value in tags.items()
        }
        self._history().make_experiment(self._name)
        self._history().tag_experiment(self._name, labels)

    def remove_tags(self, tags: Sequence[str]) -> None:
        """Take tags away."""
        names = [tags] if isinstance(tags, str) else tags
        self._history().make_experiment(self._name)
        self._history().tag_experiment(self._name, {}, remove=names)

    def refresh(self) -> None:
        """Nothing: what it says is read anew each time."""

    def _known(self) -> ExperimentRecord | None:
        found = [one for one in self._history().experiments() if one.name == self._name]
        return found[0] if found else None

    def _history(self) -> RunHistory:
        from datastores.history.run import history_of

        return history_of(self._workspace)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Experiment):
            return NotImplemented
        return (self._workspace, self._name) == (other._workspace, other._name)

    def __hash__(self) -> int:
        return hash((self._workspace, self._name))

    def __repr__(self) -> str:
        return f"Experiment(Name: {self._name}, Workspace: {self._workspace.name})"

    def _repr_html_(self) -> str:
        return table(("Name", "Workspace"), [(self._name, self._workspace.name)])


def _wanted_states(view_type: str) -> Collection[bool]:
    """Which answers to "is it archived?" a view shows."""
    states = {
        ViewType.ActiveOnly: (False,),
        ViewType.ArchivedOnly: (True,),
        ViewType.All: (False, True),
    }
    if view_type not in states:
        raise DefinitionRejected(
            "view_type", f'"{view_type}" is none; use {", ".join(sorted(states))}'
        )
    return states[view_type]


def _has(record: ExperimentRecord, tags: Mapping[str, str | None]) -> bool:
    return all(
        name in record.tags and value in (None, record.tags[name]) for name, value in tags.items()
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # Containers run as numbers that have no name.
        return str(os.getuid())
