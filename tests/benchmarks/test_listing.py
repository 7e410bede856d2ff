"""Listings of the benchmark's endpoint, which the peers take for the service's."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import pytest

from benchmarks.listing import Query, parse_query, render_page

NAMES = sorted(["a", "b/1", "b/2", "b/c/3", "b0", "d"])
SIZES = dict.fromkeys(NAMES, 1)


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_pages_of_any_length_make_the_whole(limit: int) -> None:
    """Every name comes once and in order, however short the pages are."""
    assert list(_walk({"maxresults": str(limit)})) == NAMES


@pytest.mark.parametrize("limit", [1, 2, 100])
def test_a_delimiter_folds_folders(limit: int) -> None:
    """A folder is one entry, on one page, whatever is in it."""
    fields = {"delimiter": "/", "maxresults": str(limit)}

    assert list(_walk(fields)) == ["a", "b/", "b0", "d"]


def test_a_prefix_is_text() -> None:
    """Names that begin with the prefix, and below a folder the next level alone."""
    assert list(_walk({"prefix": "b"})) == ["b/1", "b/2", "b/c/3", "b0"]
    assert list(_walk({"prefix": "b/", "delimiter": "/"})) == ["b/1", "b/2", "b/c/"]


def test_no_page_is_longer_than_the_services() -> None:
    """Whoever asks for more gets 5,000, and for nothing one."""
    assert parse_query({"maxresults": "100000"}).limit == 5000
    assert parse_query({"maxresults": "0"}).limit == 1
    assert parse_query({}) == Query()


def _walk(fields: dict[str, str]) -> Iterator[str]:
    marker = ""
    while True:
        page = render_page("/c", "c", NAMES, SIZES, parse_query({**fields, "marker": marker}))
        yield from _found(page.decode(), "Blob(?:Prefix)?><Name")
        (marker,) = re.findall("<NextMarker>(.*?)</NextMarker>", page.decode())
        if not marker:
            return


def _found(page: str, opening: str) -> Sequence[str]:
    return re.findall(f"<{opening}>(.*?)</Name>", page)
