"""Where run configurations lie, and their text: YAML, or JSON where the name says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from datastores.errors import ConfigRejected
from datastores.runs.conda import CondaDependencies
from datastores.runs.yaml_text import dump_yaml, load_yaml

# A configuration with this name needs no ending to be found.
SUFFIX = ".runconfig"
SUBFOLDERS = (".azureml", "aml_config")
CONDA_FILE = "conda_dependencies.yml"


def find(path: Path, name: str | None) -> Path:
    """The file itself, or the configuration of this name in a project's folder."""
    if path.is_file():
        return path
    if not name:
        raise ConfigRejected(str(path), f"it is no file; name a file, or one of {_known(path)}")
    choices = [path / folder / f"{name}{end}" for end in ("", SUFFIX) for folder in SUBFOLDERS]
    for candidate in (*choices, path / f"{name}{SUFFIX}"):
        if candidate.is_file():
            return candidate
    raise ConfigRejected(
        str(path), f'no run configuration "{name}" in .azureml here; there is {_known(path)}'
    )


def place(path: Path, name: str | None) -> Path:
    """Where a configuration is written: the file, or `.azureml/<name>` of a project's folder."""
    if name is None:
        if path.is_dir():
            raise ConfigRejected(str(path), "it is a folder; give the configuration a name")
        return path
    subfolder = "aml_config" if (path / "aml_config").is_dir() else ".azureml"
    return path / subfolder / name


def read(file: Path) -> Any:
    """The values of a file."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigRejected(str(file), f"cannot be read ({error}); correct the path") from error
    if not text.lstrip().startswith("{"):
        return load_yaml(text, str(file))
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigRejected(
            str(file), f"line {error.lineno}, column {error.colno}: {error.msg}; correct it"
        ) from error


def write(file: Path, values: Any) -> None:
    """Write a file whole, with the folder it is in."""
    is_json = file.suffix == ".json"
    text = json.dumps(values, indent=4, ensure_ascii=False) + "\n" if is_json else dump_yaml(values)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigRejected(
            str(file), f"cannot be written ({error}); choose another path"
        ) from error


def project_folder(file: Path) -> Path:
    """What paths inside a configuration are relative to."""
    return file.parent.parent if file.parent.name in SUBFOLDERS else file.parent


def read_conda(file: Path) -> CondaDependencies:
    """The packages a conda file lists."""
    values = read(file)
    listed = values.get("dependencies") if isinstance(values, dict) else ""
    if not isinstance(listed, list | None):
        raise ConfigRejected(str(file), 'it has no list "dependencies"; correct it')
    return CondaDependencies({**values, "dependencies": listed or []})


def _known(path: Path) -> str:
    found = sorted(
        str(file.relative_to(path))
        for folder in (*SUBFOLDERS, "")
        for file in (path / folder).glob(f"*{SUFFIX}")
    )
    return ", ".join(f'"{name}"' for name in found) or "none; write one with save()"
