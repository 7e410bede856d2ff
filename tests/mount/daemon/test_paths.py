"""Paths that show a mount: bind mounts as root, symbolic links for everybody else."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mount.daemon import paths
from mount.errors import MountRefused
from mount.fuse import device
from mount.fuse.mounts import find_mount
from tests.mount.daemon.node import Node

NOBODY = 65534


@pytest.fixture
def shared(node: Node) -> Path:
    """A mountpoint that shows one file."""
    (node.store / "a.txt").write_text("alpha")
    node.start()
    share = node.daemon.attach(node.order("first"), is_owned=False)
    return node.home.mountpoint(share)


@pytest.fixture
def open_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in which nobody may write."""
    folder = tmp_path / "open"
    folder.mkdir()
    os.chown(folder, NOBODY, NOBODY)
    changed = [path for path in (tmp_path, *tmp_path.parents) if path.stat().st_mode & 0o001 == 0]
    modes = [path.stat().st_mode for path in changed]
    for path in changed:
        path.chmod(0o711)
    yield folder
    for path, mode in zip(changed, modes, strict=True):
        path.chmod(mode)


def as_nobody(work: Callable[[], None]) -> str:
    """What happened when a user without any right did this: "done", or the error."""
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        said = "done"
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            work()
        except BaseException as error:  # noqa: BLE001  # the child ends here, whatever happens
            said = f"{type(error).__name__}: {error}"
        os.write(theirs, said.encode())
        os._exit(0)
    os.close(theirs)
    os.waitpid(child, 0)
    with os.fdopen(ours) as pipe:
        return pipe.read()


def test_root_binds_and_twice_is_fine(node: Node, shared: Path) -> None:
    """The path shows the mount's files by a mount of its own, once, until it is unlinked."""
    at = node.path("two")

    paths.link(at, shared)
    paths.link(at, shared)
    text = (at / "a.txt").read_text()
    paths.unlink(at, shared)
    paths.unlink(at, shared)

    assert (text, find_mount(str(at)), list(at.iterdir())) == ("alpha", None, [])


def test_a_path_is_freed_while_its_files_are_open(node: Node, shared: Path) -> None:
    """Whoever has a file open keeps it when the path goes."""
    at = node.path("two")
    paths.link(at, shared)

    with (at / "a.txt").open() as file:
        paths.unlink(at, shared)
        assert (file.read(), find_mount(str(at))) == ("alpha", None)


def test_another_mount_is_not_covered(node: Node, shared: Path) -> None:
    """What somebody else mounted there stays as it is."""
    (node.store / "sub").mkdir()
    at = node.path("two")
    node.daemon.attach(node.order("two", place="sub"), is_owned=False)

    with pytest.raises(MountRefused, match="something else is mounted there"):
        paths.link(at, shared)

    assert list(at.iterdir()) == []


def test_others_point(open_folder: Path, tmp_path: Path) -> None:
    """Without the right to mount, the path is a link: made once, and removed only if it is ours."""
    at, target = open_folder / "deep" / "at", tmp_path / "target"
    other = open_folder / "other"

    made = [as_nobody(lambda: paths.link(at, target)) for _ in range(2)]
    points = at.readlink()
    other.symlink_to("/elsewhere")
    kept = as_nobody(lambda: paths.unlink(other, target))
    gone = as_nobody(lambda: paths.unlink(at, target))

    assert (made, points) == (["done", "done"], target)
    assert (kept, other.readlink()) == ("done", Path("/elsewhere"))
    assert (gone, at.is_symlink()) == ("done", False)


def test_others_take_the_place_of_an_empty_folder_only(open_folder: Path, tmp_path: Path) -> None:
    """An empty folder gives way to the link; one with files is refused and kept."""
    empty, full = open_folder / "empty", open_folder / "full"
    for folder in (empty, full):
        folder.mkdir()
    (full / "mine").write_text("mine")

    first = as_nobody(lambda: paths.link(empty, tmp_path))
    second = as_nobody(lambda: paths.link(full, tmp_path))

    assert (first, empty.is_symlink()) == ("done", True)
    assert second.startswith("MountRefused")
    assert (full / "mine").read_text() == "mine"


def test_these_tests_are_run_by_root() -> None:
    """Bind mounts can be tested at all."""
    assert device.may_mount()
