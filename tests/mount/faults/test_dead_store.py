"""A store that is away when files are closed: the caller hears of it, and no byte is lost."""

from __future__ import annotations

import errno
import os
from dataclasses import replace

import pytest

from datastores.storage.contract import Patience
from mount.fs.recovery import Outcome
from tests.mount.faults.conftest import (
    MIB,
    QUICK,
    MakeScene,
    Scene,
    body_of,
    opened,
    read_all,
    within,
    write_all,
)
from tests.servers.fault_proxy import Kind, Says, Stall

SMALL = body_of(300_000)
LARGE = body_of(24 * MIB)
OTHER = body_of(24 * MIB, seed=2)
HASTY = Patience(connect_seconds=2.0, read_seconds=3.0, attempts=3, total_seconds=8.0)
WRITES = (Kind.PUT_BLOB, Kind.PUT_BLOCK, Kind.PUT_BLOCK_LIST)


def hasty(make_scene: MakeScene, **view: object) -> Scene:
    return make_scene(HASTY, stop_seconds=5.0, **view)


def kill_writes(scene: Scene) -> None:
    for kind in WRITES:
        scene.proxy.on(kind, Says(500, "InternalError"))


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
def test_close_fails_and_the_next_close_stores(make_scene: MakeScene, body: bytes) -> None:
    """A failed close is EIO, the file is read as it was written, and a later close stores it."""
    scene = hasty(make_scene)
    kill_writes(scene)

    with within(), pytest.raises(OSError) as refused:
        save(scene, "x", body)
    shown = read_all(scene.at / "x")
    scene.proxy.heal()
    with opened(scene.at / "x", os.O_WRONLY | os.O_APPEND) as fd:
        os.write(fd, b"more")

    assert refused.value.errno == errno.EIO
    assert shown == body
    assert scene.stored("x") == body + b"more"


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
def test_fsync_fails_and_the_next_fsync_stores(make_scene: MakeScene, body: bytes) -> None:
    """A failed fsync is EIO on an open file, and the same descriptor's next fsync stores it."""
    scene = hasty(make_scene)
    kill_writes(scene)

    with opened(scene.at / "x", os.O_WRONLY | os.O_CREAT) as fd:
        write_all(fd, body)
        with within(), pytest.raises(OSError) as refused:
            os.fsync(fd)
        scene.proxy.heal()
        os.fsync(fd)
        stored = scene.stored("x")

    assert (refused.value.errno, stored == body) == (errno.EIO, True)


@pytest.mark.parametrize("seconds", [40.0, 240.0])
def test_a_silent_store_at_close_is_an_error_in_time(make_scene: MakeScene, seconds: float) -> None:
    """Close of a file whose store falls silent for good returns an error within patience."""
    scene = make_scene(replace(QUICK, attempts=2))
    for kind in WRITES:
        scene.proxy.on(kind, Stall(seconds))

    with within(), pytest.raises(OSError, match="Input/output"):
        save(scene, "x", SMALL)
    # The end of a mount whose store is silent is shown elsewhere.
    scene.proxy.heal()
    scene.unmount()
    assert scene.stored("x") == SMALL


# Blocks that were sent leave the disk while the file grows.
STREAMED = {"block_bytes": MIB, "spool_bytes": 2 * MIB}


@pytest.mark.parametrize(
    ("body", "view", "seconds"),
    [
        (SMALL, {}, 0.0),
        (LARGE, {}, 0.0),
        (LARGE, STREAMED, 0.0),
        # Some blocks are still on their way when the file is closed.
        (LARGE, STREAMED, 0.3),
    ],
    ids=["small", "large", "streamed", "streamed slowly"],
)
def test_bytes_of_a_dead_store_are_recovered(
    make_scene: MakeScene, body: bytes, view: dict[str, object], seconds: float
) -> None:
    """What could not be stored until the unmount is stored by recovery, byte for byte."""
    scene = hasty(make_scene, **view)
    scene.proxy.on(Kind.PUT_BLOCK, Stall(seconds))
    scene.proxy.on(Kind.PUT_BLOB, Says(500))
    scene.proxy.on(Kind.PUT_BLOCK_LIST, Says(500))

    with within(), pytest.raises(OSError, match="Input/output"):
        save(scene, "x", body)
    with within():
        scene.unmount()
    scene.proxy.heal()

    assert scene.recovered() == [("x", Outcome.STORED)]
    assert scene.stored("x") == body
    assert list(scene.spool.folder.iterdir()) == []


def test_an_update_of_a_dead_store_is_recovered(make_scene: MakeScene) -> None:
    """A change in the middle of a large file is recovered together with what was not changed."""
    scene = hasty(make_scene)
    scene.put("x", LARGE)
    kill_writes(scene)

    with (
        within(),
        pytest.raises(OSError, match="Input/output"),
        opened(scene.at / "x", os.O_WRONLY) as fd,
    ):
        os.pwrite(fd, b"changed", MIB)
    with within():
        scene.unmount()
    scene.proxy.heal()

    assert scene.recovered() == [("x", Outcome.STORED)]
    assert scene.stored("x") == LARGE[:MIB] + b"changed" + LARGE[MIB + 7 :]


def test_recovery_from_a_store_that_is_still_dead_keeps_the_bytes(make_scene: MakeScene) -> None:
    """A recovery that fails leaves everything for the next one."""
    scene = hasty(make_scene)
    kill_writes(scene)
    with pytest.raises(OSError, match="Input/output"):
        save(scene, "x", SMALL)
    scene.unmount()

    failed = scene.recovered()
    scene.proxy.heal()
    healed = scene.recovered()

    assert (failed, healed) == ([("x", Outcome.FAILED)], [("x", Outcome.STORED)])
    assert scene.stored("x") == SMALL


def save(scene: Scene, name: str, body: bytes) -> None:
    with opened(scene.at / name, os.O_WRONLY | os.O_CREAT) as fd:
        write_all(fd, body)
