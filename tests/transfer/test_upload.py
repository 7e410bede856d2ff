"""Local files become objects."""

from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path

import pytest

from datastores.errors import (
    DefinitionRejected,
    NameRejected,
    NotFound,
    PreconditionFailed,
    TransferFailed,
    Unavailable,
    Unsupported,
)
from datastores.storage.contract import Patience
from datastores.storage.local import LocalStore
from datastores.storage.memory import MemoryStore
from datastores.storage.retrying import RetryingStore
from datastores.transfer import (
    Limits,
    Options,
    Overwrite,
    Source,
    Summary,
    Symlinks,
    download,
    load_failures,
    upload,
    upload_files,
)
from datastores.transfer.ranges import SMALLEST
from tests.contracts.faulty_store import Fault, FaultyStore
from tests.transfer.folder import files_in, objects_in
from tests.transfer.synthetic import content

SIZE = 4 * SMALLEST + 12345
ONE = Limits(streams=1)


def tree(root: Path, **files: bytes) -> Path:
    """A folder with these files; `__` in a name is a slash."""
    for name, body in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    return root


def counts(summary: Summary) -> tuple[int, int, int]:
    return summary.moved, summary.skipped, summary.failed


class TestFolders:
    def test_a_folder_arrives_below_the_place(self, tmp_path: Path) -> None:
        """Every file of the folder is an object below the place, empty ones too."""
        store = MemoryStore()

        summary = upload(store, tree(tmp_path, a=b"1", b__c=b"", b__d__e=b"3"), "to/here")

        assert counts(summary) == (3, 0, 0)
        assert objects_in(store) == {"to/here/a": b"1", "to/here/b/c": b"", "to/here/b/d/e": b"3"}

    def test_a_source_that_is_no_folder_is_refused(self, tmp_path: Path) -> None:
        """A missing folder and a file in its place are both refused by name."""
        (tmp_path / "f").write_bytes(b"1")

        for name in ("f", "missing"):
            with pytest.raises(NotFound, match=name):
                upload(MemoryStore(), tmp_path / name, "")

    def test_files_are_named_relative_to_what_they_share(self, tmp_path: Path) -> None:
        """Without a relative root, names start below the files' common folder."""
        tree(tmp_path, a__b__c=b"1", a__d=b"2")
        store = MemoryStore()

        upload_files(store, [tmp_path / "a/b/c", tmp_path / "a/d"], "p")

        assert objects_in(store) == {"p/b/c": b"1", "p/d": b"2"}

    def test_a_file_outside_the_relative_root_is_refused(self, tmp_path: Path) -> None:
        """A root that merely resembles the beginning of the path does not count."""
        tree(tmp_path, ab__c=b"1")

        with pytest.raises(NameRejected):
            upload_files(MemoryStore(), [tmp_path / "ab/c"], "", relative_root=tmp_path / "a")

    def test_globs_and_engine_files(self, tmp_path: Path) -> None:
        """Excluded files and the engine's own hidden files stay here."""
        tree(tmp_path, a=b"1", b=b"2")
        (tmp_path / ".x.datastores-part").write_bytes(b"half")
        (tmp_path / ".datastores-records").write_bytes(b"")
        store = MemoryStore()

        upload(store, tmp_path, "", options=Options(exclude=("b",)))

        assert objects_in(store) == {"a": b"1"}

    def test_a_dry_run_sends_nothing(self, tmp_path: Path) -> None:
        """A dry run counts, writes no object and leaves no file."""
        store = MemoryStore()

        summary = upload(store, tree(tmp_path, a=b"1"), "", options=Options(dry_run=True))

        assert (summary.found, summary.moved, objects_in(store)) == (1, 0, {})
        assert [path.name for path in tmp_path.iterdir()] == ["a"]


