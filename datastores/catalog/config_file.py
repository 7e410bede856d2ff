"""The small JSON file that says which workspace a folder belongs to."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datastores.errors import ConfigRejected
from datastores.value import Value

# Azure ML's order, outermost loop first: a parent's `.azureml/config.json` beats `./config.json`.
SUBFOLDERS = (".azureml", "aml_config", "")
FILE_NAMES = ("config.json", "project.json")

_SCOPE = re.compile(
    r"/subscriptions/(?P<subscription_id>[^/]+)/resourceGroups/(?P<resource_group>[^/]+)"
    r"/providers/Microsoft\.MachineLearningServices/workspaces/(?P<workspace_name>[^/]+)/?\Z",
    re.IGNORECASE,
)


class WorkspaceConfig(Value):
    """Which workspace, and where its registry is when that is not this machine's own folder."""

    workspace_name: str
    subscription_id: str
    resource_group: str
    registry: str | None = None


def candidates(folder: Path, file_name: str | None = None) -> Iterator[Path]:
    """Where a configuration may lie, seen from a folder, best place first."""
    names = (file_name,) if file_name else FILE_NAMES
    for subfolder in SUBFOLDERS:
        for name in names:
            for level in (folder, *folder.parents):
                yield level / subfolder / name


def find(path: str | Path | None = None, file_name: str | None = None) -> Path:
    """The configuration at a path: the file itself, or the best one seen from the folder."""
    start = Path(path or ".").expanduser().absolute()
    if start.is_file():
        return start
    for candidate in candidates(start, file_name):
        if candidate.is_file():
            return candidate
    raise ConfigRejected(
        str(start),
        "no .azureml/config.json here or in a folder above; "
        'make a workspace with `datastores ws create NAME` or `Workspace.create("NAME")`',
    )


def load(path: Path) -> WorkspaceConfig:
    """The workspace a file names; a relative registry is meant from the file's folder."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ConfigRejected(
            str(path),
            f"line {error.lineno}, column {error.colno}: {error.msg}; correct or delete it",
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigRejected(
            str(path), f"cannot be read ({error}); correct or delete it"
        ) from error
    config = parse(raw, str(path))
    if config.registry and "://" not in config.registry:
        registry = str((path.parent / config.registry).resolve())
        return WorkspaceConfig(
            config.workspace_name, config.subscription_id, config.resource_group, registry
        )
    return config


def parse(raw: Any, path: str) -> WorkspaceConfig:
    """Either JSON form: three keys, or a `Scope`, which wins."""
    if not isinstance(raw, dict):
        raise ConfigRejected(path, "it is not a JSON object; correct or delete it")
    fields = {key.lower(): value for key, value in raw.items()}
    if fields.get("scope"):
        match = _SCOPE.match(str(fields["scope"]))
        if not match:
            raise ConfigRejected(path, '"Scope" does not name a workspace; correct or delete it')
        fields |= match.groupdict()
    wanted = ("workspace_name", "subscription_id", "resource_group")
    missing = [name for name in wanted if not fields.get(name)]
    if missing:
        raise ConfigRejected(path, f'"{missing[0]}" is missing; correct or delete it')
    name, subscription_id, resource_group = (str(fields[name]) for name in wanted)
    return WorkspaceConfig(name, subscription_id, resource_group, fields.get("registry") or None)


def save(config: WorkspaceConfig, folder: Path, file_name: str | None = None) -> Path:
    """Write the `Scope` form to `.azureml` (or an existing `aml_config`) below a folder."""
    subfolder = folder / ("aml_config" if (folder / "aml_config").is_dir() else ".azureml")
    scope = (
        f"/subscriptions/{config.subscription_id}/resourceGroups/{config.resource_group}"
        f"/providers/Microsoft.MachineLearningServices/workspaces/{config.workspace_name}"
    )
    fields = {"Id": None, "Scope": scope}
    if config.registry:
        fields["Registry"] = config.registry
    path = subfolder / (file_name or "config.json")
    try:
        subfolder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigRejected(
            str(path), f"cannot be written ({error}); choose another path"
        ) from error
    return path
