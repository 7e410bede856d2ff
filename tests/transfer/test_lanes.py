"""Many small files through several processes."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from datastores.errors import CredentialExpired, NotFound, TransferFailed, Unavailable
from datastores.transfer import Limits, Options, Silent, Summary, crew, download, lanes
from datastores.transfer.children import MOST_CHILDREN, children_for, possible_children
from datastores.transfer.hosts import budget_for
from tests.transfer.folder import files_in, hidden_in
from tests.transfer.forked_store import ForkedStore, children

FILES = 900


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder of many small files, some in folders, one empty."""
    folder = tmp_path / "source"
    for number in range(FILES):
        path = folder / f"{number % 7}" / f"{number:04}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(str(number).encode() * (1 + number % 300))
    (folder / "3" / "empty").touch()
    return folder


@pytest.fixture
def readers(tmp_path: Path) -> Callable[[], set[int]]:
    """Where readers leave their process numbers, and which ones did."""
    folder = tmp_path / "readers"
    folder.mkdir()
    return lambda: {int(path.name) for path in folder.iterdir()}


def counts(summary: Summary) -> tuple[int, int, int, int]:
    """Found, moved, skipped and failed files."""
    return summary.found, summary.moved, summary.skipped, summary.failed


def test_one_processor_gets_no_lanes_and_many_get_a_few() -> None:
    """Lanes are as many as processors, but none for one and at most four."""
    assert [children_for(number) for number in (1, 2, 3, 4, 64)] == [0, 2, 3, 4, 4]


@pytest.mark.parametrize(("said", "most"), [("0", 0), ("1", 1), ("64", 4), ("none", 4)])
def test_children_can_be_forbidden(said: str, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable lowers the number of processes, never raises it, and other words do nothing."""
    monkeypatch.setenv("DATASTORES_CHILDREN", said)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert possible_children() == most


def test_many_small_files_arrive_through_other_processes(
    source: Path, tmp_path: Path, readers: Callable[[], set[int]]
) -> None:
    """Every file arrives and is counted once, most were read elsewhere, and no process is left."""

    def note(_key: str) -> None:
        (tmp_path / "readers" / str(os.getpid())).touch()

    before = children()
    summary = download(ForkedStore(source, note), "", tmp_path / "target")
    assert files_in(tmp_path / "target") == files_in(source)
    assert counts(summary) == (FILES + 1, FILES + 1, 0, 0)
    assert summary.bytes == sum(len(data) for data in files_in(source).values())
    assert hidden_in(tmp_path / "target") == []
    assert len(readers() - {os.getpid()}) >= min(2, len(os.sched_getaffinity(0)))
    assert children() == before


def test_what_lanes_brought_is_known_the_next_time(source: Path, tmp_path: Path) -> None:
    """A second call finds every file of the first unchanged."""
    store = ForkedStore(source)
    download(store, "", tmp_path / "target")
    assert counts(download(store, "", tmp_path / "target")) == (FILES + 1, 0, FILES + 1, 0)


def test_few_files_start_no_process(tmp_path: Path, readers: Callable[[], set[int]]) -> None:
    """Below the number that is worth it, this process does all the work."""
    source = tmp_path / "few"
    source.mkdir()
    for number in range(lanes.WORTH_IT):
        (source / str(number)).write_bytes(b"x")

    def note(_key: str) -> None:
        (tmp_path / "readers" / str(os.getpid())).touch()

    download(ForkedStore(source, note), "", tmp_path / "target")
    assert readers() == {os.getpid()}


def test_a_lane_that_is_killed_costs_no_file(source: Path, tmp_path: Path) -> None:
    """Processes that die in the middle of a file leave their work to the one that asked."""
    ours = os.getpid()

    def die(key: str) -> None:
        if os.getpid() != ours and int(key[-2:]) % 50 == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    summary = download(ForkedStore(source, die), "", tmp_path / "target")
    assert files_in(tmp_path / "target") == files_in(source)
    assert counts(summary) == (FILES + 1, FILES + 1, 0, 0)
    assert hidden_in(tmp_path / "target") == []


def test_a_failure_elsewhere_is_told_here(source: Path, tmp_path: Path) -> None:
    """A file that no process can read is named with its cause, and all others arrive."""
    lost = {f"{number % 7}/{number:04}" for number in range(500, 510)}

    def refuse(key: str) -> None:
        if key in lost:
            raise NotFound("folder", key, "it was taken away")

    with pytest.raises(TransferFailed) as caught:
        download(ForkedStore(source, refuse), "", tmp_path / "target")
    assert {name for name, _ in caught.value.failures} == lost
    assert all(isinstance(error, NotFound) for _, error in caught.value.failures)
    expected = {name: data for name, data in files_in(source).items() if name not in lost}
    assert files_in(tmp_path / "target") == expected


def test_a_dead_credential_ends_the_call(source: Path, tmp_path: Path) -> None:
    """The first refusal of the credential stops the transfer, whichever process met it."""
    from datetime import UTC, datetime

    ours = os.getpid()
    asked_here: list[str] = []

    def expire(key: str) -> None:
        if int(key[-4:]) >= 400:
            if os.getpid() == ours:
                asked_here.append(key)
            raise CredentialExpired("folder", datetime(2026, 1, 1, tzinfo=UTC), "register it anew")

    (source / "3" / "empty").unlink()
    with pytest.raises(TransferFailed, match="gave up"):
        download(ForkedStore(source, expire), "", tmp_path / "target")
    assert 0 < len(asked_here) < 200


def test_throttling_elsewhere_slows_this_process_down(source: Path, tmp_path: Path) -> None:
    """What a lane was told by the host counts for the budget of the host here."""
    ours = os.getpid()
    store = ForkedStore(source)

    def throttle(_key: str) -> None:
        if os.getpid() != ours:
            budget_for(store.identity).throttled(0.01)

    throttled = ForkedStore(source, throttle)
    before = budget_for(store.identity).refusals
    summary = download(throttled, "", tmp_path / "target")
    told = budget_for(store.identity).refusals - before
    assert told > FILES // 2
    assert summary.retries == told


def test_a_file_that_another_process_brought_is_skipped_there_too(
    source: Path, tmp_path: Path
) -> None:
    """Two downloads into one folder share the work; every file is moved or skipped by each."""
    store = ForkedStore(source)
    results: list[Summary] = []
    both = [
        threading.Thread(target=lambda: results.append(download(store, "", tmp_path / "target")))
        for _ in range(2)
    ]
    for one in both:
        one.start()
    for one in both:
        one.join(60)
    assert files_in(tmp_path / "target") == files_in(source)
    assert [(one.found, one.moved + one.skipped, one.failed) for one in results] == [
        (FILES + 1, FILES + 1, 0)
    ] * 2


def test_without_further_processes_all_is_done_here(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that refuses to fork gets the same files."""

    def refuse() -> int:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "fork", refuse)
    summary = download(ForkedStore(source), "", tmp_path / "target")
    assert files_in(tmp_path / "target") == files_in(source)
    assert counts(summary) == (FILES + 1, FILES + 1, 0, 0)


