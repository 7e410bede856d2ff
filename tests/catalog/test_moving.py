"""Upload and download with Azure ML's signatures, return values and lines."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from datastores import DataReference, Datastore, Workspace
from datastores.errors import DefinitionRejected, NameRejected, TransferFailed


@pytest.fixture
def store(workspace: Workspace) -> Any:
    """The workspace's default store, and a folder "source" with two files."""
    for name, text in (("a.txt", "A"), ("sub/b.txt", "B")):
        path = Path("source") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return workspace.get_default_datastore()


def keys(store: Any) -> list[str]:
    return sorted(store.filesystem().find(""))


def test_upload_prints_azure_mls_lines_and_returns_a_reference(
    store: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """The lines are the documented ones, and the reference keeps the path as it was written."""
    reference = store.upload("source/", target_path="./t/x")

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Uploading an estimated of 2 files"
    assert lines[-1] == "Uploaded 2 files"
    assert {line.split(",")[0] for line in lines[1:-1]} == {
        "Uploading a.txt",
        "Uploaded a.txt",
        "Uploading sub/b.txt",
        "Uploaded sub/b.txt",
    }
    assert lines[-2].endswith(", 2 files out of an estimated total of 2")
    assert isinstance(reference, DataReference)
    assert (reference.mode, reference.path_on_datastore) == ("mount", "./t/x")
    assert keys(store) == ["t/x/a.txt", "t/x/sub/b.txt"]


def test_upload_to_the_root_is_called_like_the_datastore(store: Any) -> None:
    """A reference to the root has the datastore's name."""
    assert store.upload("source", show_progress=False).data_reference_name == store.name


def test_overwrite_replaces_and_otherwise_skips(
    store: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Files that exist are skipped with the documented line, or replaced; nothing is deleted."""
    store.upload("source", show_progress=False)
    Path("source/a.txt").write_text("changed")
    Path("source/sub/b.txt").unlink()

    store.upload("source")
    skipped = store.filesystem().cat_file("a.txt")
    store.upload("source", overwrite=True, show_progress=False)

    assert "Target already exists. Skipping upload for a.txt" in capsys.readouterr().out
    assert (skipped, store.filesystem().cat_file("a.txt")) == (b"A", b"changed")
    assert keys(store) == ["a.txt", "sub/b.txt"]


def test_download_counts_what_it_copied(
    store: Any, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """The count is of files copied; local names keep the full key; existing files are skipped."""
    store.upload("source", target_path="train", show_progress=False)
    store.upload("source", target_path="training", show_progress=False)

    first = store.download("out", prefix="train")
    with caplog.at_level(logging.WARNING):
        again = store.download("out", prefix="/train/")

    assert (first, again) == (2, 0)
    assert sorted(str(p) for p in Path("out").rglob("*.txt")) == [
        "out/train/a.txt",
        "out/train/sub/b.txt",
    ]
    lines = capsys.readouterr().out.splitlines()
    assert "Downloading train/a.txt" in lines
    assert lines[-1].endswith(", 2 files out of an estimated total of 2")
    assert "Path already exists. Skipping download for train/a.txt" in caplog.text


def test_a_prefix_may_be_a_file_or_nothing(store: Any) -> None:
    """A file's key downloads that file; a place with nothing in it gives 0."""
    store.upload("source", show_progress=False)

    counts = [
        store.download("one", prefix="sub/b.txt", show_progress=False),
        store.download("none", prefix="absent", show_progress=False),
        store.download("all", show_progress=False, overwrite=True),
    ]

    assert counts == [1, 0, 2]
    assert Path("one/sub/b.txt").read_text() == "B"


def test_single_files_keep_their_common_root(store: Any) -> None:
    """Names are relative to the folder the files share, or to the root that is given."""
    files = ["source/a.txt", "source/sub/b.txt"]

    store.upload_files(files, target_path="shared", show_progress=False)
    store.upload_files(files, ".", "rooted", show_progress=False)

    assert keys(store) == [
        "rooted/source/a.txt",
        "rooted/source/sub/b.txt",
        "shared/a.txt",
        "shared/sub/b.txt",
    ]


def test_what_cannot_be_uploaded_is_refused_at_once(store: Any) -> None:
    """A folder that is none, a file that is none, and a place that climbs send nothing."""
    with pytest.raises(DefinitionRejected, match="is not a folder"):
        store.upload("absent")
    with pytest.raises(DefinitionRejected, match="is not a file"):
        store.upload_files(["source/a.txt", "source/absent"])
    with pytest.raises(NameRejected, match="below"):
        store.upload_files(["source/a.txt"], relative_root="source/sub")
    with pytest.raises(NameRejected, match="climbs"):
        store.upload("source", target_path="../elsewhere")
    assert keys(store) == []


def test_a_file_that_fails_fails_the_call_at_its_end(
    store: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other files arrive, the failed one is named, and has nothing under its final name."""
    store.upload("source", show_progress=False)
    Path("out").mkdir()
    Path("out/sub").write_text("a file where a folder is needed")

    with pytest.raises(TransferFailed) as failed:
        store.download("out")

    assert [name for name, _ in failed.value.failures] == ["sub/b.txt"]
    assert Path("out/a.txt").read_text() == "A"
    assert Path("out/sub").read_text() == "a file where a folder is needed"
    assert "Failed sub/b.txt" in capsys.readouterr().out


def test_silence_is_silent(store: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """With `show_progress=False` nothing is printed."""
    store.upload("source", show_progress=False)
    store.download("out", show_progress=False)

    assert capsys.readouterr().out == ""


def test_references_come_from_the_datastore(workspace: Workspace) -> None:
    """A datastore makes references to itself and to what is in it, as documented."""
    store: Any = Datastore.get(workspace, "workspaceblobstore")

    made = [
        store.as_mount(),
        store.as_download("here"),
        store.as_upload(path_on_compute="./bar.pkl"),
        store.path("./foo", "named").as_download(),
    ]

    assert [(one.mode, one.path_on_compute, one.place) for one in made] == [
        ("mount", None, ""),
        ("download", "here", ""),
        ("upload", "./bar.pkl", ""),
        ("download", None, "foo"),
    ]
    assert str(made[3]) == "$AZUREML_DATAREFERENCE_named"
