"""A network that breaks, refuses and lies: right bytes, or an error that says so."""

from __future__ import annotations

import errno
import os
from itertools import product

import pytest

from datastores.storage.contract import Patience
from tests.mount.faults.conftest import (
    BOUND_SECONDS,
    MIB,
    PATIENT,
    MakeScene,
    Scene,
    body_of,
    listed,
    opened,
    read_all,
    within,
    write_all,
)
from tests.servers.fault_proxy import (
    After,
    Corrupted,
    Drip,
    Fault,
    Kind,
    Reset,
    Says,
    Truncated,
)

SMALL = body_of(300_000)
LARGE = body_of(12 * MIB)
OTHER = body_of(12 * MIB, seed=2)
# Service errors come quickly, so patience is spent on pauses.
STORMY = Patience(connect_seconds=2.0, read_seconds=5.0, attempts=8, total_seconds=30.0)

# A token cannot be asked for by this store's credential, so these meet every kind of request.
BREAKS: list[Fault] = [
    Reset(),
    Reset(asks_first=True),
    Reset(in_body=True),
    Truncated(),
    Truncated(admits=True),
    Says(500, "InternalError"),
    Says(503, "ServerBusy", retry_after=1),
    Says(408, "RequestTimeout"),
    Says(429, "TooManyRequests"),
]


@pytest.mark.parametrize("fault", BREAKS, ids=str)
def test_a_broken_answer_never_reaches_a_reader(scene: Scene, fault: Fault) -> None:
    """Every file is read right when the first answers of each kind break in one way."""
    scene.put("d/small", SMALL)
    scene.put("d/large", LARGE)
    for kind in (Kind.HEAD, Kind.LIST):
        if not isinstance(fault, Truncated):
            scene.proxy.on(kind, fault, nth=1)
    for name in ("small", "large"):
        scene.proxy.on(Kind.GET, fault, nth=1, key=f"d/{name}")

    with within():
        got = sorted((name, read_all(scene.at / "d" / name)) for name in ("small", "large"))

    assert got == [("large", LARGE), ("small", SMALL)]
    assert listed(scene.at / "d") == ["large", "small"]


@pytest.mark.parametrize("at", [0, 150_000, -1])
def test_a_changed_byte_is_noticed(make_scene: MakeScene, at: int) -> None:
    """A small file with one wrong byte in its first answer is read right, from a second one."""
    scene = make_scene(PATIENT)
    scene.put("x", SMALL)
    scene.proxy.on(Kind.GET, Corrupted(at), nth=1)

    got = read_all(scene.at / "x")

    assert got == SMALL
    assert (len(scene.proxy.seen(Kind.GET)), scene.fs.counters().flawed_bodies) == (2, 1)


def test_a_byte_that_is_always_wrong_is_an_error(scene: Scene) -> None:
    """While every answer has a wrong byte the file cannot be opened, and nothing wrong is kept."""
    scene.put("x", SMALL)
    scene.proxy.on(Kind.GET, Corrupted(7))

    with pytest.raises(OSError) as refused:
        read_all(scene.at / "x")
    scene.proxy.heal()

    assert refused.value.errno == errno.EIO
    assert read_all(scene.at / "x") == SMALL


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_another_writer_between_two_ranges(make_scene: MakeScene, nth: int) -> None:
    """A file replaced while it is read gives its old bytes to the end or ESTALE, never a mixture."""
    scene = make_scene(window_bytes=2 * MIB, part_bytes=MIB)
    scene.put("x", LARGE)
    scene.proxy.on(Kind.GET, After(lambda: scene.put("x", OTHER)), nth=nth)
    got, number = b"", 0

    with opened(scene.at / "x", os.O_RDONLY) as fd:
        try:
            while piece := os.read(fd, MIB):
                got += piece
        except OSError as error:
            number = error.errno or 0

    assert got == LARGE[: len(got)]
    assert number == errno.ESTALE or got == LARGE
    assert read_all(scene.at / "x") == OTHER


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_412_on_a_range_is_a_stale_handle(make_scene: MakeScene, nth: int) -> None:
    """A range refused because the object changed is ESTALE, and the next open works."""
    scene = make_scene(window_bytes=2 * MIB, part_bytes=MIB)
    scene.put("x", LARGE)
    scene.proxy.on(Kind.GET, Says(412, "ConditionNotMet"), nth=nth)

    number = 0
    try:
        got = read_all(scene.at / "x")
    except OSError as error:
        got, number = LARGE, error.errno or -1

    assert (got, number in (0, errno.ESTALE)) == (LARGE, True)
    scene.proxy.heal()
    assert read_all(scene.at / "x") == LARGE


def test_412_on_a_commit_keeps_the_other_writers_bytes(scene: Scene) -> None:
    """An update that meets somebody else's change fails at close; theirs stays, ours is kept."""
    scene.put("x", LARGE)
    overwrite = After(lambda: scene.put("x", OTHER))
    scene.proxy.on(Kind.PUT_BLOCK, overwrite, nth=1)

    with pytest.raises(OSError) as refused, opened(scene.at / "x", os.O_WRONLY) as fd:
        os.pwrite(fd, b"ours", MIB)

    assert refused.value.errno == errno.ESTALE
    assert (scene.stored("x"), read_all(scene.at / "x")) == (OTHER, OTHER)
    assert any(path.suffix == ".data" for path in scene.spool.folder.iterdir())