def test_lanes_are_renewed_while_a_long_transfer_runs(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, readers: Callable[[], set[int]]
) -> None:
    """Old processes end when new ones have taken over, and no file is lost between them."""
    monkeypatch.setattr(lanes, "RENEW_SECONDS", 0.3)

    def note(_key: str) -> None:
        (tmp_path / "readers" / str(os.getpid())).touch()
        # Long enough for several exchanges; a fork of a large process takes its time.
        time.sleep(0.03)

    before = children()
    # Few at once, so that it takes as long as several exchanges however many the pace would allow.
    options = Options(limits=Limits(streams=8))
    summary = download(ForkedStore(source, note), "", tmp_path / "target", options=options)
    assert counts(summary) == (FILES + 1, FILES + 1, 0, 0)
    assert len(readers()) > MOST_CHILDREN + 1
    assert children() == before


def test_idle_processes_end_when_others_take_over(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, readers: Callable[[], set[int]]
) -> None:
    """However often they are exchanged, there are never more than may work at once."""
    monkeypatch.setattr(lanes, "RENEW_SECONDS", 0.0)
    # An exchange for each handful, and not for each file, although it takes long.
    monkeypatch.setattr(crew, "AT_ONCE_SECONDS", 60.0)
    before = children()
    seen: list[int] = []

    class Count(Silent):
        def finished(self, name: str) -> None:
            seen.append(len(children() - before))

    def note(_key: str) -> None:
        (tmp_path / "readers" / str(os.getpid())).touch()

    options = Options(limits=Limits(streams=1))
    store = ForkedStore(source, note)
    download(store, "", tmp_path / "target", options=options, watcher=Count())
    assert len(readers()) > 2 * MOST_CHILDREN
    assert 0 < max(seen) <= possible_children()


def test_giving_up_ends_the_processes_and_leaves_nothing_half_done(
    source: Path, tmp_path: Path
) -> None:
    """With `keep_going=False` a failure ends files that other processes are in the middle of."""
    ours = os.getpid()

    def wait(key: str) -> None:
        if os.getpid() != ours:
            time.sleep(0.05)
            if key.endswith("07"):
                raise Unavailable("folder", key, "not now")
        elif int(key[-4:] if key[-4:].isdigit() else 0) % 100 == 7:
            raise Unavailable("folder", key, "not now")

    before = children()
    options = Options(keep_going=False, limits=Limits(stop_seconds=5))
    with pytest.raises(TransferFailed):
        download(ForkedStore(source, wait), "", tmp_path / "target", options=options)
    assert children() == before
    parts = [name for name in hidden_in(tmp_path / "target") if "part" in name]
    assert parts == []


def test_an_interrupt_ends_the_processes(source: Path, tmp_path: Path) -> None:
    """Ctrl-C in the middle is passed on at once, and nobody goes on working."""
    ours = os.getpid()
    main = threading.main_thread().ident
    assert main is not None
    started = tmp_path / "started"

    def wait(_key: str) -> None:
        if os.getpid() != ours:
            started.touch()
            time.sleep(0.2)

    def interrupt() -> None:
        while not started.exists():
            time.sleep(0.01)
        signal.pthread_kill(main, signal.SIGINT)

    before = children()
    interrupter = threading.Thread(target=interrupt)
    interrupter.start()
    with pytest.raises(KeyboardInterrupt):
        download(ForkedStore(source, wait), "", tmp_path / "target")
    interrupter.join(10)
    assert children() == before
