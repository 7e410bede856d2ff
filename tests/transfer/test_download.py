"""Folders of objects become folders of files."""

from __future__ import annotations

import errno
import os
import threading
from functools import partial
from pathlib import Path

import pytest

from datastores.errors import (
    AlreadyExists,
    Corrupted,
    CredentialExpired,
    DatastoresError,
    DefinitionRejected,
    NameRejected,
    NotFound,
    PermissionDenied,
    TransferFailed,
    Unavailable,
)
from datastores.storage.contract import ObjectInfo
from datastores.storage.memory import MemoryStore
from datastores.transfer import (
    Integrity,
    Limits,
    Options,
    Overwrite,
    Summary,
    download,
    load_failures,
)
from datastores.transfer.planning import Fetch, LocalState, Refuse, plan_download
from tests.contracts.faulty_store import Fault, FaultyStore
from tests.transfer.folder import files_in, hidden_in


def filled(**objects: bytes) -> MemoryStore:
    """A store with these objects; `__` in a name is a slash."""
    store = MemoryStore()
    for name, body in objects.items():
        store.write(name.replace("__", "/"), body)
    return store


def counts(summary: Summary) -> tuple[int, int, int]:
    """Moved, skipped and failed files."""
    return summary.moved, summary.skipped, summary.failed


def _fetch(store: MemoryStore, target: Path) -> None:
    """Somebody else downloads the same."""
    download(store, "", target)


class TestPlaces:
    def test_a_place_is_the_folder_and_never_a_longer_name(self, tmp_path: Path) -> None:
        """`foo` brings `foo/...` and not `foobar`."""
        store = filled(foo__a=b"1", foo__b__c=b"2", foobar=b"3", foobar__d=b"4")

        summary = download(store, "foo", tmp_path)

        assert counts(summary) == (2, 0, 0)
        assert files_in(tmp_path) == {"foo/a": b"1", "foo/b/c": b"2"}

    def test_a_place_may_be_one_file(self, tmp_path: Path) -> None:
        """A place that is an object brings that object, whatever shares its beginning."""
        store = filled(foo=b"1", foobar=b"2")

        download(store, "foo", tmp_path, strip="foo")

        assert files_in(tmp_path) == {"foo": b"1"}

    def test_one_object_can_be_given_a_name(self, tmp_path: Path) -> None:
        """With a name, one object arrives under it, whatever lies below the object."""
        store = filled(a__foo=b"1", a__foo__b=b"2", a__foobar=b"3")

        first = download(store, "a/foo", tmp_path, name="x/bar")
        second = download(store, "a/foo", tmp_path, name="x/bar")

        assert (counts(first), counts(second)) == ((1, 0, 0), (0, 1, 0))
        assert files_in(tmp_path) == {"x/bar": b"1"}

    def test_a_name_is_for_one_object(self, tmp_path: Path) -> None:
        """A folder cannot be given a name, nor can a choice of files, and a name cannot climb."""
        store = filled(a__b=b"1")

        with pytest.raises(NotFound):
            download(store, "a", tmp_path, name="x")
        with pytest.raises(DefinitionRejected):
            download(store, "a", tmp_path, name="x", options=Options(only=("b",)))
        with pytest.raises(TransferFailed, match="cannot be the name of a local file"):
            download(store, "a/b", tmp_path, name="../x")

        assert files_in(tmp_path) == {}

    def test_strip_shortens_local_names(self, tmp_path: Path) -> None:
        """With the place stripped, names are relative to it."""
        store = filled(a__b__c=b"1", a__b__d__e=b"2")

        download(store, "a/b", tmp_path, strip="a/b")

        assert files_in(tmp_path) == {"c": b"1", "d/e": b"2"}

    def test_an_empty_place_is_an_empty_summary(self, tmp_path: Path) -> None:
        """Nothing at the place is no error and no files."""
        summary = download(filled(a=b"1"), "nowhere", tmp_path)

        assert (summary.found, files_in(tmp_path)) == (0, {})

    def test_folder_markers_become_folders(self, tmp_path: Path) -> None:
        """An empty object whose key ends in a slash is an empty local folder."""
        store = MemoryStore()
        store.write("empty/", b"")

        download(store, "", tmp_path)

        assert ((tmp_path / "empty").is_dir(), files_in(tmp_path)) == (True, {})


