"""The threads behind a mount."""

from __future__ import annotations

import threading

from mount.fuse.pool import Pool

SECONDS = 20


def test_what_nobody_can_take_is_done_later() -> None:
    """Jobs queue behind a busy thread and are all done, in their order."""
    pool, release, ready = Pool(1), threading.Event(), threading.Event()
    done: list[int] = []
    pool.submit(lambda: _wait(release))

    for number in range(50):
        pool.submit(lambda number=number: done.append(number))  # type: ignore[misc]  # bound now
    pool.submit(ready.set)
    before = list(done)
    release.set()

    assert ready.wait(SECONDS)
    assert (before, done) == ([], list(range(50)))
    assert pool.close(SECONDS)


def test_a_running_job_is_timed() -> None:
    """The slowest job is known while it runs, and nothing afterwards."""
    pool, release, begun = Pool(2), threading.Event(), threading.Event()

    def slow() -> None:
        begun.set()
        _wait(release)

    pool.submit(slow)
    assert begun.wait(SECONDS)

    running = pool.oldest_seconds()
    release.set()

    assert running > 0.0
    assert pool.close(SECONDS)
    assert pool.oldest_seconds() == 0.0


def test_a_stuck_thread_is_told() -> None:
    """Closing waits no longer than it may, and says that somebody still works."""
    pool, release = Pool(1), threading.Event()
    pool.submit(lambda: _wait(release))

    in_time = pool.close(0.01)
    release.set()

    assert not in_time
    assert pool.close(SECONDS)


def _wait(event: threading.Event) -> None:
    assert event.wait(SECONDS)
