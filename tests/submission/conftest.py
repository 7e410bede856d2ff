"""A workspace of one's own with a container of Azurite, and a source folder to fill."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from datastores import Workspace
from tests.catalog.conftest import home, workspace
from tests.servers.azurite import Azurite
from tests.submission.bench import Bench

__all__ = ["home", "workspace"]


@pytest.fixture
def bench(
    workspace: Workspace, azurite: Azurite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bench]:
    """A workspace with the container "images"; leases and caches stay in the test's folder."""
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setenv("DATASTORES_AGENT_STATE", str(runtime / "datastores-agent"))
    monkeypatch.setenv("DATASTORES_CACHE", str(tmp_path / "cache"))
    made = Bench.make(workspace, azurite, tmp_path / "source")
    yield made
    made.end_all()
