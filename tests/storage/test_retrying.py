"""Retrying hides what passes, and nothing else; every promise holds through it."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from datastores.errors import (
    AlreadyExists,
    DatastoresError,
    NotFound,
    PermissionDenied,
    PreconditionFailed,
    Unavailable,
)
from datastores.storage.contract import ABSENT, Patience, Store
from datastores.storage.memory import MemoryStore
from datastores.storage.retrying import RetryingStore
from tests.contracts.faulty_store import Fault, FaultyStore
from tests.contracts.store_contract import (
    CopyingContract,
    FoldersContract,
    RenamingContract,
    StagingContract,
    StoreContract,
    content,
    keys,
)


@dataclass
class FakeTime:
    """A clock that only sleeping moves, and the pauses that were slept."""

    now: float = 1000.0
    pauses: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def clock(self) -> float:
        return self.now


def retrying(
    store: Store, time: FakeTime, *, attempts: int = 5, total_seconds: float = 300.0
) -> RetryingStore:
    """A retrying store on a fake clock, whose jitter always takes the whole ceiling."""
    patience = Patience(attempts=attempts, total_seconds=total_seconds)
    return RetryingStore(store, patience, sleep=time.sleep, clock=time.clock, jitter=lambda: 1.0)


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


@pytest.fixture
def faulty() -> FaultyStore:
    return FaultyStore(MemoryStore("shaky", page_size=3, piece_bytes=10))


def busy(retry_after_seconds: float | None = None) -> Unavailable:
    return Unavailable("shaky", "file", "503", retry_after_seconds)


class TestRetryingStore(
    StagingContract, RenamingContract, CopyingContract, FoldersContract, StoreContract
):
    """Every promise and every power, through the wrapper."""

    @pytest.fixture
    def store(self) -> Store:
        return RetryingStore(MemoryStore("scratch"), Patience())


class TestRetryingUnderFaults(
    StagingContract, RenamingContract, CopyingContract, FoldersContract, StoreContract
):
    """Every promise while each third read, stat and delete fails once, and listings ever later."""

    @pytest.fixture
    def store(self) -> Iterator[Store]:
        faulty = FaultyStore(MemoryStore("scratch", page_size=7))
        for method in ("stat", "delete", "stage", "staged", "copy"):
            faulty.plan(method, Fault(error=busy()), nth=range(1, 400, 3))
        for method in ("list", "list_folder"):
            # Each time it comes two pages further, counted from its beginning.
            faulty.plan(method, Fault(error=busy()), nth=[n * n for n in range(1, 20)])
        faulty.plan("read", Fault(break_at=5, break_error=busy()), nth=range(1, 400, 3))
        faulty.plan("read", Fault(truncate_at=MIDDLE), nth=range(2, 400, 3))
        time = FakeTime()
        yield RetryingStore(
            faulty, Patience(), sleep=time.sleep, clock=time.clock, jitter=random.Random(7).random
        )
        assert len(time.pauses) <= len(faulty.calls)


MIDDLE = 5 * 1024 * 1024


def test_temporary_error_is_tried_again(faulty: FaultyStore, time: FakeTime) -> None:
    """A call that fails twice with a temporary error succeeds at the third attempt."""
    faulty.inner.write("file", b"x")
    faulty.plan("stat", Fault(error=busy()), nth=[1, 2])

    info = retrying(faulty, time).stat("file")

    assert (info.size, faulty.count("stat")) == (1, 3)


@pytest.mark.parametrize(
    "error",
    [NotFound("shaky", "file"), PermissionDenied("shaky", "file")],
    ids=["not-found", "denied"],
)
def test_lasting_error_is_not(faulty: FaultyStore, time: FakeTime, error: DatastoresError) -> None:
    """An error that is not temporary comes out at once, itself."""
    faulty.plan("stat", Fault(error=error))

    with pytest.raises(type(error)) as caught:
        retrying(faulty, time).stat("file")

    assert caught.value is error
    assert (faulty.count("stat"), time.pauses) == (1, [])


def test_pauses_double_up_to_a_ceiling(faulty: FaultyStore, time: FakeTime) -> None:
    """Pauses double from a quarter second to twenty seconds, and no pause follows the last try."""
    faulty.plan("stat", Fault(error=busy()), nth=range(1, 100))

    with pytest.raises(Unavailable) as caught:
        retrying(faulty, time, attempts=10).stat("file")

    assert time.pauses == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 20.0, 20.0]
    assert caught.value.__notes__ == ["given up after 10 attempts in 71.8 s"]


def test_pauses_are_jittered(faulty: FaultyStore, time: FakeTime) -> None:
    """The jitter scales a pause from nothing to its ceiling."""
    faulty.plan("stat", Fault(error=busy()), nth=[1, 2, 3])
    faulty.inner.write("file", b"x")
    parts = iter([0.0, 0.5, 1.0])
    store = RetryingStore(
        faulty, Patience(), sleep=time.sleep, clock=time.clock, jitter=lambda: next(parts)
    )

    store.stat("file")

    assert time.pauses == [0.0, 0.25, 1.0]


def test_store_may_ask_for_a_pause(faulty: FaultyStore, time: FakeTime) -> None:
    """A pause is never shorter than the store asked for."""
    faulty.inner.write("file", b"x")
    faulty.plan("stat", Fault(error=busy(retry_after_seconds=30)))

    retrying(faulty, time).stat("file")

    assert time.pauses == [30.25]


def test_total_time_is_bounded(faulty: FaultyStore, time: FakeTime) -> None:
    """No pause is begun that would end after the total: the error comes at once instead."""
    faulty.plan("stat", Fault(error=busy(retry_after_seconds=40)), nth=range(1, 100))

    with pytest.raises(Unavailable):
        retrying(faulty, time, attempts=100, total_seconds=100).stat("file")

    assert time.pauses == [40.25, 40.5]


def test_level_rises_with_attempts(
    faulty: FaultyStore, time: FakeTime, caplog: pytest.LogCaptureFixture
) -> None:
    """The first retry is a detail, the second is news, the third is a warning."""
    caplog.set_level(logging.DEBUG)
    faulty.inner.write("file", b"x")
    faulty.plan("stat", Fault(error=busy()), nth=[1, 2, 3, 4])

    retrying(faulty, time).stat("file")

    assert [record.levelname for record in caplog.records] == [
        "DEBUG",
        "INFO",
        "WARNING",
        "WARNING",
    ]


@pytest.mark.parametrize("body", [b"bytes", bytearray(b"bytes"), [b"by", b"tes"]], ids=type)
def test_repeatable_body_is_sent_again(
    faulty: FaultyStore, time: FakeTime, body: bytes | list[bytes]
) -> None:
    """A body that can be read twice is sent again."""
    faulty.plan("write", Fault(error=busy()), nth=[1, 2])

    retrying(faulty, time).write("file", body)

    assert (content(faulty.inner, "file"), faulty.count("write")) == (b"bytes", 3)


def test_iterator_body_is_sent_once(faulty: FaultyStore, time: FakeTime) -> None:
    """A body that can be read once is not tried again: its first pieces may be gone."""
    faulty.plan("write", Fault(error=busy()))

    with pytest.raises(Unavailable):
        retrying(faulty, time).write("file", iter([b"bytes"]))

    assert (faulty.count("write"), time.pauses) == (1, [])


def test_lost_answer_of_a_conditional_write(faulty: FaultyStore, time: FakeTime) -> None:
    """When the answer of a write `ABSENT` is lost, the second refusal says it may be our own."""
    faulty.plan("write", Fault(raises_after=busy()))

    with pytest.raises(AlreadyExists, match="an earlier attempt, whose answer was lost"):
        retrying(faulty, time).write("file", b"ours", only_if=ABSENT)

    assert content(faulty.inner, "file") == b"ours"


def test_first_refusal_is_plain(faulty: FaultyStore, time: FakeTime) -> None:
    """A conditional write refused at its first attempt tells of no earlier attempt."""
    faulty.inner.write("file", b"theirs")

    with pytest.raises(AlreadyExists) as caught:
        retrying(faulty, time).write("file", b"ours", only_if=ABSENT)

    assert "earlier attempt" not in str(caught.value)


def test_lost_answer_of_a_rename(faulty: FaultyStore, time: FakeTime) -> None:
    """When the answer of a rename is lost, `NotFound` of the second says it may have been done."""
    faulty.inner.write("old", b"x")
    faulty.plan("rename", Fault(raises_after=busy()))
    renaming = retrying(faulty, time).renaming

    assert renaming is not None
    with pytest.raises(NotFound, match="an earlier attempt, whose answer was lost"):
        renaming.rename("old", "new")

    assert content(faulty.inner, "new") == b"x"


def test_lost_answer_of_a_commit(faulty: FaultyStore, time: FakeTime) -> None:
    """A commit without condition whose answer is lost is done again with the same result."""
    faulty.plan("commit", Fault(raises_after=busy()))
    staging = retrying(faulty, time).staging
    assert staging is not None
    staging.stage("file", "0001", b"block")

    staging.commit("file", ["0001"])

    assert (content(faulty.inner, "file"), faulty.count("commit")) == (b"block", 2)


def test_broken_read_goes_on_where_it_broke(faulty: FaultyStore, time: FakeTime) -> None:
    """A read that breaks three times delivers each byte once, from four ranged reads."""
    body = bytes(range(100))
    faulty.inner.write("file", body)
    for nth, at in [(1, 33), (2, 0), (3, 40)]:
        faulty.plan("read", Fault(break_at=at, break_error=busy()), nth=nth)

    got = content(retrying(faulty, time), "file", start=2, length=95)

    assert got == body[2:97]
    assert faulty.count("read") == 4


def test_truncated_read_goes_on(faulty: FaultyStore, time: FakeTime) -> None:
    """A read that ends early in silence is completed, not believed."""
    faulty.inner.write("file", b"0123456789" * 3)
    faulty.plan("read", Fault(truncate_at=12))

    assert content(retrying(faulty, time), "file") == b"0123456789" * 3


def test_read_cut_short_for_good(faulty: FaultyStore, time: FakeTime) -> None:
    """A read that never gets further raises after the attempts, and says how far it came."""
    faulty.inner.write("file", b"0123456789" * 3)
    faulty.plan("read", Fault(truncate_at=0), nth=range(2, 100))
    faulty.plan("read", Fault(truncate_at=12))

    with pytest.raises(Unavailable, match="it ended at byte 12 of 30"):
        content(retrying(faulty, time, attempts=3), "file")

    assert faulty.count("read") == 3


def test_broken_read_of_a_changed_object(faulty: FaultyStore, time: FakeTime) -> None:
    """When the object is replaced between break and resumption, the read raises, never mixes."""
    faulty.inner.write("file", b"a" * 30)

    def replace() -> None:
        faulty.inner.write("file", b"b" * 30)

    faulty.plan("read", Fault(after=replace, break_at=12, break_error=busy()))

    with pytest.raises(PreconditionFailed):
        content(retrying(faulty, time), "file")


def test_progress_renews_patience(faulty: FaultyStore, time: FakeTime) -> None:
    """A long read may break more often than `attempts`, as long as bytes arrive in between."""
    body = bytes(range(200))
    faulty.inner.write("file", body)
    faulty.plan("read", Fault(break_at=10, break_error=busy()), nth=range(1, 20))

    got = content(retrying(faulty, time, attempts=2, total_seconds=1), "file")

    assert (got, faulty.count("read")) == (body, 20)


def test_slow_reader_does_not_use_up_patience(faulty: FaultyStore, time: FakeTime) -> None:
    """Time the reader spends between pieces does not count against the total."""
    faulty.inner.write("file", b"0123456789" * 3)
    faulty.plan("read", Fault(break_at=20, break_error=busy()))
    got = b""

    with retrying(faulty, time, total_seconds=10).read("file") as stream:
        for piece in stream:
            got += bytes(piece)
            time.now += 1000

    assert got == b"0123456789" * 3


def test_closed_stream_is_not_opened_again(faulty: FaultyStore, time: FakeTime) -> None:
    """A stream closed by its reader is not resumed behind his back."""
    faulty.inner.write("file", b"0123456789" * 3)
    faulty.plan("read", Fault(break_at=15, break_error=busy()))
    stream = retrying(faulty, time).read("file")
    pieces = iter(stream)
    next(pieces)

    stream.close()
    with pytest.raises(Unavailable):
        list(pieces)

    assert faulty.count("read") == 1


def test_broken_listing_goes_on(faulty: FaultyStore, time: FakeTime) -> None:
    """A listing that breaks on its second and fourth page shows every key once."""
    want = [f"d/{n:02d}" for n in range(12)]
    for key in want:
        faulty.inner.write(key, b"x")
    faulty.plan("list", Fault(error=busy()), nth=[1, 3, 6])

    got = keys(retrying(faulty, time).list("d/"))

    assert got == want
    assert len(time.pauses) == 3


def test_broken_folder_listing_goes_on(faulty: FaultyStore, time: FakeTime) -> None:
    """A folder's listing that breaks shows every object and folder once."""
    for n in range(7):
        faulty.inner.write(f"d/{n}", b"x")
        faulty.inner.write(f"d/sub{n}/file", b"x")
    faulty.plan("list_folder", Fault(error=busy()), nth=[2, 5])

    pages = list(retrying(faulty, time).list_folder("d"))

    assert sorted(info.key for page in pages for info in page.objects) == [
        f"d/{n}" for n in range(7)
    ]
    assert sorted(folder for page in pages for folder in page.folders) == [
        f"d/sub{n}" for n in range(7)
    ]
    assert len(time.pauses) == 2


