"""References as the sheet has them: names, texts, clones; and where we keep promises instead."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from datastores import DataPath, DataPathComputeBinding, DataReference, SqlDataReference
from datastores.errors import DefinitionRejected, NameRejected, Unsupported
from datastores.references import DataReferenceConfiguration, collect


@dataclass(frozen=True)
class Somewhere:
    """A datastore, as far as references look."""

    name: str = "images"


STORE = Somewhere()


def facts(reference: DataReference) -> tuple[object, ...]:
    return (
        reference.path_on_datastore,
        reference.mode,
        reference.path_on_compute,
        reference.overwrite,
    )


@pytest.mark.parametrize("root", [None, "", "/", ".", "./"])
def test_the_root_is_called_like_the_datastore(root: str | None) -> None:
    """A reference to the root takes the datastore's name and prints as its variable."""
    reference = DataReference(STORE, path_on_datastore=root)

    assert str(reference) == repr(reference) == "$AZUREML_DATAREFERENCE_images"


def test_another_place_gets_a_name_of_its_own() -> None:
    """A reference to a place gets 32 hexadecimal digits, other ones each time."""
    first, second = DataReference(STORE).path("train"), DataReference(STORE).path("train")

    assert re.fullmatch(r"\$AZUREML_DATAREFERENCE_[0-9a-f]{32}", str(first))
    assert first.data_reference_name != second.data_reference_name


def test_a_given_name_is_kept_to_the_letter() -> None:
    """Azure ML takes any text as a name, and so do we, save what no variable can carry."""
    assert str(DataReference(STORE, "a b/c-é")) == "$AZUREML_DATAREFERENCE_a b/c-é"
    for impossible in ("a=b", "a\0b", "a\nb"):
        with pytest.raises(NameRejected):
            DataReference(STORE, impossible)


def test_path_starts_afresh() -> None:
    """`path` goes deeper and resets mode, compute path, name and overwrite."""
    reference = DataReference(STORE, "n", "a", "download", "c", True)

    below = reference.path("b", "deeper")

    assert facts(below) == ("a/b", "mount", None, False)
    assert below.data_reference_name == "deeper"


def test_path_to_the_root_is_the_reference_itself() -> None:
    """`path()` without a name returns the same object; with a name, a new root reference."""
    reference = DataReference(STORE, "n", "a", "download")

    assert all(reference.path(root) is reference for root in (None, "", "/", ".", "./"))
    assert facts(reference.path("/", "root")) == (None, "mount", None, False)


def test_mount_keeps_the_compute_side_and_the_others_replace_it() -> None:
    """`as_mount` keeps what was said about the compute; `as_download` and `as_upload` replace it,
    and honour `overwrite`, which the original ignored.
    """
    reference = DataReference(STORE, "n", "a", "upload", "c", True)

    assert facts(reference.as_mount()) == ("a", "mount", "c", True)
    assert facts(reference.as_download()) == ("a", "download", None, False)
    assert facts(reference.as_download("d", overwrite=True)) == ("a", "download", "d", True)
    assert facts(reference.as_upload("u", True)) == ("a", "upload", "u", True)
    assert reference.as_mount().data_reference_name == "n"


@pytest.mark.parametrize("spelling", ["/bar", "./bar", "bar", "bar/"])
def test_spellings_of_one_place_are_one_place(spelling: str) -> None:
    """However a place is written, the job finds the same files."""
    assert DataReference(STORE).path(spelling).place == "bar"


def test_a_place_that_climbs_is_refused_when_it_is_written() -> None:
    """The person who writes `..` sees the error, not the node hours later."""
    with pytest.raises(NameRejected):
        DataReference(STORE).path("../other")


@pytest.mark.parametrize("mode", ["Mount", "direct", "", "copy"])
def test_unknown_modes_are_refused(mode: str) -> None:
    """Only the three modes exist, in lower case."""
    with pytest.raises(DefinitionRejected, match='use "mount", "download" or "upload"'):
        DataReference(STORE, mode=mode)


def test_the_configuration_has_the_stored_names() -> None:
    """`to_config` keeps the path as written, and turns both roots into None."""
    assert DataReference(STORE, "n", "./foo", "download", "/").to_config() == (
        DataReferenceConfiguration("images", "download", "./foo", None, False)
    )
    assert DataReference(STORE, path_on_datastore="./").to_config().path_on_data_store is None


def test_two_references_of_one_name_are_refused_and_both_named() -> None:
    """A run cannot hold two different references of one name; the same one twice is one."""
    download, upload = (
        DataReference(STORE).as_download(),
        DataReference(STORE, None, "").as_upload("o"),
    )

    assert collect([download, download]) == {"images": download}
    with pytest.raises(DefinitionRejected) as refused:
        collect([download, upload])
    assert '"images" (download) and "images" (upload)' in str(refused.value)


def test_a_data_path_becomes_a_reference() -> None:
    """A path carries its name and takes mode and compute path from the binding."""
    path = DataPath(STORE, "train", "p")
    binding = DataPathComputeBinding("download", "here", overwrite=True)

    reference = DataReference.create("n", path, binding)

    assert (reference.data_reference_name, *facts(reference)) == (
        "n",
        "train",
        "download",
        "here",
        True,
    )
    assert path.create_data_reference().data_reference_name == "p"
    assert re.fullmatch(r"images_[0-9a-f]{8}", DataPath(STORE, "x").name)


def test_creating_needs_path_and_binding() -> None:
    """Both halves are required, as in the original."""
    with pytest.raises(ValueError, match="both required"):
        DataReference.create("n", None, DataPathComputeBinding())
    with pytest.raises(ValueError, match="needs a datastore"):
        DataPath(None, "x")


def test_rows_know_download_only() -> None:
    """A SQL reference prints like any other, and names what it can when asked for the rest."""
    reference = SqlDataReference(STORE, "rows", sql_query="select 1").as_download("out", True)

    assert str(reference) == "$AZUREML_DATAREFERENCE_rows"
    assert (reference.mode, reference.path_on_compute, reference.overwrite) == (
        "download",
        "out",
        True,
    )
    for refused in (reference.as_mount, reference.as_upload):
        with pytest.raises(Unsupported, match="as_download"):
            refused()


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"sql_table": "t", "sql_query": "q"},
        {"sql_query": "q", "sql_stored_procedure_params": [1]},
    ],
)
def test_rows_need_exactly_one_question(given: dict[str, object]) -> None:
    """A SQL reference names one of table, query and procedure; parameters need a procedure."""
    with pytest.raises(DefinitionRejected):
        SqlDataReference(STORE, **given)  # type: ignore[arg-type]