def test_forbidden_for_a_while(scene: Scene) -> None:
    """403 is EACCES at once for whoever asks, and nothing of it is left when access is back."""
    scene.put("d/small", SMALL)
    scene.put("d/large", LARGE)
    for kind in (Kind.GET, Kind.HEAD, Kind.LIST, Kind.PUT_BLOB):
        scene.proxy.on(kind, Says(403, "AuthorizationFailure"))
    numbers = []

    with within():
        for act in (
            lambda: read_all(scene.at / "d/small"),
            lambda: listed(scene.at),
            lambda: save(scene, "new", SMALL),
        ):
            with pytest.raises(OSError) as refused:
                act()
            numbers.append(refused.value.errno)
    scene.proxy.heal()

    assert numbers == [errno.EACCES] * 3
    assert (read_all(scene.at / "d/small"), read_all(scene.at / "d/large")) == (SMALL, LARGE)
    save(scene, "new", SMALL)
    assert scene.stored("new") == SMALL


def save(scene: Scene, name: str, body: bytes) -> None:
    with opened(scene.at / name, os.O_WRONLY | os.O_CREAT) as fd:
        write_all(fd, body)


def test_a_storm_of_503_is_ridden_out(make_scene: MakeScene) -> None:
    """Refusals of each request, again and again, each asking for a second's pause, only cost time."""
    scene = make_scene(STORMY)
    scene.put("d/x", SMALL)
    busy = Says(503, "ServerBusy", retry_after=1)
    for kind, times in ((Kind.HEAD, 1), (Kind.LIST, 1), (Kind.GET, 3), (Kind.PUT_BLOB, 2)):
        scene.proxy.on(kind, busy, nth=range(1, 1 + times))

    with within(2 * BOUND_SECONDS):
        got = read_all(scene.at / "d/x")
        save(scene, "y", SMALL)

    assert (got, scene.stored("y")) == (SMALL, SMALL)


@pytest.mark.parametrize(
    ("fault", "size", "exists"),
    [
        *product(
            [Says(500, "InternalError"), Reset(), Reset(asks_first=True)],
            [100, 12 * MIB],
            [False, True],
        ),
        # A second's pause for each kind of request; this one has all kinds.
        (Says(503, "ServerBusy", retry_after=1), 12 * MIB, True),
    ],
    ids=str,
)
def test_a_broken_write_is_sent_again(
    scene: Scene, fault: Fault, size: int, *, exists: bool
) -> None:
    """Close succeeds although the first request of each kind broke, before or after it was done."""
    if exists:
        scene.put("x", OTHER[: size + 10])
    for kind in (Kind.PUT_BLOB, Kind.PUT_BLOCK, Kind.PUT_BLOCK_LIST, Kind.GET_BLOCK_LIST):
        scene.proxy.on(kind, fault, nth=1)

    with within(), opened(scene.at / "x", os.O_RDWR | os.O_CREAT) as fd:
        write_all(fd, LARGE[:size])

    want = LARGE[:size] + (OTHER[size : size + 10] if exists else b"")
    assert scene.stored("x") == want
    assert read_all(scene.at / "x") == want


def test_a_slow_drip_is_one_request(make_scene: MakeScene) -> None:
    """A body that takes longer than the patience for silence, but moves, is read in one GET."""
    scene = make_scene(Patience(connect_seconds=5.0, read_seconds=2.0))
    scene.put("x", SMALL)
    scene.proxy.on(Kind.GET, Drip(30_000, 0.35))

    with within():
        got = read_all(scene.at / "x")

    assert (got, len(scene.proxy.seen(Kind.GET))) == (SMALL, 1)


def test_nobody_listens(make_scene: MakeScene) -> None:
    """While connections are refused what is here is read, the rest is EIO in time, then all works."""
    scene = make_scene(Patience(2.0, 2.0, attempts=3, total_seconds=5.0), absent_seconds=0.0)
    scene.put("d/here", SMALL)
    scene.put("d/there", SMALL)
    assert read_all(scene.at / "d/here") == SMALL

    with scene.proxy.refusing():
        with within():
            assert read_all(scene.at / "d/here") == SMALL
        with within(), pytest.raises(OSError) as refused:
            read_all(scene.at / "d/there")

    assert refused.value.errno == errno.EIO
    assert read_all(scene.at / "d/there") == SMALL


def test_a_cold_read_is_one_get(make_scene: MakeScene) -> None:
    """Opening and reading a small file of a listed folder sends one GET and nothing else."""
    scene = make_scene(PATIENT)
    for name in "abc":
        scene.put(f"d/{name}", SMALL)
    listed(scene.at / "d")
    scene.proxy.forget()

    read_all(scene.at / "d/b")

    assert [(one.kind, one.key) for one in scene.proxy.seen()] == [(Kind.GET, "d/b")]