def test_listing_that_always_breaks_at_one_place(faulty: FaultyStore, time: FakeTime) -> None:
    """A listing whose second page never comes ends after the attempts, though its first does."""
    for n in range(6):
        faulty.inner.write(f"d/{n}", b"x")
    faulty.plan("list", Fault(error=busy()), nth=range(2, 200, 2))
    pages = retrying(faulty, time, attempts=3).list("d/")

    with pytest.raises(Unavailable):
        list(pages)

    assert (faulty.count("list"), time.pauses) == (6, [0.25, 0.5])


def test_progress_of_a_listing_renews_patience(faulty: FaultyStore, time: FakeTime) -> None:
    """A listing may break more often than `attempts`, as long as new keys come in between."""
    want = [f"d/{n:02d}" for n in range(12)]
    for key in want:
        faulty.inner.write(key, b"x")
    # Each time it comes one page further: the pages before are shown again.
    faulty.plan("list", Fault(error=busy()), nth=[2, 5, 9])

    got = keys(retrying(faulty, time, attempts=2).list("d/"))

    assert (got, time.pauses) == (want, [0.25, 0.25, 0.25])


def test_delete_is_tried_again(faulty: FaultyStore, time: FakeTime) -> None:
    """A delete whose answer is lost is done again without error."""
    faulty.inner.write("file", b"x")
    faulty.plan("delete", Fault(raises_after=busy()))

    retrying(faulty, time).delete("file")

    assert (keys(faulty.inner.list()), faulty.count("delete")) == ([], 2)


def test_powers_that_are_absent_stay_absent() -> None:
    """A store without powers has none through the wrapper."""
    store = RetryingStore(Bare(MemoryStore("bare")), Patience())

    assert (store.staging, store.renaming, store.copying, store.folders) == (None,) * 4


class Bare(FaultyStore):
    """A store without any power."""

    @property
    def staging(self) -> None:
        return None

    @property
    def renaming(self) -> None:
        return None

    @property
    def copying(self) -> None:
        return None

    @property
    def folders(self) -> None:
        return None


def test_pauses_are_told_with_the_wait_that_was_asked_for() -> None:
    """Whoever shares the host hears of each pause, and of `Retry-After` where there was one."""
    told: list[tuple[str, float | None]] = []
    faulty = FaultyStore(MemoryStore("images"))
    faulty.plan("stat", Fault(error=Unavailable("images", "a", "busy", 7.0)))
    store = RetryingStore(
        faulty,
        Patience(),
        sleep=lambda _: None,
        on_pause=lambda identity, seconds: told.append((identity, seconds)),
    )
    store.write("a", b"x")

    store.stat("a")

    assert told == [(store.identity, 7.0)]