class TestOverwriting:
    def test_unchanged_files_are_not_read_again(self, tmp_path: Path) -> None:
        """A second download of the same folder reads no object."""
        store = FaultyStore(filled(a=b"1", b=b"2"))
        download(store, "", tmp_path)

        summary = download(store, "", tmp_path)

        assert (counts(summary), store.count("read")) == ((0, 2, 0), 2)

    def test_a_new_version_is_fetched(self, tmp_path: Path) -> None:
        """An object of equal length and another version replaces the file."""
        store = filled(a=b"1", b=b"2")
        download(store, "", tmp_path)
        store.write("a", b"3")

        summary = download(store, "", tmp_path)

        assert (counts(summary), files_in(tmp_path)) == ((1, 1, 0), {"a": b"3", "b": b"2"})

    def test_a_locally_changed_file_is_fetched_again(self, tmp_path: Path) -> None:
        """A file that somebody rewrote is not taken for the downloaded one."""
        store = filled(a=b"1")
        download(store, "", tmp_path)
        (tmp_path / "a").write_bytes(b"x")
        os.utime(tmp_path / "a", ns=(1, 1))

        download(store, "", tmp_path)

        assert files_in(tmp_path) == {"a": b"1"}

    def test_a_file_of_another_store_is_no_proof(self, tmp_path: Path) -> None:
        """Records of one store do not vouch for another with the same versions."""
        download(filled(a=b"1"), "", tmp_path)

        download(filled(a=b"2"), "", tmp_path)

        assert files_in(tmp_path) == {"a": b"2"}

    def test_skip_existing_goes_by_name_alone(self, tmp_path: Path) -> None:
        """As Azure ML's overwrite=False: whatever has the name stays."""
        (tmp_path / "a").write_bytes(b"mine")

        summary = download(
            filled(a=b"1", b=b"2"), "", tmp_path, options=Options(overwrite=Overwrite.SKIP_EXISTING)
        )

        assert (counts(summary), files_in(tmp_path)) == ((1, 1, 0), {"a": b"mine", "b": b"2"})

    def test_always_means_always(self, tmp_path: Path) -> None:
        """With ALWAYS even unchanged files are fetched."""
        store = filled(a=b"1")
        download(store, "", tmp_path)

        summary = download(store, "", tmp_path, options=Options(overwrite=Overwrite.ALWAYS))

        assert counts(summary) == (1, 0, 0)

    def test_what_another_process_recorded_meanwhile_counts(self, tmp_path: Path) -> None:
        """A file that somebody else finished after this download began is not fetched again."""
        store = filled(a=b"1")
        again = FaultyStore(store)
        again.plan("list", Fault(after=partial(_fetch, store, tmp_path)))

        summary = download(again, "", tmp_path)

        assert (counts(summary), again.count("read")) == ((0, 1, 0), 0)

    def test_lost_records_cost_only_a_fetch(self, tmp_path: Path) -> None:
        """Garbage in the record file is ignored and written over."""
        store = filled(a=b"1")
        download(store, "", tmp_path)
        (tmp_path / ".datastores-records").write_bytes(b"\0garbage\nmore")

        first = download(store, "", tmp_path)
        second = download(store, "", tmp_path)

        assert (counts(first), counts(second)) == ((1, 0, 0), (0, 1, 0))


