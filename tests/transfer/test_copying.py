"""Objects of one store become objects of another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from datastores.errors import (
    DefinitionRejected,
    NotFound,
    PermissionDenied,
    PreconditionFailed,
    TransferFailed,
    Unsupported,
)
from datastores.storage.contract import Page
from datastores.storage.local import LocalStore
from datastores.storage.memory import MemoryStore
from datastores.transfer import Limits, Options, Overwrite, copy
from datastores.transfer.ranges import SMALLEST
from tests.contracts.faulty_store import Fault, FaultyStore
from tests.transfer.folder import objects_in
from tests.transfer.synthetic import SyntheticStore, content

SIZE = 2 * SMALLEST + 99
ONE = Options(limits=Limits(streams=1))
SYNC = Options(delete=True)


def filled(**objects: bytes) -> MemoryStore:
    store = MemoryStore()
    for name, body in objects.items():
        store.write(name.replace("__", "/"), body, metadata={"who": "me"})
    return store


class Blurred(FaultyStore):
    """A store whose listing carries no versions and an old size, and which signs nothing."""

    def __init__(self, inner: MemoryStore, listed_size: int) -> None:
        super().__init__(inner)
        self._listed_size = listed_size

    @property
    def copying(self) -> None:
        return None

    def list(self, prefix: str = "") -> Iterator[Page]:
        for page in super().list(prefix):
            yield Page([replace(o, size=self._listed_size, version=None) for o in page.objects])


def rewrite(store: MemoryStore, body: bytes) -> None:
    """Somebody else changes the object."""
    store.write("big", body)


def test_a_folder_is_copied_by_the_service(tmp_path: Path) -> None:
    """Between stores that can, no byte passes through here."""
    source = FaultyStore(filled(a__b=b"1", a__c__d=b"2", ab=b"3"))
    target = MemoryStore()

    summary = copy(source, "a", target, "to")

    assert (summary.moved, source.count("read")) == (2, 0)
    assert objects_in(target) == {"to/b": b"1", "to/c/d": b"2"}


def test_a_file_goes_to_the_place_itself() -> None:
    """Copying one object gives it the target's name."""
    store = filled(a=b"1")

    copy(store, "a", store, "b/c")

    assert objects_in(store) == {"a": b"1", "b/c": b"1"}


def test_an_object_the_service_refuses_is_streamed_alone() -> None:
    """Its bytes and metadata go through here; the services go on copying the others."""
    source = FaultyStore(filled(a=b"1", b=b"2"))
    target = FaultyStore(MemoryStore()).plan("copy_from", Fault(error=Unsupported("t")))

    copy(source, "", target, "", options=ONE)

    assert (target.count("copy_from"), source.count("read")) == (2, 1)
    assert objects_in(target) == {"a": b"1", "b": b"2"}
    assert target.stat("a").metadata == {"who": "me"}


def test_a_service_that_refuses_everything_is_asked_no_more() -> None:
    """After eight refusals in a row the rest is streamed without asking."""
    source = FaultyStore(filled(**{f"o{n:02}": b"1" for n in range(20)}))
    refusal = Fault(error=Unsupported("t"))
    target = FaultyStore(MemoryStore()).plan("copy_from", refusal, nth=range(1, 30))

    copy(source, "", target, "", options=ONE)

    assert (target.count("copy_from"), source.count("read")) == (8, 20)


def test_a_source_that_grew_after_its_listing_is_said_to_have_changed() -> None:
    """A service copy of another size than listed fails as changed, not as damaged."""
    inner = filled(big=b"1")
    store = FaultyStore(inner).plan("stat", Fault(after=partial(rewrite, inner, b"longer")))

    with pytest.raises(TransferFailed) as failed:
        copy(store, "big", store, "other", options=Options(overwrite=Overwrite.ALWAYS))

    assert [type(error) for _, error in failed.value.failures] == [PreconditionFailed]


@pytest.mark.parametrize("overwrite", list(Overwrite))
def test_a_large_object_that_became_empty_is_an_empty_object(overwrite: Overwrite) -> None:
    """An object without blocks by the time it is copied is completed all the same."""
    inner = MemoryStore()
    inner.write("big", b"")
    source = Blurred(inner, listed_size=SIZE)
    target = MemoryStore()

    summary = copy(source, "", target, "", options=Options(overwrite=overwrite))

    assert (summary.moved, objects_in(target)) == (1, {"big": b""})


def test_large_objects_are_streamed_in_blocks_of_one_version() -> None:
    """A large object crosses in parallel blocks and arrives whole."""
    source = SyntheticStore(count=1, size=SIZE)
    target = FaultyStore(MemoryStore())

    copy(source, "n", target, "to")

    assert target.count("stage") == 3
    assert objects_in(target) == {"to/0000000": content(0, SIZE)}


