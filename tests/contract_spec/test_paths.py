"""Where references appear: one path for all modes, inside the working folder, never nested."""

from __future__ import annotations

from pathlib import PurePosixPath as Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datastores.contract import InputMode, InputSpec, OutputMode, OutputSpec, lay_out
from datastores.contract.job import Reference
from datastores.errors import DefinitionRejected, NameRejected
from tests.contract_spec.specs import FULL, IMAGES, RESULTS

WORK = Path("/job")


def mounted(name: str, place: str = "", path: str | None = None) -> InputSpec:
    return InputSpec(name, InputMode.MOUNT, IMAGES, place, path)


def test_defaults_and_explicit_paths() -> None:
    """Without a path it is `<datastore>/<place>`; a given one is the path of the thing itself."""
    assert lay_out(FULL.references, WORK) == {
        "train": Path("/job/images/train"),
        "labels": Path("/job/in/labels.csv"),
        "orders": Path("/job/shop/orders"),
        "model": Path("/job/out/model"),
        "logs": Path("/job/results/logs"),
    }


@pytest.mark.parametrize("path", [None, "here/it/is", "./here", "a/../b"])
@pytest.mark.parametrize("place", ["", "train", "labels.csv"])
def test_the_path_is_the_same_in_every_mode(place: str, path: str | None) -> None:
    """Changing the mode of a reference changes nothing about its path."""
    references: list[Reference] = [
        InputSpec("n", InputMode.MOUNT, IMAGES, place, path),
        InputSpec("n", InputMode.DOWNLOAD, IMAGES, place, path),
        OutputSpec("n", OutputMode.UPLOAD, IMAGES, place, path),
        OutputSpec("n", OutputMode.MOUNT, IMAGES, place, path),
    ]

    assert len({lay_out([one], WORK)["n"] for one in references}) == 1


def test_a_place_inside_another_goes_elsewhere() -> None:
    """The root of a store keeps its folder, whatever the order; what is inside moves aside."""
    root, below = mounted("images"), mounted("0f", "train")
    want = {"images": Path("/job/images"), "0f": Path("/job/0f/train")}

    assert lay_out([root, below], WORK) == lay_out([below, root], WORK) == want


def test_odd_names_become_folders() -> None:
    """A reference may be called anything; its folder stays inside the working folder."""
    names = ["images", "a b/é", "../..", "..", "/etc"]

    found = lay_out([mounted(name) for name in names], WORK)

    assert list(map(str, found.values())) == [
        "/job/images", "/job/a_b_é", "/job/_..", "/job/_", "/job/_etc"
    ]  # fmt: skip


@pytest.mark.parametrize("path", ["/data", "../data", "a/../../data", "a/..", "..", "a\0b"])
def test_leaving_the_working_folder_is_refused(path: str) -> None:
    """A path that is absolute, climbs out, or is the working folder itself is refused by name."""
    with pytest.raises(DefinitionRejected, match='"n"') as refused:
        lay_out([mounted("n", path=path)], WORK)

    assert refused.value.name == "n"


def test_absolute_paths_can_be_allowed() -> None:
    """Only where it is said are absolute paths honoured; climbing is refused all the same."""
    assert lay_out([mounted("n", path="/data/x/../y")], WORK, absolute_paths=True) == {
        "n": Path("/data/y")
    }
    for path in ("../data", "/..", "/../etc"):
        with pytest.raises(DefinitionRejected):
            lay_out([mounted("n", path=path)], WORK, absolute_paths=True)


@pytest.mark.parametrize(
    ("first", "second"), [("a", "a"), ("a", "a/b"), ("a/b", "./a"), ("a/x/..", "a")]
)
def test_explicit_paths_that_meet_are_refused_with_both_names(first: str, second: str) -> None:
    """Two references whose paths are one inside the other are refused, and both are named."""
    output = OutputSpec("result", OutputMode.UPLOAD, RESULTS, "", second)

    with pytest.raises(DefinitionRejected) as refused:
        lay_out([mounted("data", path=first), output], WORK)

    assert '"result"' in str(refused.value)
    assert '"data"' in str(refused.value)


def test_a_default_makes_way_for_an_explicit_path() -> None:
    """What was said comes first, and defaults go round it."""
    assert lay_out([mounted("n", "train"), mounted("m", path="images/train/x")], WORK) == {
        "n": Path("/job/n/train"),
        "m": Path("/job/images/train/x"),
    }


def test_a_place_that_climbs_is_refused() -> None:
    """A spec made by hand cannot reach out of the working folder through a place."""
    with pytest.raises(NameRejected):
        lay_out([mounted("n", "../../etc")], WORK)


@given(
    st.lists(
        st.builds(
            mounted,
            st.text("ab./ -", min_size=1, max_size=4),
            st.sampled_from(["", "a", "a/b", "b"]),
            st.none() | st.text("ab./", max_size=5),
        ),
        max_size=5,
    )
)
def test_a_layout_is_disjoint_and_inside_or_refused(references: list[InputSpec]) -> None:
    """Every layout that is not refused has all names, all inside, none inside another."""
    try:
        found = lay_out(references, WORK)
    except DefinitionRejected:
        return

    paths = list(found.values())
    assert list(found) == [one.name for one in references]
    assert all(WORK in path.parents and ".." not in path.parts for path in paths)
    assert not any(
        a == b or a in b.parents for i, a in enumerate(paths) for j, b in enumerate(paths) if i != j
    )
