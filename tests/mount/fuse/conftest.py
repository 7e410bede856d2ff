"""What only the direct adapter does; `tests/mount/adapters` has what every adapter must."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mount.fuse.device import why_not
from mount.fuse.mounted import mount
from tests.mount.adapters.mounting import (
    ROOT,
    Adapter,
    MakeMount,
    Mount,
    cleared,
    mounts_of,
    rescued,
)

__all__ = ["ROOT", "MakeMount", "Mount", "rescued"]


@pytest.fixture(name="make_mount")
def fixture_make_mount(tmp_path: Path) -> Iterator[MakeMount]:
    """Mounts file systems in memory."""
    with mounts_of(Adapter("direct", mount, why_not), tmp_path) as make:
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
