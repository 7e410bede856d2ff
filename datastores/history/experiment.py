"""`Experiment`: a name that runs are filed under, and from which they are started."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from datastores.history.details import table, wanted_labels
from datastores.history.events import label_name
from datastores.history.records import (
    INTERACTIVE,
    ExperimentName,
    ExperimentRecord,
    RunId,
    RunRecord,
)
from datastores.history.status import Status

if TYPE_CHECKING:
    from datastores.catalog.workspace import Workspace
    from datastores.history.run import Run
    from datastores.history.run_history import RunHistory


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
        known = {record.name: record for record in self._history().experiments()}
        return dict(known[self._name].tags) if self._name in known else {}

    @staticmethod
    def list(
        workspace: Workspace,
        experiment_name: str | None = None,
        view_type: str = "ActiveOnly",  # noqa: ARG004  # Azure ML's; nothing is archived here
        tags: str | Mapping[str, Any] | None = None,
    ) -> list[Experiment]:
        """The experiments of a workspace, by name."""
        from datastores.history.run import history_of

        return [
            Experiment(workspace, record.name)
            for record in history_of(workspace).experiments()
            if experiment_name in (None, record.name) and _has(record, wanted_labels(tags) or {})
        ]

    def submit(self, config: Any, tags: Mapping[str, Any] | None = None, **kwargs: Any) -> Run:
        """Start a run and return at once; it goes on when this process ends."""
        from datastores.history.run import Run
        from datastores.submission import Pipeline, submit, submit_pipeline

        labels = {
            label_name(key): None if value is None else str(value)
            for key, value in (tags or {}).items()
        }
        start: Callable[..., str] = submit_pipeline if isinstance(config, Pipeline) else submit
        return Run(self, start(self._workspace, self.name, config, tags=labels, **kwargs))

    def start_logging(
        self,
        *args: Any,  # noqa: ARG002  # Azure ML's signature
        outputs: str | os.PathLike[str] | None = None,
        snapshot_directory: str | os.PathLike[str] | None = ".",  # noqa: ARG002  # Azure ML's; the source stays where it is
        display_name: str | None = None,
        **kwargs: Any,  # noqa: ARG002  # Azure ML's signature
    ) -> Run:
        """A run of this process: it has begun, and ends with `complete` or `fail`.

        `outputs` is a folder that is kept with the run when it completes.
        """
        from datastores.history.run import Run

        record = RunRecord(
            RunId.new(self._name),
            self._name,
            Status.RUNNING,
            created=datetime.now(UTC),
            type=INTERACTIVE,
            compute_target="local",
            submitted_by=_user(),
            display_name=display_name,
        )
        self._history().create(record)
        return Run(self, record.run_id, outputs)

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
