"""`ScriptRunConfig`: a source folder, what to start in it, and a run configuration."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import Any

from datastores.errors import DefinitionRejected
from datastores.references import DataPath, DataReference
from datastores.runs.distribution import distribute
from datastores.runs.environment import Environment
from datastores.runs.run_configuration import RunConfiguration
from datastores.runs.sections import clone
from datastores.runs.settings import DockerConfiguration

log = logging.getLogger(__name__)

THIRTY_DAYS_SECONDS = 2_592_000
RESUME_NAME = "MODEL_LOCATION"


class ScriptRunConfig:
    """A run to submit; what is given here wins over `run_config`, which is not changed."""

    def __init__(
        self,
        source_directory: str | os.PathLike[str],
        script: str | None = None,
        arguments: Sequence[Any] | None = None,
        run_config: RunConfiguration | None = None,
        _telemetry_values: object = None,
        compute_target: Any = None,
        environment: Environment | None = None,
        distributed_job_config: Any = None,
        resume_from: DataPath | None = None,
        max_run_duration_seconds: int | None = THIRTY_DAYS_SECONDS,
        command: str | Sequence[Any] | None = None,
        docker_runtime_config: DockerConfiguration | None = None,
    ) -> None:
        if script and command:
            raise DefinitionRejected("ScriptRunConfig", "give a script or a command, not both")
        self.source_directory = os.fspath(source_directory)
        made: RunConfiguration = clone(run_config) if run_config else RunConfiguration()
        settings = {
            "target": compute_target,
            "environment": environment,
            "docker": docker_runtime_config,
        }
        if run_config is None:
            made.max_run_duration_seconds = max_run_duration_seconds
            for name, value in settings.items():
                if value is not None:
                    setattr(made, name, value)
            if distributed_job_config is not None:
                distribute(made, distributed_job_config)
        elif distributed_job_config is not None or any(v is not None for v in settings.values()):
            log.warning("run_config is given, so the other settings are ignored; change run_config")
        _start(made, script, arguments, command)
        if resume_from is not None:
            resume(made, resume_from)
        self.run_config = made

    @property
    def script(self) -> str | None:
        """The entry script."""
        return self.run_config.script

    @property
    def arguments(self) -> list[Any]:
        """What the script is given."""
        return self.run_config.arguments

    @property
    def command(self) -> str | list[str]:
        """What is started in place of a script."""
        return self.run_config.command

    def configured(self) -> RunConfiguration:
        """The configuration as it is submitted: references in arguments are entries."""
        return self.run_config.with_references()


def resume(configuration: RunConfiguration, place: DataPath) -> None:
    """Mount the place as `MODEL_LOCATION`, and tell the script with `--resume-from`."""
    if not isinstance(place, DataPath):
        raise DefinitionRejected(
            "resume_from", f"it is a {type(place).__name__}; give a DataPath of the model's folder"
        )
    reference = DataReference(place.datastore, RESUME_NAME, place.path_on_datastore)
    configuration.arguments = [*configuration.arguments, "--resume-from", reference]


def _start(
    made: RunConfiguration,
    script: str | None,
    arguments: Sequence[Any] | None,
    command: str | Sequence[Any] | None,
) -> None:
    if script:
        made.script, made.command = script, ""
    if command:
        made.command = command if isinstance(command, str) else list(command)
        made.script = None
    if arguments is not None:
        made.arguments = list(arguments)