class TestOverwriting:
    def test_unchanged_files_are_not_sent_again(self, tmp_path: Path) -> None:
        """A second upload sends only the file that changed, either here or there."""
        tree(tmp_path, a=b"1", b=b"2", c=b"3")
        store = MemoryStore()
        upload(store, tmp_path, "p")
        (tmp_path / "b").write_bytes(b"x")
        os.utime(tmp_path / "b", ns=(1, 1))
        store.write("p/c", b"y")

        summary = upload(store, tmp_path, "p")

        assert counts(summary) == (2, 1, 0)
        assert objects_in(store) == {"p/a": b"1", "p/b": b"x", "p/c": b"3"}

    @pytest.mark.parametrize("page_size", [1, 1000])
    def test_skip_existing_goes_by_name_alone(self, tmp_path: Path, page_size: int) -> None:
        """As Azure ML's overwrite=False, whether one page shows the place or not."""
        tree(tmp_path, a=b"1", b=b"2", c=b"3")
        store = MemoryStore(page_size=page_size)
        store.write("a", b"theirs")
        store.write("z", b"theirs")

        summary = upload(store, tmp_path, "", options=Options(overwrite=Overwrite.SKIP_EXISTING))

        assert counts(summary) == (2, 1, 0)
        assert objects_in(store) == {"a": b"theirs", "b": b"2", "c": b"3", "z": b"theirs"}
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]

    def test_an_empty_place_costs_no_questions(self, tmp_path: Path) -> None:
        """Uploading to a new place asks once, not once per file."""
        store = FaultyStore(MemoryStore())

        upload(store, tree(tmp_path, a=b"1", b=b"2", c=b"3"), "new")

        assert (store.count("stat"), store.count("list")) == (0, 1)

    def test_sync_deletes_only_when_asked(self, tmp_path: Path) -> None:
        """Objects that are not here go with `delete`; excluded ones, markers, other places stay."""
        store = MemoryStore()
        for key in ("p/old", "p/keep.log", "pq", "p/", "p/folder/"):
            store.write(key, b"x")

        upload(
            store,
            tree(tmp_path, a=b"1"),
            "p",
            options=Options(delete=True, exclude=("*.log",)),
        )

        kept = {"p/keep.log": b"x", "pq": b"x", "p/": b"x", "p/folder/": b"x"}
        assert objects_in(store) == {"p/a": b"1"} | kept

    @pytest.mark.parametrize(("files", "questions"), [(300, 0), (3, 3)])
    def test_a_place_of_many_pages_is_listed_when_it_is_worth_it(
        self, tmp_path: Path, files: int, questions: int
    ) -> None:
        """Many files are compared with a listing of several pages, a few are asked for."""
        tree(tmp_path, **{f"f{n:03}": b"1" for n in range(files)})
        inner = MemoryStore(page_size=100)
        for number in range(300):
            inner.write(f"z{number}", b"x")
        upload(inner, tmp_path, "")
        store = FaultyStore(inner)

        summary = upload(store, tmp_path, "")

        assert (counts(summary), store.count("stat")) == ((0, files, 0), questions)

    def test_a_delete_that_fails_asks_for_a_whole_run(self, tmp_path: Path) -> None:
        """An object that could not be deleted is named, and is no file to send again."""
        inner = MemoryStore()
        inner.write("old", b"x")
        store = FaultyStore(inner).plan("delete", Fault(error=Unavailable("s", "old")))

        with pytest.raises(TransferFailed) as failed:
            upload(store, tree(tmp_path, a=b"1"), "", options=Options(delete=True))

        assert [name for name, _ in failed.value.failures] == ["old"]
        assert load_failures(tmp_path) is None

    def test_sync_deletes_nothing_without_a_source_folder(self, tmp_path: Path) -> None:
        """Files given by name and an empty folder are refused before anything is deleted."""
        store, options = MemoryStore(), Options(delete=True)
        store.write("p/old", b"x")
        tree(tmp_path, full__a=b"1")
        (tmp_path / "empty").mkdir()

        with pytest.raises(DefinitionRejected):
            upload(store, [Source(tmp_path / "full/a", "a")], "p", options=options)
        with pytest.raises(NotFound, match="empty"):
            upload(store, tmp_path / "empty", "p", options=options)

        assert objects_in(store) == {"p/old": b"x"}