def test_an_object_that_changes_midway_is_not_mixed() -> None:
    """A source that changes between two blocks fails by name and makes no object."""
    inner = MemoryStore()
    inner.write("big", content(0, SIZE))
    change = Fault(after=partial(rewrite, inner, bytes(SIZE)))
    source = FaultyStore(inner).plan("read", change)
    target = FaultyStore(MemoryStore()).plan("copy_from", Fault(error=Unsupported("t")))

    with pytest.raises(TransferFailed) as failed:
        copy(source, "", target, "", options=Options(limits=Limits(streams=1)))

    assert [type(error) for _, error in failed.value.failures] == [PreconditionFailed]
    assert objects_in(target) == {}


def test_a_store_without_powers_takes_a_stream(tmp_path: Path) -> None:
    """Large and small objects reach a folder of this machine."""
    source = filled(small=b"1", big=content(0, SIZE))

    copy(source, "", LocalStore("local", tmp_path), "")

    assert ((tmp_path / "small").read_bytes(), (tmp_path / "big").read_bytes()) == (
        b"1",
        content(0, SIZE),
    )


def test_policies_decide_about_what_is_there() -> None:
    """SKIP_EXISTING keeps any object, CHANGED keeps copies no older than their source."""
    source = filled(a=b"1", b=b"2")
    target = MemoryStore()
    copy(source, "", target, "", options=Options(limits=Limits(streams=1)))

    unchanged = copy(source, "", target, "")
    source.write("a", b"11")
    skipped = copy(source, "", target, "", options=Options(overwrite=Overwrite.SKIP_EXISTING))
    changed = copy(source, "", target, "")

    assert [summary.moved for summary in (unchanged, skipped, changed)] == [0, 0, 1]
    assert objects_in(target) == {"a": b"11", "b": b"2"}


def test_a_target_of_many_pages_is_listed_once() -> None:
    """Whether many objects are copied already is told by a listing, not by a question each."""
    source = filled(**{f"o{n:03}": b"1" for n in range(300)})
    target = FaultyStore(MemoryStore(page_size=100))
    # In order: this store's clock counts writes, and what is older than its source goes again.
    copy(source, "", target, "to", options=Options(limits=Limits(streams=1)))
    before = target.count("stat")

    again = copy(source, "", target, "to")

    assert (again.moved, again.skipped, target.count("stat") - before) == (0, 300, 0)


def test_sync_between_stores_deletes_only_when_asked() -> None:
    """Objects the source does not have go with `delete`."""
    source, target = filled(p__a=b"1"), filled(q__old=b"x", qq=b"y")

    copy(source, "p", target, "q", options=Options(delete=True))

    assert objects_in(target) == {"q/a": b"1", "qq": b"y"}


@pytest.mark.parametrize(("place", "error"), [("one", DefinitionRejected), ("typo", NotFound)])
def test_sync_deletes_nothing_without_a_source_folder(place: str, error: type[Exception]) -> None:
    """A single object and an empty place are refused by name before anything is deleted."""
    source, target = filled(one=b"1"), filled(q__old=b"x")

    with pytest.raises(error, match=place):
        copy(source, place, target, "q", options=SYNC)

    assert objects_in(target) == {"q/old": b"x"}


def test_a_delete_that_fails_is_a_failure_of_that_object() -> None:
    """Surplus objects are deleted one by one; those that cannot be are named."""
    source, inner = filled(p__a=b"1"), filled(q__b=b"x", q__c=b"x")
    target = FaultyStore(inner).plan("delete", Fault(error=PermissionDenied("t", "q/b")))

    with pytest.raises(TransferFailed) as failed:
        copy(source, "p", target, "q", options=replace(ONE, delete=True))

    assert [name for name, _ in failed.value.failures] == ["b"]
    assert objects_in(inner) == {"q/a": b"1", "q/b": b"x"}


@pytest.mark.parametrize(
    ("source", "target", "options"),
    [("a", "a/z", Options()), ("", "z", Options()), ("a/b", "a", SYNC), ("a", "", SYNC)],
)
def test_a_copy_into_itself_is_refused(source: str, target: str, options: Options) -> None:
    """In one store a copy neither reads what it writes nor deletes what it reads."""
    store = filled(a__b__c=b"1")

    with pytest.raises(DefinitionRejected, match="its own source"):
        copy(store, source, store, target, options=options)

    assert objects_in(store) == {"a/b/c": b"1"}
