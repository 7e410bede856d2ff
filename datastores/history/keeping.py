"""What is kept of a run beside its record: source, environment, logs, models."""

from __future__ import annotations

import abc
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datastores.errors import DefinitionRejected, RunRefused
from datastores.history.details import log_files
from datastores.history.recorder import Recorder
from datastores.history.records import RunFile, RunRecord

if TYPE_CHECKING:
    from datastores.history.experiment import Experiment
    from datastores.history.model import Model
    from datastores.history.run_history import RunHistory
    from datastores.history.snapshots import Snapshot
    from datastores.runs import Environment

# How the names of logs begin among a run's files.
_LOGS = ("logs/", "azureml-logs/", "user_logs/")


class Kept(Recorder):
    """A run by what is kept of it; where the records are is each kind's own affair."""

    @property
    @abc.abstractmethod
    def experiment(self) -> Experiment:
        """What it is filed under; `.workspace` is where."""

    @abc.abstractmethod
    def get_properties(self) -> dict[str, str]:
        """Its properties."""

    @abc.abstractmethod
    def _record(self) -> RunRecord:
        """What the registry knows of it at this moment."""

    @abc.abstractmethod
    def _history(self) -> RunHistory:
        """The runs of its workspace."""

    # Its source.

    def take_snapshot(self, file_or_folder_path: str | os.PathLike[str]) -> str:
        """Keep a file or folder of source with the run, and return the snapshot's id.

        A run has one snapshot at most. `.amlignore` or `.gitignore` say what is left out.
        """
        from datastores.history.snapshots import take

        known = self.get_snapshot_id()
        if known is not None:
            raise RunRefused(self.id, f'has the snapshot "{known}"; start another run for another')
        made = take(self.experiment.workspace, Path(file_or_folder_path).expanduser())
        self.add_properties(made.properties)
        return made.id

    def get_snapshot_id(self) -> str | None:
        """The id of the source that is kept with it; None where none is."""
        found = self._snapshot()
        return None if found is None else found.id

    def restore_snapshot(
        self, snapshot_id: str | None = None, path: str | os.PathLike[str] | None = None
    ) -> str:
        """Bring its source, or that of a snapshot, into a folder as a ZIP; the path of the ZIP.

        Without a folder it is that of temporary files.
        """
        from datastores.history.snapshots import find_snapshot, restore

        found = find_snapshot(self._history(), snapshot_id) if snapshot_id else self._snapshot()
        if found is None:
            raise RunRefused(
                self.id,
                "has no snapshot; one is kept by take_snapshot, or with a "
                "source_directory_data_store when a run is submitted",
            )
        folder = Path(path or tempfile.gettempdir()).expanduser()
        return str(restore(self.experiment.workspace, found, folder))

    # What it ran with, and what it left.

    def get_environment(self) -> Environment:
        """Packages, variables and image that its configuration asked for; secrets are masked."""
        from datastores.history.environments import environment_of

        return environment_of(self._record())

    def get_all_logs(self, destination: str | os.PathLike[str] | None = None) -> list[str]:
        """Bring its logs, whole, below a folder, by default `assets/<run id>`; the paths."""
        from datastores.history.files import fetch_files, targets_below

        folder = Path(destination or Path("assets", self.id)).expanduser()
        if folder.exists() and not folder.is_dir():
            raise DefinitionRejected(self.id, f'"{folder}" is not a folder; name another one')
        record = self._record()
        # Those on this machine are the newest.
        here = [RunFile(name, 0, path=str(path)) for name, path in log_files(record)]
        known = {file.name for file in here}
        stored = [
            file
            for file in self._history().files(self.id)
            if file.name.startswith(_LOGS) and file.name not in known
        ]
        targets = targets_below([*here, *stored], "", folder, append_prefix=True)
        fetch_files(self.experiment.workspace, [*here, *stored], targets)
        return [str(targets[name]) for name in sorted(targets)]

    def register_model(
        self,
        model_name: str,
        model_path: str | None = None,
        tags: Mapping[str, Any] | None = None,
        properties: Mapping[str, Any] | None = None,
        model_framework: str | None = None,
        model_framework_version: str | None = None,
        description: str | None = None,
        datasets: Sequence[Any] | None = None,  # noqa: ARG002  # Azure ML's; models here are files
        sample_input_dataset: Any = None,  # noqa: ARG002  # Azure ML's; nothing serves models here
        sample_output_dataset: Any = None,  # noqa: ARG002  # Azure ML's; nothing serves models here
        resource_configuration: Any = None,  # noqa: ARG002  # Azure ML's; nothing serves models here
        **kwargs: Any,  # noqa: ARG002  # Azure ML's signature
    ) -> Model:
        """The next version of a model: a file or folder among the run's files, which stays there.

        Without a path it is the one called like the model.
        """
        from datastores.history.model import register

        return register(
            self.experiment.workspace,
            self.id,
            self._expected_files(),
            model_name,
            model_path,
            tags=tags,
            properties=properties,
            framework=model_framework,
            framework_version=model_framework_version,
            description=description,
        )

    def _expected_files(self) -> list[RunFile]:
        """Its files, and those that will be."""
        return self._history().files(self.id)

    def _snapshot(self) -> Snapshot | None:
        from datastores.history.snapshots import snapshot_of

        return snapshot_of(replace(self._record(), properties=self.get_properties()))
