"""Threads that work through a stream: what happens when something in it breaks."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from datastores.errors import Unavailable
from datastores.storage.memory import MemoryStore
from datastores.transfer import Limits, download
from datastores.transfer.crew import AHEAD, AT_ONCE_SECONDS, MOST_AT_ONCE, Crew, Work
from datastores.transfer.hosts import HostBudget, budget_for, slow_down
from datastores.transfer.pace import Pace


def crew(**limits: int) -> Crew:
    return Crew(HostBudget(Pace()), Limits(**limits))


def left_behind() -> list[str]:
    """Threads of the engine that are still there."""
    return [t.name for t in threading.enumerate() if t.name == "datastores-transfer"]


def test_everything_is_done_once() -> None:
    """Each piece of work and each follow-up runs exactly once, and no thread stays."""
    workers = crew()
    done: list[str] = []

    def parent(number: int) -> None:
        workers.add(Work(lambda: done.append(f"{number} child")) for _ in range(2))
        done.append(f"{number} parent")

    workers.run(Work(lambda n=n: parent(n)) for n in range(500))  # type: ignore[misc]

    assert sorted(done) == sorted(
        [f"{n} parent" for n in range(500)] + [f"{n} child" for n in range(500)] * 2
    )
    assert left_behind() == []


def test_an_unexpected_error_reaches_the_caller() -> None:
    """A defect inside a piece of work is raised by `run`, not swallowed by a thread."""
    workers = crew()

    def broken() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        workers.run([Work(broken)])

    assert (workers.gave_up, left_behind()) == (True, [])


def test_threads_that_are_stuck_do_not_hold_up_the_end() -> None:
    """However many threads hang in the network, the call ends within one stop time."""
    workers = Crew(HostBudget(Pace()), Limits(stop_seconds=0.3))
    stuck, all_stuck = threading.Event(), threading.Barrier(9)

    def hang() -> None:
        all_stuck.wait(30)
        stuck.wait(30)

    def fail() -> None:
        all_stuck.wait(30)
        raise ZeroDivisionError

    began = time.monotonic()
    with pytest.raises(ZeroDivisionError):
        workers.run([*[Work(hang)] * 8, Work(fail)])
    ended = time.monotonic()
    stuck.set()

    assert ended - began < 2.5


def test_a_stream_that_breaks_reaches_the_caller() -> None:
    """An error of the stream of work itself is raised by `run`."""

    def stream() -> Iterator[Work]:
        yield Work(lambda: None)
        raise Unavailable("s")

    with pytest.raises(Unavailable):
        crew().run(stream())

    assert left_behind() == []


def test_the_stream_is_read_only_a_little_ahead() -> None:
    """While work is stuck, no more than a fixed number of pieces is taken from the stream."""
    workers = crew(streams=1)
    taken = 0
    full, go_on = threading.Event(), threading.Event()

    def stream() -> Iterator[Work]:
        nonlocal taken
        for _ in range(10 * AHEAD):
            taken += 1
            if taken == AHEAD + 1:
                full.set()
            yield Work(lambda: go_on.wait(30) and None)

    runner = threading.Thread(target=workers.run, args=(stream(),))
    runner.start()
    filled = full.wait(30)
    taken_while_stuck = taken
    go_on.set()
    runner.join(30)

    assert (filled, taken) == (True, 10 * AHEAD)
    assert taken_while_stuck <= AHEAD + MOST_AT_ONCE + 1


def test_new_work_wakes_a_thread_that_does_it() -> None:
    """An idle thread takes new work although others wait in the crew for something else."""
    workers = crew(streams=2)
    quick, late = threading.Event(), threading.Event()
    in_time: list[bool] = []

    def stream() -> Iterator[Work]:
        yield Work(lambda: workers.pause(20))
        yield Work(quick.set)
        quick.wait(30)
        # The thread goes to wait for more, behind those who wait already.
        threading.Event().wait(0.1)
        yield Work(late.set)
        in_time.append(late.wait(3))
        workers.stop()

    workers.run(stream())

    assert in_time == [True]


def test_light_work_is_handed_over_in_handfuls() -> None:
    """While much light work waits, a thread takes several pieces, and still each is done once."""
    entered = 0

    class Counting(HostBudget):
        def enter(self, most: int) -> bool:
            nonlocal entered
            entered += 1
            return super().enter(most)

    workers = Crew(Counting(Pace()), Limits(streams=1))
    full = threading.Event()
    done: list[int] = []

    def stream() -> Iterator[Work]:
        yield Work(lambda: full.wait(30) and None)
        for number in range(5 * AHEAD):
            if number == AHEAD // 2:
                full.set()
            yield Work(lambda n=number: done.append(n), 4096)  # type: ignore[misc]

    workers.run(stream())

    assert done == list(range(5 * AHEAD))
    assert entered < len(done) / 2


def test_what_takes_long_is_taken_one_at_a_time() -> None:
    """Many pieces wait, but each takes longer than a handful may: nobody holds several of them."""
    workers = crew(streams=1)
    full = threading.Event()
    together: list[int] = []

    def slow(works: Sequence[Work]) -> None:
        together.append(len(works))
        threading.Event().wait(AT_ONCE_SECONDS)

    def stream() -> Iterator[Work]:
        yield Work(lambda: full.wait(30) and None)
        for number in range(AHEAD):
            if number == AHEAD // 2:
                full.set()
            yield Work(lambda: None, 4096, slow if number < 8 else None)

    workers.run(stream())

    assert together == [1] * 8


def test_memory_is_bounded_by_weight() -> None:
    """Work under way never weighs more than the limit, one piece that is heavier excepted."""
    workers = crew(memory_bytes=10)
    lock = threading.Lock()
    weights = [0, 0]

    def carry(weight: int) -> None:
        with lock:
            weights[0] += weight
            weights[1] = max(weights[1], weights[0])
        threading.Event().wait(0.0005)
        with lock:
            weights[0] -= weight

    workers.run(Work(lambda w=w: carry(w), w) for w in [4, 3, 5, 1] * 100)  # type: ignore[misc]

    assert weights[0] == 0
    assert 4 < weights[1] <= 10


def test_a_host_that_asks_for_patience_is_asked_less() -> None:
    """Whoever retries for a store can slow every transfer to its host, and it is counted."""
    store = MemoryStore()
    budget = budget_for(store.identity)
    before = budget.allowed

    slow_down(store.identity, 5.0)

    assert (budget.allowed, budget.refusals) == (before // 2, 1)


def test_retries_of_a_transfer_are_in_its_summary(tmp_path: Path) -> None:
    """Pauses that the store took for us during a download are counted as retries."""

    class Throttled(MemoryStore):
        def read(self, key: str, **options: object) -> object:  # type: ignore[override]  # a spy
            slow_down(self.identity, 0.1)
            return super().read(key, **options)  # type: ignore[arg-type]  # passed on as they came

    store = Throttled()
    store.write("a", b"1")

    assert download(store, "", tmp_path).retries == 1  # type: ignore[arg-type]  # a spy
