"""What a run came to, in words; from records alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click
import pytest

from datastores.cli.outcomes import outcome_lines, seconds_text
from datastores.history.records import ExperimentName, RunId, RunRecord, UsedReference
from datastores.history.status import Status

RECORD = RunRecord(
    RunId("r_1"),
    ExperimentName("exp"),
    Status.COMPLETED,
    exit_code=0,
    references=(
        UsedReference("data", "images", "train", "mount"),
        UsedReference("labels", "images", "labels.csv", "download"),
        UsedReference("model", "images", "runs/r_1", "upload"),
    ),
)


def _one(name: str, how: str, state: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "how": how, "state": state, "files": 0, "bytes": 0, "seconds": 0, **more}


REPORT: dict[str, Any] = {
    "seconds": 75.2,
    "phases": {"staging": 2.0, "running": 70.0, "flushing": 3.0, "sealing": 0.2},
    "warnings": ["something to know"],
    "is_settled": True,
    "inputs": [
        _one(
            "data",
            "mount",
            "ready",
            counters={"opens": 10, "bytes_fetched": 2048, "bytes_read": 4096, "cache_hits": 4,
                      "cache_misses": 6, "blocked_seconds": 1.5},
            data={"findings": [{"what": "reading waited", "advice": "use download"}]},
        ),
        _one(
            "labels", "download", "ready", files=1, bytes=5, seconds=0.5,
            counters={"cache_hits": 1, "cache_misses": 0},
        ),
    ],
    "outputs": [_one("model", "upload", "complete", files=2, bytes=3_145_728)],
}  # fmt: skip


def _lines(record: RunRecord) -> list[str]:
    return [click.unstyle(line) for line in outcome_lines(record)]


def test_a_completed_run_says_what_moved_and_where_the_result_is() -> None:
    """Status and phases, notes, one line for each reference, hints, and what to do next."""
    lines = _lines(replace(RECORD, report=REPORT))

    assert lines == [
        (
            "run r_1 completed in 1 min 15 s "
            "(getting its data 2.0 s, the script 1 min 10 s, sending results 3.2 s)"
        ),
        "  note    something to know",
        (
            "  data    mounted     images:train       10 files opened, 2.0 KiB fetched, "
            "4.0 KiB read through the mount, waited 1.5 s, 4 of 10 from the cache"
        ),
        "  labels  downloaded  images:labels.csv  1 file, 5 B in 0.5 s, 1 of 1 from the cache",
        "  model   uploaded    images:runs/r_1    2 files, 3.0 MiB",
        "  hint    data: reading waited; use download",
        "  result: datastores ls images:runs/r_1",
        "  again: datastores runs show r_1",
        "         datastores runs logs r_1",
    ]


def test_a_failed_run_says_why_and_how_to_go_on() -> None:
    """The reason comes first; what was not kept is no result."""
    report = {**REPORT, "inputs": [], "warnings": [], "is_settled": False}
    report["outputs"] = [_one("model", "upload", "not kept")]
    failed = replace(
        RECORD, status=Status.FAILED, exit_code=23, error="the store is away", report=report
    )

    lines = _lines(failed)

    assert lines[0].startswith("run r_1 failed, exit code 23 in 1 min 15 s")
    assert lines[1:3] == [
        "  reason  the store is away",
        "  model  not kept  images:runs/r_1  0 files, 0 B",
    ]
    assert lines[-1] == "  to go on from where it stopped: datastores runs resume r_1"


def test_a_run_without_a_report_has_a_headline() -> None:
    """A run that was canceled before anything began."""
    assert _lines(replace(RECORD, status=Status.CANCELED, exit_code=130)) == [
        "run r_1 canceled, exit code 130",
        "  again: datastores runs show r_1",
        "         datastores runs logs r_1",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.034, "0.03 s"), (0.5, "0.5 s"), (59.9, "59.9 s"), (75, "1 min 15 s"), (7260, "2 h 1 min")],
)
def test_times_are_said_as_people_read_them(seconds: float, text: str) -> None:
    """Hundredths below a tenth, then tenths, minutes, hours."""
    assert seconds_text(seconds) == text
