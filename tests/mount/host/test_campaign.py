"""A short campaign of kills in every run of the suite; `campaign.py` is the long one."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.mount.host.bench import Bench
from tests.mount.host.campaign import Tally, kill_hosts, kill_workers, read_notes


@pytest.mark.parametrize("where", ["bench", "cloud_bench"])
@pytest.mark.parametrize("kill", [kill_workers, kill_hosts])
def test_what_was_stored_is_never_lost(
    where: str, kill: Callable[[Bench, int, int], Tally], request: pytest.FixtureRequest
) -> None:
    """Every file that close or fsync called stored is in the store after random kills."""
    bench: Bench = request.getfixturevalue(where)
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")  # noqa: T201  # shown where the test fails

    kill(bench, seed, 4).judge()


@pytest.mark.parametrize(
    "tally",
    [
        Tally(kills=0, noted=5, checked=5),
        Tally(kills=5, noted=0, checked=5),
        Tally(kills=5, noted=5, checked=0),
        Tally(kills=5, noted=5, checked=5, lost=["a"]),
    ],
)
def test_a_campaign_without_risk_fails(tally: Tally) -> None:
    """Nothing killed, nothing stored, nothing checked, or anything lost: each is a failure."""
    with pytest.raises(AssertionError):
        tally.judge()


def test_notes_tell_what_a_file_may_be(tmp_path: Path) -> None:
    """After "done" only those bytes fit; after "try" both do; after "gone" nothing does, too."""
    one, two = (hashlib.sha256(body).hexdigest() for body in (b"1", b"2"))
    path = tmp_path / "list"
    path.write_text(
        f"try a {one}\ndone a {one}\ntry b {one}\ndone b {one}\ntry b {two}\ngone b -\n"
    )
    told = read_notes([path])

    assert [told["a"].fits(digest) for digest in (one, two, None)] == [True, False, False]
    assert [told["b"].fits(digest) for digest in (one, two, None)] == [True, True, True]
