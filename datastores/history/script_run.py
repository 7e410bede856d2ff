"""A run as its own script sees it: what is logged becomes lines of a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from typing_extensions import override

from datastores.errors import RunRefused
from datastores.history.entries import Changes, Entry
from datastores.history.events import EVENTS_VARIABLE, BadLine, decode
from datastores.history.events_file import EventsFile
from datastores.history.experiment import Experiment
from datastores.history.metrics import gather
from datastores.history.recorder import error_text, files_in
from datastores.history.records import RunFile
from datastores.history.run import Run
from datastores.history.status import Status

_REFERENCE = "AZUREML_DATAREFERENCE_"
_DATASETS = "AZUREML_DATASET_ENVIRONMENT_VARS"
_OUTPUTS = "AZUREML_DATASET_FILE_OUTPUTS"


def script_run(variables: Mapping[str, str] | None = None) -> ScriptRun | None:
    """The run that these variables, by default this process's own, tell of; None where there is
    none.
    """
    told = os.environ if variables is None else variables
    run_id, events = told.get("AZUREML_RUN_ID"), told.get(EVENTS_VARIABLE)
    if not run_id or not events:
        return None
    from datastores.catalog.workspace import Workspace

    # Opened by whoever asks it for something; logging does not.
    workspace = Workspace(
        told.get("AZUREML_ARM_SUBSCRIPTION", ""),
        told.get("AZUREML_ARM_RESOURCEGROUP", ""),
        told.get("AZUREML_ARM_WORKSPACE_NAME", "workspace"),
        registry=told.get("DATASTORES_REGISTRY"),
    )
    experiment = Experiment(workspace, told.get("AZUREML_ARM_PROJECT_NAME", "default"))
    return ScriptRun(experiment, run_id, EventsFile(Path(events)))


class ScriptRun(Run):
    """Logs to the run's events file, from any thread and process of the script.

    Nothing that logs opens the registry or reaches a network. Questions that the file cannot
    answer are put to the workspace.
    """

    def __init__(
        self,
        experiment: Experiment,
        run_id: str,
        events: EventsFile,
        above: ScriptRun | None = None,
    ) -> None:
        super().__init__(experiment, run_id)
        self._events, self._above = events, above

    @property
    @override
    def parent(self) -> Run | None:
        """The run it was started from."""
        return self._above or super().parent

    @property
    @override
    def input_datasets(self) -> dict[str, str]:
        """The paths of everything that the run was given, by name."""
        references = {
            name.removeprefix(_REFERENCE): path
            for name, path in os.environ.items()
            if name.startswith(_REFERENCE)
        }
        named = [one.partition(":")[0] for one in os.environ.get(_DATASETS, "").split(",") if one]
        return {**references, **{name: os.environ[name] for name in named if name in os.environ}}

    @property
    def output_datasets(self) -> dict[str, str]:
        """The paths of the outputs that are datasets, by name."""
        named = [one for one in os.environ.get(_OUTPUTS, "").split(";") if one]
        return {name: os.environ[name] for name in named if name in os.environ}

    @override
    def get_status(self) -> str:
        """It runs: it is asking."""
        return Status.RUNNING.value

    @override
    def get_metrics(
        self,
        name: str | None = None,
        recursive: bool = False,
        run_type: str | None = None,
        populate: bool = False,
    ) -> dict[str, Any]:
        """What was logged so far, by every process of the script."""
        metrics = [
            (entry.run_id, metric)
            for entry in self._told()
            for metric in entry.metrics
            if name is None or metric.name == name
        ]
        if not recursive:
            return gather(metric for run_id, metric in metrics if run_id == self.id)
        runs = dict.fromkeys([self.id, *(run_id for run_id, _ in metrics)])
        return {one: gather(metric for run_id, metric in metrics if run_id == one) for one in runs}

    @override
    def get_tags(self) -> dict[str, str | None]:
        """What it was submitted with, and what the script said since."""
        tags = {} if self._above else super().get_tags()
        for entry in self._told():
            if entry.run_id == self.id:
                tags = {key: tags[key] for key in tags if key not in entry.removed_tags}
                tags |= entry.tags
        return tags

    @override
    def get_properties(self) -> dict[str, str]:
        """What it was submitted with, and what the script said since."""
        properties = {} if self._above else super().get_properties()
        for entry in self._told():
            if entry.run_id == self.id:
                properties = {**entry.properties, **properties}
        return properties

    @override
    def _expected_files(self) -> list[RunFile]:
        """With what the script handed over, and what is in `outputs`: it is sent at the end."""
        told = [file for one in self._told() if one.run_id == self.id for file in one.files]
        outputs = Path("outputs")
        written = files_in(outputs) if outputs.is_dir() and self._above is None else []
        left = [RunFile(f"outputs/{name}", path.stat().st_size) for name, path in written]
        return [*super()._expected_files(), *told, *left] if self._above is None else told

    @override
    def cancel(self) -> None:
        """A child ends so; the run itself is ended from outside."""
        if self._above is None:
            raise RunRefused(
                self.id, "cannot be canceled by its own script; leave it with sys.exit()"
            )
        self._put(Entry(self.id, changes={"status": Status.CANCELED}))

    @override
    def start(self) -> None:
        """Nothing: it runs."""

    @override
    def complete(self, _set_status: bool = True) -> None:
        """A child ends so; that of the run itself is told by the script's exit code."""
        if self._above and _set_status:
            self._put(Entry(self.id, changes={"status": Status.COMPLETED}))

    @override
    def fail(
        self, error_details: Any = None, error_code: str | None = None, _set_status: bool = True
    ) -> None:
        """A child ends so; for the run itself the reason is noted, and its exit code decides."""
        text = error_text(error_details)
        told = f"{error_code}: {text}" if error_code and text else text or error_code
        changes: Changes = {}
        if told is not None:
            changes["error"] = told
        if self._above and _set_status:
            changes["status"] = Status.FAILED
        if changes:
            self._put(Entry(self.id, changes=changes))

    @override
    def _put(self, entry: Entry) -> None:
        self._events.append(entry)

    @override
    def _keep(self, files: Mapping[str, Path | IO[bytes]], datastore: str | None) -> list[RunFile]:
        kept = [self._events.keep(name, source, datastore) for name, source in files.items()]
        self._put(Entry(self.id, files=tuple(kept)))
        return kept

    @override
    def _sibling(self, run_id: str, outputs: str | os.PathLike[str] | None) -> ScriptRun:
        return ScriptRun(self._experiment, run_id, self._events, self)

    def _told(self) -> list[Entry]:
        entries = []
        for line in self._events.lines():
            try:
                entries.append(decode(line, self._experiment.name))
            except BadLine:
                # Named when it is taken in; here it is somebody else's torn line.
                continue
        return entries
