"""The data report says what happened, and only what happened."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mount.fs.counters import Counts
from mount.report import Finding, bytes_in_words, in_words, summarise

MIB, GIB = 1 << 20, 1 << 30


def test_a_mount_that_did_nothing() -> None:
    """No counter, no share, no finding."""
    report = summarise({})

    assert (report.hit_rate, report.passthrough_share, report.ahead_waste) == (None, None, None)
    assert report.findings == ()
    assert list(in_words(report))[1].startswith("files in the cache when opened: -;")


@pytest.mark.parametrize(
    ("counters", "finding"),
    [
        (
            {"cache_misses": 71, "cache_hits": 29, "blocked_seconds": 41.2},
            Finding(
                "71 % of the opened files were not in the cache, and callers waited 41.2 s for the "
                "store",
                "--warm fetches them before they are read",
            ),
        ),
        (
            {"without_cache": 3, "bytes_fetched": 39 * GIB + 1},
            Finding(
                "3 files found no room in the cache",
                "--cache-size 40GiB would have kept all that was fetched",
            ),
        ),
        (
            {"evictions": 1, "bytes_fetched": 2 * GIB, "cached_bytes": GIB},
            Finding(
                "the cache dropped 1 file to make room",
                "--cache-size 3GiB would have kept all that was fetched",
            ),
        ),
        (
            {"bytes_ahead": 200 * MIB, "bytes_ahead_unused": 100 * MIB},
            Finding(
                "100 MiB were read ahead and never asked for (50 % of the read-ahead)",
                "files that are read here and there are cheaper whole: --warm them",
            ),
        ),
        (
            {"passthrough": False, "opens": 9, "bytes_read": 100 * MIB},
            Finding(
                "100 MiB were copied through this program, because the kernel does not read "
                "cached files by itself here",
                "mount as root on Linux 6.9 or newer",
            ),
        ),
        (
            {"failed_uploads": 1, "dirty_bytes": 5},
            Finding(
                "1 upload failed; the bytes are on this node",
                'send them with "datastores-agent recover"',
            ),
        ),
        (
            {"dirty_bytes": 2048},
            Finding(
                "2.0 KiB were written and are not in the store yet",
                "close the files that are open for writing",
            ),
        ),
        (
            {"stale_reads": 2},
            Finding(
                "2 reads failed because the object was replaced while it was open",
                "write new data under new names",
            ),
        ),
        (
            {"restarts": 1},
            Finding(
                "the mount's process was replaced 1 time, and callers noticed a pause",
                "its log says why; look for the kernel's out-of-memory killer",
            ),
        ),
    ],
)
def test_findings(counters: dict[str, float], finding: Finding) -> None:
    """Each kind of trouble has its sentence and its advice."""
    assert summarise(counters).findings == (finding,)


def test_small_matters_are_not_mentioned() -> None:
    """A short wait and a little waste are no findings."""
    counters = {
        "cache_misses": 5,
        "blocked_seconds": 0.5,
        "bytes_ahead": MIB,
        "bytes_ahead_unused": MIB,
        "bytes_read": MIB,
        "opens": 5,
        "passthrough": 0,
    }

    assert summarise(counters).findings == ()


NAMES = [*Counts.__slots__, "restarts", "evictions", "cached_bytes", "passthrough", "unheard_of"]


@given(st.dictionaries(st.sampled_from(NAMES), st.integers(0, 1 << 50)))
def test_any_counters_make_a_report(counters: dict[str, int]) -> None:
    """Whatever a host counts, there is a report, and its shares of what was counted are numbers."""
    report = summarise(counters)

    assert len(list(in_words(report))) == 3 + len(report.findings)
    assert report.requests == counters.get("requests", 0)


@pytest.mark.parametrize(
    ("size", "words"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 40, "5.0 TiB")]
)
def test_sizes_in_words(size: int, words: str) -> None:
    """Bytes are written with the unit that suits them."""
    assert bytes_in_words(size) == words
