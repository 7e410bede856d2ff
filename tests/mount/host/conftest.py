"""Benches that leave no process and no mount behind."""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mount.agent.cloud import Cloud
from tests.mount.agent.gate import Gate
from tests.mount.host.bench import Bench
from tests.servers.azurite import Azurite


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A bench with a local store."""
    made = Bench.make(tmp_path)
    yield made
    made.end()


@pytest.fixture
def cloud(azurite: Azurite) -> Iterator[Cloud]:
    """A container with a lease, behind a gate that tests close."""
    address = urllib.parse.urlsplit(azurite.endpoint)
    assert address.hostname is not None
    assert address.port is not None
    with Gate((address.hostname, address.port)) as gate:
        yield Cloud.of(azurite, gate)


@pytest.fixture
def cloud_bench(bench: Bench, cloud: Cloud) -> Bench:
    """The bench with that container as its store."""
    bench.definition, bench.lease = cloud.definition, cloud.lease
    return bench
