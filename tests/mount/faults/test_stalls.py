"""A network that falls silent: nobody waits longer than patience, and nobody gets wrong bytes."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.mount.faults.conftest import (
    MIB,
    PATIENT,
    QUICK,
    MakeScene,
    Scene,
    body_of,
    listed,
    opened,
    read_all,
    within,
    write_all,
)
from tests.servers.fault_proxy import Kind, Stall

SMALL = body_of(300_000)
LARGE = body_of(12 * MIB)

# Each kind of request meets a silence of 40 s and one of 240 s. Both are beyond every patience here,
# so nobody waits for their ends.


@pytest.mark.parametrize(("seconds", "in_body"), [(40.0, False), (240.0, True)])
def test_a_silent_read_is_asked_again(scene: Scene, seconds: float, *, in_body: bool) -> None:
    """A small file whose first GET falls silent is read from a second one, long before the end."""
    scene.put("x", SMALL)
    scene.proxy.on(Kind.GET, Stall(seconds, in_body=in_body), nth=1)

    with within():
        got = read_all(scene.at / "x")

    assert got == SMALL
    assert len(scene.proxy.seen(Kind.GET)) >= 2


@pytest.mark.parametrize(("seconds", "in_body"), [(40.0, True), (240.0, False)])
def test_a_silent_range_is_asked_again(scene: Scene, seconds: float, *, in_body: bool) -> None:
    """A large file of which one range falls silent is read whole and right."""
    scene.put("x", LARGE)
    scene.proxy.on(Kind.GET, Stall(seconds, in_body=in_body), nth=2)

    with within():
        got = read_all(scene.at / "x")

    assert got == LARGE


def test_a_short_silence_is_waited_out(make_scene: MakeScene) -> None:
    """Five seconds of silence cost a patient reader five seconds and no second GET."""
    scene = make_scene(PATIENT)
    scene.put("x", SMALL)
    scene.proxy.on(Kind.GET, Stall(5.0), nth=1)

    with within():
        got = read_all(scene.at / "x")

    assert got == SMALL
    assert len(scene.proxy.seen(Kind.GET)) == 1


def save(scene: Scene, name: str, body: bytes) -> None:
    with opened(scene.at / name, os.O_WRONLY | os.O_CREAT) as fd:
        write_all(fd, body)


@pytest.mark.parametrize(("seconds", "asks_first"), [(40.0, False), (240.0, True)])
@pytest.mark.parametrize(
    ("kind", "body"),
    [(Kind.PUT_BLOCK, LARGE), (Kind.PUT_BLOCK_LIST, LARGE), (Kind.PUT_BLOB, SMALL)],
)
def test_a_silent_write_is_sent_again(
    scene: Scene, kind: Kind, body: bytes, seconds: float, *, asks_first: bool
) -> None:
    """A write that falls silent, before or after the service did it, ends well within patience."""
    scene.proxy.on(kind, Stall(seconds, asks_first=asks_first), nth=1)

    with within():
        save(scene, "x", body)

    assert scene.stored("x") == body
    assert read_all(scene.at / "x") == body


@pytest.mark.parametrize(("seconds", "asks_first"), [(40.0, False), (240.0, True)])
def test_a_silent_update_is_sent_again(scene: Scene, seconds: float, *, asks_first: bool) -> None:
    """An update whose answer is lost counts as done when the object holds its bytes."""
    scene.put("x", LARGE)
    want = LARGE[:MIB] + b"changed" + LARGE[MIB + 7 :]
    scene.proxy.on(Kind.PUT_BLOCK_LIST, Stall(seconds, asks_first=asks_first), nth=1)

    with within(), opened(scene.at / "x", os.O_WRONLY) as fd:
        os.pwrite(fd, b"changed", MIB)

    assert scene.stored("x") == want


@pytest.mark.parametrize(
    ("kind", "look", "seconds"),
    [
        (Kind.LIST, lambda scene: listed(scene.at / "d"), 40.0),
        (Kind.HEAD, lambda scene: [str((scene.at / "d/a").stat().st_size), "b"], 240.0),
    ],
)
def test_a_silent_look_is_asked_again(
    scene: Scene, kind: Kind, look: Callable[[Scene], list[str]], seconds: float
) -> None:
    """A listing or a stat whose first request falls silent is answered from a second one."""
    scene.put("d/a", b"1")
    scene.put("d/b", b"2")
    scene.proxy.on(kind, Stall(seconds), nth=1)

    with within():
        got = look(scene)

    assert got in (["a", "b"], ["1", "b"])


def test_a_store_that_stays_silent_is_an_error_in_time(make_scene: MakeScene) -> None:
    """With every answer silent each caller gets an error within patience, and bytes once it heals."""
    scene = make_scene(replace(QUICK, attempts=2))
    scene.put("d/x", SMALL)
    for kind in (Kind.GET, Kind.HEAD, Kind.LIST):
        scene.proxy.on(kind, Stall(240.0))

    with within(), pytest.raises(OSError, match="Input/output"):
        read_all(scene.at / "d/x")
    with within(), pytest.raises(OSError, match="Input/output"):
        listed(scene.at)
    scene.proxy.heal()

    with within():
        assert read_all(scene.at / "d/x") == SMALL
