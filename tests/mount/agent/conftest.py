"""A fresh bench for each test, and a container behind a gate."""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mount.agent.cloud import Cloud
from tests.mount.agent.gate import Gate
from tests.mount.agent.jobs import Bench
from tests.servers.azurite import Azurite


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Folders for a store, a source and a run; leases and the node's cache are among them."""
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setenv("DATASTORES_AGENT_STATE", str(runtime / "datastores-agent"))
    monkeypatch.setenv("DATASTORES_CACHE", str(tmp_path / "node_cache"))
    return Bench.make(tmp_path)


@pytest.fixture
def cloud(azurite: Azurite) -> Iterator[Cloud]:
    """A container of Azurite that tests can cut off."""
    address = urllib.parse.urlsplit(azurite.endpoint)
    assert address.hostname is not None
    assert address.port is not None
    with Gate((address.hostname, address.port)) as gate:
        yield Cloud.of(azurite, gate)
