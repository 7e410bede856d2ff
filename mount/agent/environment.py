"""What the script is told: its command line and its variables."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import PurePosixPath

from datastores.contract import Command, JobSpec, Script, substitute, substitute_in_shell, variables
from datastores.contract.substitution import VARIABLE_PREFIX
from mount.errors import SpecRejected

# What a run configuration says where nobody chose an interpreter.
_ANY_PYTHON = "python"


def command_line(spec: JobSpec, paths: Mapping[str, PurePosixPath]) -> list[str]:
    """The program and its arguments, references replaced by paths."""
    match spec.work:
        case Script(path=path, arguments=arguments, interpreter=interpreter):
            python = sys.executable if interpreter == _ANY_PYTHON else interpreter
            return [python, path, *(substitute(one, paths) for one in arguments)]
        case Command(shell=str(text)):
            return ["/bin/sh", "-c", substitute_in_shell(text, paths)]
        case Command(arguments=arguments) if arguments:
            return [substitute(one, paths) for one in arguments]
    raise SpecRejected("the job spec has an empty command; name a program or a script")


def environment(
    spec: JobSpec, paths: Mapping[str, PurePosixPath], inherited: Mapping[str, str]
) -> dict[str, str]:
    """The variables of the script: the agent's own, the documented ones, then the spec's."""
    documented = {
        # The name of the experiment, under the name that the SDK reads.
        "AZUREML_ARM_PROJECT_NAME": spec.experiment,
        "AZUREML_OUTPUT_DIRECTORY": "./outputs",
        # Output is shown while the script runs, also when it does not fill a buffer.
        "PYTHONUNBUFFERED": "1",
    }
    return {**inherited, **documented, **variables(spec, paths)}


def refuse_unnameable(spec: JobSpec) -> None:
    """`SpecRejected` for names that no variable can have."""
    names = [VARIABLE_PREFIX + one.name for one in spec.references]
    for name in (*names, *spec.environment):
        if not name or "=" in name or "\0" in name:
            raise SpecRejected(
                f'no variable can be called "{name}"; rename it without "=" and NUL characters'
            )
    for name, value in spec.environment.items():
        if "\0" in value:
            raise SpecRejected(f'the value of "{name}" holds a NUL character; remove it')
