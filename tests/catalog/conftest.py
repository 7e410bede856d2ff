"""A user of one's own: an empty home, an empty folder to stand in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from datastores import Workspace


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's data folder; the current folder is a project beside it."""
    folder = tmp_path / "home"
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.setenv("DATASTORES_HOME", str(folder))
    for variable in ("DATASTORES_REGISTRY", "DATASTORES_WORKSPACE", "DATASTORES_VAULT_KEY_SOURCE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(project)
    return folder


@pytest.fixture
def workspace(home: Path) -> Iterator[Workspace]:
    """A fresh embedded workspace; the current folder belongs to it."""
    made = Workspace.create("demo", show_output=False)
    yield made
    made.close()