class TestChoosing:
    def test_globs_choose_and_exclusion_wins(self, tmp_path: Path) -> None:
        """Only names that an include admits and no exclude names are fetched."""
        store = filled(a__x_txt=b"1", a__y_txt=b"2", b_log=b"3", tmp__x_txt=b"4")

        download(
            store, "", tmp_path, options=Options(include=("*_txt",), exclude=("tmp/", "a/y_txt"))
        )

        assert files_in(tmp_path) == {"a/x_txt": b"1"}

    def test_a_dry_run_touches_nothing(self, tmp_path: Path) -> None:
        """A dry run says what would be done, reads no object and leaves no file."""
        store = FaultyStore(filled(a=b"1"))

        summary = download(store, "", tmp_path / "new", options=Options(dry_run=True))

        assert (summary.found, summary.moved, store.count("read")) == (1, 0, 0)
        assert list(tmp_path.iterdir()) == []

    def test_sync_deletes_only_when_asked(self, tmp_path: Path) -> None:
        """Files the store does not have go with `delete` and stay without it; excluded ones stay."""
        store = filled(a=b"1")
        (tmp_path / "old").write_bytes(b"x")
        (tmp_path / "keep.log").write_bytes(b"x")

        download(store, "", tmp_path)
        before = files_in(tmp_path)
        summary = download(store, "", tmp_path, options=Options(delete=True, exclude=("*.log",)))

        assert before == {"a": b"1", "old": b"x", "keep.log": b"x"}
        assert (summary.deleted, files_in(tmp_path)) == (1, {"a": b"1", "keep.log": b"x"})

    @pytest.mark.parametrize("dry_run", [True, False])
    @pytest.mark.parametrize(
        ("place", "error"), [("one", DefinitionRejected), ("typo", NotFound), ("", NotFound)]
    )
    def test_sync_deletes_nothing_without_a_source_folder(
        self, tmp_path: Path, place: str, error: type[Exception], dry_run: bool
    ) -> None:
        """A single object, a place with nothing in it and an empty store are refused by name."""
        store = filled(one=b"1") if place else MemoryStore()
        (tmp_path / "old").write_bytes(b"x")
        options = Options(delete=True, dry_run=dry_run)

        with pytest.raises(error, match=place or "memory"):
            download(store, place, tmp_path, strip=place, options=options)

        assert files_in(tmp_path) == {"old": b"x"}

    def test_sync_deletes_only_below_the_place(self, tmp_path: Path) -> None:
        """Where local names keep the place, files beside it are no part of the copy and stay."""
        for name in ("a/old", "ab/mine", "mine"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(b"x")

        download(filled(a__b=b"1"), "a", tmp_path, options=Options(delete=True))

        assert files_in(tmp_path) == {"a/b": b"1", "ab/mine": b"x", "mine": b"x"}

    def test_only_and_delete_contradict_each_other(self) -> None:
        """Options that would delete what was not looked at cannot be made."""
        with pytest.raises(DefinitionRejected, match="only"):
            Options(delete=True, only=("a",))

    def test_a_failure_prevents_deletion(self, tmp_path: Path) -> None:
        """A sync in which a file failed deletes nothing."""
        store = FaultyStore(filled(a=b"1")).plan("read", Fault(error=Unavailable("s", "a")))
        (tmp_path / "old").write_bytes(b"x")

        with pytest.raises(TransferFailed):
            download(store, "", tmp_path, options=Options(delete=True))

        assert files_in(tmp_path) == {"old": b"x"}


class TestNames:
    def test_names_are_asked_for_at_once(self, tmp_path: Path) -> None:
        """Questions about named files do not wait for one another."""
        together = threading.Barrier(4)

        class Meeting(MemoryStore):
            def stat(self, key: str) -> ObjectInfo:
                together.wait(30)
                return super().stat(key)

        store = Meeting()
        names = tuple("abcd")
        for name in names:
            store.write(name, b"1")

        summary = download(store, "", tmp_path, options=Options(only=names))

        assert counts(summary) == (4, 0, 0)


class TestFailures:
    def test_every_failure_is_named_and_the_rest_is_complete(self, tmp_path: Path) -> None:
        """The call ends with an error that lists each failed file; the others have arrived."""
        lost = NotFound("memory", "b")
        store = FaultyStore(filled(a=b"1", b=b"2", c=b"3")).plan("read", Fault(error=lost), nth=2)

        with pytest.raises(TransferFailed) as failed:
            download(store, "", tmp_path, options=Options(limits=Limits(streams=1)))

        assert [error for _, error in failed.value.failures] == [lost]
        summary: Summary = failed.value.summary  # type: ignore[assignment]  # it is one of ours
        assert counts(summary) == (2, 0, 1)
        assert len(files_in(tmp_path)) == 2
        assert hidden_in(tmp_path) == [".datastores-failed.json"]

    def test_failed_files_can_be_tried_alone(self, tmp_path: Path) -> None:
        """The remembered failures name what a later call has to do; success forgets them."""
        store = FaultyStore(filled(a=b"1", b=b"2")).plan("read", Fault(error=Unavailable("s", "a")))
        with pytest.raises(TransferFailed):
            download(store, "", tmp_path)

        names = load_failures(tmp_path)
        summary = download(store, "", tmp_path, options=Options(only=names))

        assert (names is not None and len(names), counts(summary)) == (1, (1, 0, 0))
        assert store.count("list") == 2  # one page and its end, by the first call
        assert (load_failures(tmp_path), files_in(tmp_path)) == ((), {"a": b"1", "b": b"2"})

    def test_a_named_file_that_cannot_be_asked_for_fails_alone(self, tmp_path: Path) -> None:
        """Of several names, one that the store will not tell about is that file's failure."""
        denied = PermissionDenied("s", "a")
        store = FaultyStore(filled(a=b"1", b=b"2")).plan("stat", Fault(error=denied))

        with pytest.raises(TransferFailed) as failed:
            download(store, "", tmp_path, options=Options(only=("a", "b")))

        (lost, error), *others = failed.value.failures
        assert (error, others) == (denied, [])
        assert sorted([lost, *files_in(tmp_path)]) == ["a", "b"]

    def test_a_short_answer_is_damage(self, tmp_path: Path) -> None:
        """A body that ends early leaves no file under the name."""
        store = FaultyStore(filled(a=b"0123456789")).plan("read", Fault(truncate_at=4))

        with pytest.raises(TransferFailed) as failed:
            download(store, "", tmp_path)

        assert type(failed.value.failures[0][1]) is Corrupted
        assert files_in(tmp_path) == {}

    def test_a_wrong_md5_is_damage(self, tmp_path: Path) -> None:
        """With MD5 asked for, bytes that do not match the declared digest get no name."""
        store = MemoryStore()
        store.stage("a", "1", b"bytes")
        store.commit("a", ["1"], md5=b"0" * 16)

        with pytest.raises(TransferFailed):
            download(store, "", tmp_path, options=Options(integrity=Integrity.MD5))

        assert files_in(tmp_path) == {}

    def test_a_dead_credential_stops_the_transfer(self, tmp_path: Path) -> None:
        """A credential that cannot be renewed ends the call, which does not claim to be complete."""
        store = FaultyStore(filled(**{f"f{n}": b"1" for n in range(500)}))
        store.plan("read", Fault(error=CredentialExpired("s", None, "renew it")), nth=range(3, 900))

        with pytest.raises(TransferFailed) as failed:
            download(store, "", tmp_path, options=Options(limits=Limits(streams=1)))

        assert len(failed.value.failures) == 1
        assert "more files, and what was not listed yet, were not tried" in str(failed.value)
        assert load_failures(tmp_path) is None

    def test_a_listing_that_fails_is_not_a_complete_download(self, tmp_path: Path) -> None:
        """The error of a listing is the error of the call."""
        store = FaultyStore(MemoryStore()).plan("list", Fault(error=Unavailable("s")))

        with pytest.raises(Unavailable):
            download(store, "", tmp_path)


class TestHostileTargets:
    def test_names_that_climb_are_refused(self, tmp_path: Path) -> None:
        """A key with `..` writes nothing outside the target and fails by name."""
        store = MemoryStore()
        store.write("../evil", b"x")
        store.write("a/../../evil", b"x")
        store.write("good", b"1")

        with pytest.raises(TransferFailed) as failed:
            download(store, "", tmp_path / "t")

        assert sorted(name for name, _ in failed.value.failures) == ["../evil", "a/../../evil"]
        assert files_in(tmp_path) == {"t/good": b"1"}

    @pytest.mark.parametrize(
        "name",
        [
            ".datastores-records",
            ".datastores-failed.json",
            ".good.datastores-part",
            "a/.x.datastores-journal",
            ".good.datastores-part/x",
            ".Datastores-Records",
        ],
    )
    def test_names_of_the_engine_are_refused(self, tmp_path: Path, name: str) -> None:
        """An object named like the engine's own files fails by name and does not replace them."""
        store = MemoryStore()
        store.write(name, b"evil")
        store.write("good", b"1")

        with pytest.raises(TransferFailed) as failed:
            download(store, "", tmp_path)

        assert [(n, type(e)) for n, e in failed.value.failures] == [(name, NameRejected)]
        assert files_in(tmp_path) == {"good": b"1"}
        assert hidden_in(tmp_path) == [".datastores-failed.json"]
        assert load_failures(tmp_path) == (name,)

    def test_a_target_that_is_a_file_is_refused(self, tmp_path: Path) -> None:
        """A file where the folder should be is named in the error and stays."""
        target = tmp_path / "t"
        target.write_bytes(b"mine")

        with pytest.raises(AlreadyExists, match="a file stands where a folder is needed"):
            download(filled(a=b"1"), "", target)

        assert target.read_bytes() == b"mine"

    def test_no_permission_is_said(self) -> None:
        """A folder that cannot be made is an error of ours with the path."""
        with pytest.raises(DatastoresError, match="/sys/kernel/mine"):
            download(filled(a=b"1"), "", Path("/sys/kernel/mine"))

    def test_a_name_too_long_fails_alone(self, tmp_path: Path) -> None:
        """A segment of 256 bytes fails by name, one of 255 arrives."""
        store = MemoryStore()
        store.write("x" * 256, b"1")
        store.write("é" * 127 + "e", b"2")

        with pytest.raises(TransferFailed) as failed:
            download(store, "", tmp_path)

        assert [type(error) for _, error in failed.value.failures] == [NameRejected]
        assert files_in(tmp_path) == {"é" * 127 + "e": b"2"}

    def test_an_empty_object_makes_way_for_its_folder(self, tmp_path: Path) -> None:
        """`a` empty beside `a/b` is a marker; the folder wins whatever comes first."""
        store = filled(a=b"", a__b=b"1")

        download(store, "", tmp_path, options=Options(limits=Limits(streams=1)))

        assert files_in(tmp_path) == {"a/b": b"1"}

    def test_a_file_beside_a_folder_of_its_name_is_reported(self, tmp_path: Path) -> None:
        """`a` with bytes beside `a/b` cannot be had on a disk: one of them fails by name."""
        store = filled(a=b"file", a__b=b"1")

        with pytest.raises(TransferFailed) as failed:
            download(store, "", tmp_path, options=Options(limits=Limits(streams=1)))

        assert [name for name, _ in failed.value.failures] == ["a/b"]

    def test_a_folder_in_the_way_is_reported(self, tmp_path: Path) -> None:
        """A local folder with the name of an object is neither replaced nor taken for the file."""
        (tmp_path / "a").mkdir()

        for overwrite in Overwrite:
            with pytest.raises(TransferFailed, match="a folder stands where the file belongs"):
                download(filled(a=b"1"), "", tmp_path, options=Options(overwrite=overwrite))

        assert hidden_in(tmp_path) == [".datastores-failed.json"]

    def test_names_that_differ_in_case_clash_where_case_is_ignored(self, tmp_path: Path) -> None:
        """On a target that ignores case the second spelling is refused instead of overwriting."""
        store = filled(A=b"1", a=b"2")
        local = LocalState(tmp_path, lambda _: None, lambda _: None, case_insensitive=True)
        listing = [info for page in store.list() for info in page.objects]

        steps = list(plan_download(listing, "", local, "id", Options()))

        assert [type(step) for step in steps] == [Fetch, Refuse]

    @pytest.mark.parametrize("name", ["con", "NUL.txt", "a:b", "end.", "end ", "x|y", "a\\b"])
    def test_portable_names_refuse_what_windows_cannot_hold(
        self, tmp_path: Path, name: str
    ) -> None:
        """With portable names wanted, a name Windows cannot hold fails; otherwise it arrives."""
        store = MemoryStore()
        store.write(name, b"1")

        download(store, "", tmp_path / "linux")
        with pytest.raises(TransferFailed):
            download(store, "", tmp_path / "any", options=Options(portable_names=True))

        assert files_in(tmp_path) == {f"linux/{name}": b"1"}

    def test_times_are_kept_when_asked(self, tmp_path: Path) -> None:
        """With preserve_mtime a file has the object's time, the writer's own note first."""
        store = MemoryStore()
        store.write("a", b"1", metadata={"datastores_mtime_ns": "1600000000123456789"})
        written = store.write("b", b"2")

        download(store, "", tmp_path, options=Options(preserve_mtime=True))

        times = {name: (tmp_path / name).stat().st_mtime_ns for name in ("a", "b")}
        assert times == {"a": 1600000000123456789, "b": written.modified_ns}

    def test_too_little_space_is_found_before_the_first_byte(self, tmp_path: Path) -> None:
        """A listing larger than the disk is refused, with what is needed and what is free."""
        from tests.transfer.synthetic import SyntheticStore

        store = SyntheticStore(count=3, size=1 << 60)

        with pytest.raises(DatastoresError, match="are free"):
            download(store, "n", tmp_path)

        assert (store.bytes_read, files_in(tmp_path)) == (0, {})

    def test_a_broken_disk_is_an_error_of_ours(self, tmp_path: Path) -> None:
        """A file whose folder turns out to be a file fails with its name, not with a traceback."""
        (tmp_path / "a").write_bytes(b"mine")

        with pytest.raises(TransferFailed) as failed:
            download(filled(a__b=b"1"), "", tmp_path)

        error = failed.value.failures[0][1]
        assert isinstance(error, AlreadyExists)
        assert getattr(error.__cause__, "errno", None) in (errno.ENOTDIR, errno.EEXIST)
