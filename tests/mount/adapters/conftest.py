"""Each test here runs once with every adapter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mount.fuse import device
from mount.fuse import mounted as direct
from mount.libfuse import mounted as libfuse
from tests.mount.adapters.mounting import Adapter, MakeMount, Mount, cleared, mounts_of

ADAPTERS = (
    Adapter("direct", direct.mount, device.why_not),
    # fuse-python passes whole seconds.
    Adapter("libfuse", libfuse.mount, libfuse.why_not, step_ns=1_000_000_000),
)


@pytest.fixture(name="adapter", params=ADAPTERS, ids=lambda adapter: adapter.name)
def fixture_adapter(request: pytest.FixtureRequest) -> Adapter:
    """The adapter under test."""
    adapter: Adapter = request.param
    return adapter


@pytest.fixture(name="make_mount")
def fixture_make_mount(adapter: Adapter, tmp_path: Path) -> Iterator[MakeMount]:
    """Mounts file systems in memory."""
    with mounts_of(adapter, tmp_path) as make:
        yield make


@pytest.fixture(name="memory")
def fixture_memory(make_mount: MakeMount) -> Mount:
    """A mounted file system in memory."""
    return make_mount()


@pytest.fixture(name="place")
def fixture_place(tmp_path: Path) -> Iterator[Path]:
    """A folder for a mount that another process makes; unmounted at the end."""
    with cleared(tmp_path / "place") as place:
        yield place