class TestLinks:
    @pytest.fixture
    def linked(self, tmp_path: Path) -> Path:
        """A folder with a file, links to a file and a folder, and a link back to itself."""
        tree(tmp_path / "s", a=b"1")
        tree(tmp_path / "other", b=b"2")
        (tmp_path / "s/file").symlink_to(tmp_path / "s/a")
        (tmp_path / "s/folder").symlink_to(tmp_path / "other")
        (tmp_path / "other/back").symlink_to(tmp_path / "s")
        return tmp_path / "s"

    def test_links_to_files_are_files_by_default(self, linked: Path) -> None:
        """As os.walk has it: file links are followed, folder links are not."""
        store = MemoryStore()

        upload(store, linked, "")

        assert objects_in(store) == {"a": b"1", "file": b"1"}

    def test_loops_are_found(self, linked: Path) -> None:
        """Following everything ends, and the link that leads back fails by name."""
        store = MemoryStore()

        with pytest.raises(TransferFailed) as failed:
            upload(store, linked, "", options=Options(symlinks=Symlinks.FOLLOW_ALL))

        assert [(n, type(e)) for n, e in failed.value.failures] == [("folder/back", Unsupported)]
        assert objects_in(store) == {"a": b"1", "file": b"1", "folder/b": b"2"}

    def test_links_can_be_skipped_or_refused(self, linked: Path) -> None:
        """SKIP leaves links out, REFUSE fails each of them."""
        store = MemoryStore()

        upload(store, linked, "", options=Options(symlinks=Symlinks.SKIP))
        with pytest.raises(TransferFailed) as failed:
            upload(store, linked, "", options=Options(symlinks=Symlinks.REFUSE))

        assert objects_in(store) == {"a": b"1"}
        assert sorted(name for name, _ in failed.value.failures) == ["file", "folder"]

    def test_special_files_and_dead_links(self, tmp_path: Path) -> None:
        """A socket is skipped, a link to nothing fails, the file beside them arrives."""
        tree(tmp_path, a=b"1")
        (tmp_path / "dead").symlink_to(tmp_path / "nowhere")
        store = MemoryStore()

        with socket.socket(socket.AF_UNIX) as unix:
            unix.bind(os.fspath(tmp_path / "sock"))
            with pytest.raises(TransferFailed) as failed:
                upload(store, tmp_path, "")

        assert [name for name, _ in failed.value.failures] == ["dead"]
        assert objects_in(store) == {"a": b"1"}

    def test_names_stores_would_misread_are_refused(self, tmp_path: Path) -> None:
        """Names that are not UTF-8 or hold a backslash fail by name instead of moving elsewhere."""
        (tmp_path / "a\\b").write_bytes(b"1")
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")).write_bytes(b"2")

        with pytest.raises(TransferFailed) as failed:
            upload(MemoryStore(), tmp_path, "")

        assert [type(error) for _, error in failed.value.failures] == [NameRejected] * 2


