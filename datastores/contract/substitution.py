"""`$AZUREML_DATAREFERENCE_x` in texts, and as variables."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import PurePosixPath

from datastores.contract.job import JobSpec

VARIABLE_PREFIX = "AZUREML_DATAREFERENCE_"

_IDENTIFIER = re.compile(r"[A-Za-z0-9_]+\Z", re.ASCII)


def variables(spec: JobSpec, paths: Mapping[str, PurePosixPath]) -> dict[str, str]:
    """The environment of the script: the spec's own, its run, and a variable for each path."""
    found = {name: substitute(value, paths) for name, value in spec.environment.items()}
    found["AZUREML_RUN_ID"] = spec.run_id
    outputs = {output.name for output in spec.outputs}
    for name, path in paths.items():
        companion = "AZURE_ML_OUTPUT_" if name in outputs else "AZURE_ML_INPUT_"
        found[VARIABLE_PREFIX + name] = found[companion + name] = str(path)
    return found


def substitute(text: str, paths: Mapping[str, PurePosixPath]) -> str:
    """The text with `$AZUREML_DATAREFERENCE_x` and `${AZUREML_DATAREFERENCE_x}` replaced.

    The longest known name wins, a name ends where the word ends, unknown ones stay as they are.
    """
    if not paths:
        return text
    return _pattern(paths).sub(lambda match: str(paths[match[1] or match[2]]), text)


def substitute_in_shell(text: str, paths: Mapping[str, PurePosixPath]) -> str:
    """A text for the shell with only those names replaced that no shell variable can have."""
    if not paths:
        return text

    def replaced(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        return match[0] if _IDENTIFIER.match(name) else shlex.quote(str(paths[name]))

    return _pattern(paths).sub(replaced, text)


def _pattern(paths: Mapping[str, PurePosixPath]) -> re.Pattern[str]:
    names = "|".join(re.escape(name) for name in sorted(paths, key=len, reverse=True))
    return re.compile(rf"\$(?:\{{{VARIABLE_PREFIX}({names})\}}|{VARIABLE_PREFIX}({names})(?!\w))")
