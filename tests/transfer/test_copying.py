"""Objects of one store become objects of another."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from datastores.errors import PreconditionFailed, TransferFailed, Unsupported
from datastores.storage.local import LocalStore
from datastores.storage.memory import MemoryStore
from datastores.transfer import Limits, Options, Overwrite, copy
from datastores.transfer.ranges import SMALLEST
from tests.contracts.faulty_store import Fault, FaultyStore
from tests.transfer.folder import objects_in
from tests.transfer.synthetic import SyntheticStore, content

SIZE = 2 * SMALLEST + 99


def filled(**objects: bytes) -> MemoryStore:
    store = MemoryStore()
    for name, body in objects.items():
        store.write(name.replace("__", "/"), body, metadata={"who": "me"})
    return store


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


def test_a_refused_service_copy_is_streamed() -> None:
    """When the service will not copy, the bytes and the metadata go through here."""
    source = FaultyStore(filled(a=b"1", b=b"2"))
    target = FaultyStore(MemoryStore()).plan("copy_from", Fault(error=Unsupported("t")))

    copy(source, "", target, "", options=Options(limits=Limits(streams=1)))

    assert (target.count("copy_from"), source.count("read")) == (1, 2)
    assert objects_in(target) == {"a": b"1", "b": b"2"}
    assert target.stat("a").metadata == {"who": "me"}


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


def test_sync_between_stores_deletes_only_when_asked() -> None:
    """Objects the source does not have go with `delete`."""
    source, target = filled(p__a=b"1"), filled(q__old=b"x", qq=b"y")

    copy(source, "p", target, "q", options=Options(delete=True))

    assert objects_in(target) == {"q/a": b"1", "qq": b"y"}