class TestLargeFiles:
    def test_blocks_make_the_whole(self, tmp_path: Path) -> None:
        """A large file goes in blocks, and declares the MD5 of the whole when asked to."""
        store = FaultyStore(MemoryStore())
        options = Options(declare_md5=True)

        upload(store, tree(tmp_path, big=content(0, SIZE)), "", options=options)

        assert store.count("stage") == 5
        assert store.stat("big").md5 == hashlib.md5(content(0, SIZE)).digest()
        assert objects_in(store) == {"big": content(0, SIZE)}

    @pytest.mark.parametrize("declare_md5", [True, False])
    def test_an_interrupted_upload_goes_on(self, tmp_path: Path, declare_md5: bool) -> None:
        """Blocks that were sent before a failure are not sent again."""
        inner = MemoryStore()
        tree(tmp_path, big=content(0, SIZE))
        options = Options(limits=ONE, declare_md5=declare_md5)
        faulty = FaultyStore(inner).plan("stage", Fault(error=Unavailable("s", "big")), nth=4)
        with pytest.raises(TransferFailed):
            upload(faulty, tmp_path, "", options=options)
        before = objects_in(inner)
        again = FaultyStore(inner)

        summary = upload(again, tmp_path, "", options=options)

        assert (before, again.count("stage"), summary.resumed_bytes) == ({}, 2, 3 * SMALLEST)
        assert objects_in(inner) == {"big": content(0, SIZE)}

    def test_staged_blocks_of_another_content_are_not_used(self, tmp_path: Path) -> None:
        """A file that changed between two runs is sent anew from its first different block."""
        inner = MemoryStore()
        tree(tmp_path, big=content(0, SIZE))
        faulty = FaultyStore(inner).plan("stage", Fault(error=Unavailable("s", "big")), nth=4)
        with pytest.raises(TransferFailed):
            upload(faulty, tmp_path, "", options=Options(limits=ONE))
        changed = content(0, SMALLEST) + content(7, SIZE - SMALLEST)
        tree(tmp_path, big=changed)

        summary = upload(inner, tmp_path, "")

        assert summary.resumed_bytes == SMALLEST
        assert objects_in(inner) == {"big": changed}

    def test_a_file_that_changes_while_it_is_sent_is_reported(self, tmp_path: Path) -> None:
        """A large file that is written to during its upload never becomes an object."""
        tree(tmp_path, big=content(0, SIZE))
        inner = MemoryStore()
        touch = Fault(after=lambda: os.utime(tmp_path / "big", ns=(5, 5)))
        faulty = FaultyStore(inner).plan("stage", touch, nth=3)

        with pytest.raises(TransferFailed) as failed:
            upload(faulty, tmp_path, "")

        assert [type(error) for _, error in failed.value.failures] == [PreconditionFailed]
        assert objects_in(inner) == {}

    def test_a_store_without_staging_gets_a_stream(self, tmp_path: Path) -> None:
        """Large files reach a store without blocks in one write."""
        tree(tmp_path / "s", big=content(0, SIZE))
        (tmp_path / "t").mkdir()
        store = LocalStore("local", tmp_path / "t")

        upload(store, tmp_path / "s", "")

        assert objects_in(store) == {"big": content(0, SIZE)}

    def test_a_stream_that_broke_is_sent_again(self, tmp_path: Path) -> None:
        """A store without blocks that is away for a moment gets the whole file again."""
        tree(tmp_path / "s", big=content(0, SIZE))
        (tmp_path / "t").mkdir()
        inner = LocalStore("local", tmp_path / "t")
        away = Fault(error=Unavailable("local", "big", retry_after_seconds=0.01))
        faulty = FaultyStore(inner).plan("write", away)

        summary = upload(RetryingStore(faulty, Patience()), tmp_path / "s", "")

        assert (summary.moved, faulty.count("write")) == (1, 2)
        assert objects_in(inner) == {"big": content(0, SIZE)}

    def test_times_travel_both_ways(self, tmp_path: Path) -> None:
        """With preserve_mtime a file comes back with the time it left with."""
        tree(tmp_path / "s", small=b"1", big=content(0, SIZE))
        stamps = {"small": 1_500_000_000_123_456_789, "big": 1_400_000_000_000_000_001}
        for name, stamp in stamps.items():
            os.utime(tmp_path / "s" / name, ns=(stamp, stamp))
        store = MemoryStore()

        upload(store, tmp_path / "s", "", options=Options(preserve_mtime=True))
        download(store, "", tmp_path / "t", options=Options(preserve_mtime=True))

        got = {name: (tmp_path / "t" / name).stat().st_mtime_ns for name in stamps}
        assert (got, files_in(tmp_path / "t")) == (stamps, files_in(tmp_path / "s"))


class TestFailures:
    def test_a_file_that_vanished_fails_alone(self, tmp_path: Path) -> None:
        """A named file that is gone fails by name; the others arrive."""
        tree(tmp_path, a=b"1")
        store = MemoryStore()

        with pytest.raises(TransferFailed) as failed:
            upload(
                store,
                [Source(tmp_path / "a", "a"), Source(tmp_path / "gone", "gone")],
                "",
            )

        assert [(n, type(e)) for n, e in failed.value.failures] == [("gone", NotFound)]
        assert objects_in(store) == {"a": b"1"}

    def test_failed_files_can_be_tried_alone(self, tmp_path: Path) -> None:
        """The remembered names are all that a retry sends."""
        tree(tmp_path, a=b"1", b=b"2", c=b"3")
        inner = MemoryStore()
        faulty = FaultyStore(inner).plan("write", Fault(error=Unavailable("s", "x")), nth=2)
        with pytest.raises(TransferFailed):
            upload(faulty, tmp_path, "", options=Options(limits=ONE))
        again = FaultyStore(inner)

        upload(again, tmp_path, "", options=Options(only=load_failures(tmp_path)))

        assert again.count("write") == 1
        assert objects_in(inner) == {"a": b"1", "b": b"2", "c": b"3"}

    def test_keys_too_long_for_the_store_fail_alone(self, tmp_path: Path) -> None:
        """A key beyond the store's limit fails before anything is sent for it."""
        store = MemoryStore()

        with pytest.raises(TransferFailed) as failed:
            upload(store, tree(tmp_path, a=b"1"), "x" * 1100)

        assert [type(error) for _, error in failed.value.failures] == [NameRejected]
