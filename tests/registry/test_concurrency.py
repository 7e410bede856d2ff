"""Many processes and threads on one registry."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing.synchronize import Barrier
from typing import Any

from datastores.errors import AlreadyRegistered
from datastores.registry.registry import Registry
from datastores.registry.rotation import rotate
from tests.registry.conftest import WORKSPACE, Home, blob, key, workspace
from tests.registry.processes import PROCESSES, forked, run_processes

ROUNDS = 12
SHARED = ("shared-0", "shared-1")


def test_eight_processes_lose_nothing_and_see_nothing_torn(home: Home) -> None:
    """
    Processes that register, overwrite, list, open and rotate at once lose no registration, and
    no reader gets the definition of one registration with the secret of another.
    """
    _prepared(home)

    reports = run_processes(lambda number, start: _register_and_read(home, number, start))

    first_end = min(report["end"] for report in reports)
    last_begin = max(report["begin"] for report in reports)
    assert last_begin < first_end, "the processes did not overlap, so this proves nothing"
    waits = [span for report in reports for span in report["writes"]]
    assert _most_at_once(waits) >= 3, "hardly any two writers met, so this proves nothing"
    with home.open() as registry:
        own = {f"own-{number}-{turn}" for number in range(PROCESSES) for turn in range(ROUNDS)}
        assert set(registry.names(WORKSPACE)) == own | set(SHARED)
        # Each overwriting counted, so none was lost between a reading and a writing.
        revisions = {name: registry.get(WORKSPACE, name).revision for name in SHARED}
        assert revisions == dict.fromkeys(SHARED, 1 + PROCESSES * ROUNDS // len(SHARED))
        for name in sorted(own):
            record, credential = registry.unlock(WORKSPACE, name)
            assert (record.definition, credential) == (blob(name, "a" + name), key("key-" + name))


def test_of_eight_processes_that_register_one_name_one_wins(home: Home) -> None:
    """
    Without overwrite exactly one of several simultaneous registrations succeeds, and it stays.
    """
    _prepared(home, shared=())

    reports = run_processes(lambda number, start: _register_same(home, number, start))

    winners = [number for number, report in enumerate(reports) if report["won"]]
    with home.open() as registry:
        record, credential = registry.unlock(WORKSPACE, "one-name")
    assert [f"account-{number}" for number in winners] == [record.definition.account]  # type: ignore[attr-defined]  # a blob
    assert credential == key(f"secret-{winners[0]}")


def test_eight_processes_may_create_the_registry_at_once(home: Home) -> None:
    """
    Simultaneous first openings make one schema and one key, and every workspace is there.
    """
    reports = run_processes(lambda number, start: _create(home, number, start))

    assert [report["secret"] for report in reports] == [
        key(f"secret-{n}").key.reveal() for n in range(PROCESSES)
    ]
    with home.open() as registry:
        names = [str(record.name) for record in registry.workspaces()]
        secrets = [registry.credential(name, "images") for name in names]
    assert names == [f"space-{number}" for number in range(PROCESSES)]
    assert secrets == [key(f"secret-{number}") for number in range(PROCESSES)]


def test_a_fork_may_go_on_with_its_parents_registry(registry: Registry) -> None:
    """
    Parent and child use one opened registry after a fork without disturbing each other, although
    other threads of the parent were in the middle of their work.
    """
    registry.put(WORKSPACE, blob(), key("parents-key"), overwrite=False)
    stop = threading.Event()
    errors: list[BaseException] = []
    threads = [threading.Thread(target=_keep_reading, args=(registry, stop, errors)) for _ in "ab"]
    for thread in threads:
        thread.start()

    try:
        codes = [forked(partial(_use_in_child, registry, number)) for number in range(4)]
    finally:
        stop.set()
        for thread in threads:
            thread.join()

    assert (codes, errors) == ([0, 0, 0, 0], [])
    wanted = ["child-0", "child-1", "child-2", "child-3", "images"]
    assert registry.names(WORKSPACE) == wanted
    assert registry.credential(WORKSPACE, "child-3") == key("childs-key")


def test_threads_share_a_registry(registry: Registry) -> None:
    """
    Twelve threads register and read through one opened registry; nothing is lost or mixed up.
    """
    meeting = threading.Barrier(12, timeout=30)

    def work(number: int) -> bool:
        meeting.wait()
        name = f"thread-{number}"
        record = registry.put(WORKSPACE, blob(name), key(f"key-{name}"), overwrite=False)
        return registry.unlock(WORKSPACE, name) == (record, key(f"key-{name}"))

    with ThreadPoolExecutor(12) as pool:
        results = list(pool.map(work, range(12)))

    assert results == [True] * 12
    assert len(registry.list(WORKSPACE)) == 12


def _prepared(home: Home, shared: tuple[str, ...] = SHARED) -> None:
    with home.open(create=True) as registry:
        registry.add_workspace(workspace(home))
        for name in shared:
            registry.put(WORKSPACE, blob(name, "first"), key("key-first"), overwrite=False)


def _register_and_read(home: Home, number: int, start: Barrier) -> dict[str, Any]:
    writes: list[tuple[float, float]] = []
    with home.open(patience_seconds=60) as registry:
        start.wait(timeout=60)
        begin = time.monotonic()
        for turn in range(ROUNDS):
            own, mark = f"own-{number}-{turn}", f"p{number}t{turn}"
            before = time.monotonic()
            registry.put(WORKSPACE, blob(own, "a" + own), key("key-" + own), overwrite=False)
            registry.put(
                WORKSPACE, blob(SHARED[turn % 2], mark), key("key-" + mark), overwrite=True
            )
            writes.append((before, time.monotonic()))
            if number == 0 and turn % 4 == 1:
                rotate(registry, WORKSPACE)
            for name in SHARED:
                record, credential = registry.unlock(WORKSPACE, name)
                assert credential == key(f"key-{record.definition.account}")  # type: ignore[attr-defined]  # a blob
            assert own in {str(record.name) for record in registry.list(WORKSPACE)}
        return {"begin": begin, "end": time.monotonic(), "writes": writes}


def _register_same(home: Home, number: int, start: Barrier) -> dict[str, Any]:
    with home.open() as registry:
        start.wait(timeout=60)
        try:
            registry.put(
                WORKSPACE,
                blob("one-name", f"account-{number}"),
                key(f"secret-{number}"),
                overwrite=False,
            )
        except AlreadyRegistered:
            return {"won": False}
        return {"won": True}


def _create(home: Home, number: int, start: Barrier) -> dict[str, Any]:
    start.wait(timeout=60)
    with home.open(create=True) as registry:
        name = f"space-{number}"
        registry.add_workspace(workspace(home, name))
        registry.put(name, blob(), key(f"secret-{number}"), overwrite=False)
        credential = registry.credential(name, "images")
        return {"secret": credential.key.reveal()}  # type: ignore[attr-defined]  # an account key


def _use_in_child(registry: Registry, number: int) -> None:
    assert registry.credential(WORKSPACE, "images") == key("parents-key")
    registry.put(WORKSPACE, blob(f"child-{number}"), key("childs-key"), overwrite=False)


def _keep_reading(registry: Registry, stop: threading.Event, errors: list[BaseException]) -> None:
    try:
        while not stop.is_set():
            registry.unlock(WORKSPACE, "images")
            registry.put(WORKSPACE, blob(), key("parents-key"), overwrite=True)
    except BaseException as error:  # noqa: BLE001  # reported by the test
        errors.append(error)


def _most_at_once(spans: list[tuple[float, float]]) -> int:
    """How many spans of time have a moment in common."""
    edges = sorted([(begin, 1) for begin, _ in spans] + [(end, -1) for _, end in spans])
    most = now = 0
    for _, step in edges:
        now += step
        most = max(most, now)
    return most
