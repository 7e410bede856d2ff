"""Which adapter a host gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from mount import adapters
from mount.adapters import ADAPTERS, VARIABLE, describe_refusals, find_adapter
from mount.errors import MountRefused
from mount.fuse.options import MountOptions
from tests.mount.memory_filesystem import MemoryFileSystem

SECONDS = 20


def test_the_direct_adapter_comes_first(tmp_path: Path) -> None:
    """A host that can do both mounts directly."""
    assert find_adapter(str(tmp_path), {}) is ADAPTERS["direct"]


@pytest.mark.parametrize("name", ["direct", "libfuse"])
def test_a_person_may_decide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The variable names the adapter that mounts, and the mount works."""
    monkeypatch.setenv(VARIABLE, name)
    filesystem = MemoryFileSystem()
    filesystem.add("f", b"x")

    mounted = adapters.mount(filesystem, str(tmp_path), options=MountOptions())
    mounted.start()
    try:
        assert (tmp_path / "f").read_bytes() == b"x"
        assert type(mounted).__module__ == ADAPTERS[name].mount.__module__
    finally:
        mounted.unmount(lazy=True)
        assert mounted.wait(SECONDS)


def test_an_unknown_name_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    """A slip in the variable is no silent default."""
    said = find_adapter(str(tmp_path), {VARIABLE: "fuse4"})

    assert said == f'{VARIABLE} is "fuse4"; set it to one of: direct, libfuse'


def test_a_place_that_nobody_can_mount_has_one_reason(tmp_path: Path) -> None:
    """What all adapters say is said once, also as the error of a mount."""
    place = str(tmp_path / "no")

    with pytest.raises(MountRefused) as refused:
        adapters.mount(MemoryFileSystem(), place, options=MountOptions())

    assert refused.value.reason == f'"{place}" is no folder; create it first'


def test_different_reasons_are_all_told() -> None:
    """Each adapter's own reason is named after it."""
    said = describe_refusals({"direct": "no device", "libfuse": "not installed"})

    assert said == "direct: no device; libfuse: not installed"
