"""Experiments, runs and what they logged, in each kind of database."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from datastores.errors import AlreadyRegistered, NameRejected, NotRegistered, RunRefused
from datastores.history.entries import Entry
from datastores.history.metrics import Metric, MetricKind
from datastores.history.records import (
    INTERACTIVE,
    RunFile,
    RunId,
    RunRecord,
    UsedReference,
)
from datastores.history.run_history import RunHistory
from datastores.history.status import Status
from datastores.registry.records import WorkspaceRecord
from datastores.registry.registry import Registry
from datastores.secret import MASK, Secret
from tests.registry.conftest import WORKSPACE, Home
from tests.registry.runs import metric, moment, run_record

CANARY = "canary-Ru7/q+Zt0w=="


@pytest.fixture
def history(registry: Registry) -> RunHistory:
    return RunHistory(registry, WORKSPACE)


def test_a_run_comes_back_as_it_was_told(history: RunHistory) -> None:
    """
    Every field of a record is there again, to the microsecond, from another object.
    """
    record = run_record(
        status=Status.QUEUED,
        created=moment(0),
        started=moment(1),
        display_name="größte Katze",
        description="two\nlines",
        type=INTERACTIVE,
        compute_target="local",
        submitted_by="me",
        script="train.py",
        command=("--rate", "0.1", ""),
        folder="/runs/cats_1",
        spec={"version": 1, "inputs": [], "nothing": None},
        references=(UsedReference("images", "store", "train", "mount", {"a.png": "0x1"}),),
        report={"exit_code": 0, "phases": {"running": 1.5}},
        exit_code=0,
        error="none",
        parent=RunId("cats_0"),
        tags={"b": "2", "a": None},
        properties={"commit": "abc"},
        events_offset=7,
    )

    made = history.create(record)

    assert made == replace(record, number=1)
    assert RunHistory(history.registry, WORKSPACE).get("cats_1") == made


def test_runs_are_counted_by_experiment(history: RunHistory) -> None:
    """
    The first run of a name makes the experiment; each experiment counts its own runs from 1.
    """
    runs = [
        history.create(run_record(f"{name}_{index}", name))
        for index, name in enumerate(["cats", "dogs", "cats", "cats"])
    ]

    assert [run.number for run in runs] == [1, 1, 2, 3]
    assert [(str(one.name), one.runs) for one in history.experiments()] == [
        ("cats", 3),
        ("dogs", 1),
    ]


def test_an_id_is_taken_once(history: RunHistory) -> None:
    """
    A second run of the same id is refused, and the first stays as it was.
    """
    made = history.create(run_record(display_name="first"))

    with pytest.raises(AlreadyRegistered, match='run "cats_1" is already registered'):
        history.create(run_record(display_name="second", experiment="dogs"))

    assert (history.get("cats_1"), [one.name for one in history.experiments()]) == (made, ["cats"])


def test_what_is_unknown_is_named_with_what_is_known(history: RunHistory) -> None:
    """
    Asking for an unknown run or experiment names the known ones, whatever is asked about it.
    """
    history.create(run_record())

    for ask in (
        lambda: history.get("dogs_1"),
        lambda: history.metrics("dogs_1"),
        lambda: history.files("dogs_1"),
        lambda: history.change("dogs_1", status=Status.RUNNING),
        lambda: history.add_metrics("dogs_1", [metric()]),
        lambda: history.tag("dogs_1", {"a": "b"}),
        lambda: history.absorb_events("dogs_1", 0, 1, []),
    ):
        with pytest.raises(NotRegistered, match=r'no run "dogs_1" in .* \(registered: "cats_1"\)'):
            ask()
    with pytest.raises(NotRegistered, match=r'no experiment "dogs" .*"cats"'):
        history.experiment("dogs")


@pytest.mark.parametrize("name", ["", "-a", "a b", "a/b", "é", "a" * 256])
def test_names_follow_azure_mls_rule(history: RunHistory, name: str) -> None:
    """
    A name that no folder or URL should have is refused before anything is written.
    """
    with pytest.raises(NameRejected, match="experiment"):
        history.create(run_record(experiment=name))
    with pytest.raises(NameRejected, match="experiment"):
        history.make_experiment(name)

    assert history.experiments() == []


FILTERS: list[dict[str, Any]] = [
    {},
    {"experiment": "cats"},
    {"experiment": "cats", "status": Status.RUNNING},
    {"status": {Status.RUNNING, Status.COMPLETED}},
    {"tags": {"color": None}},
    {"tags": {"color": "red"}},
    {"tags": {"color": "red", "size": None}},
    {"tags": {'odd"name': "x"}},
    {"properties": {"commit": "1"}},
    {"type": INTERACTIVE},
    {"parent": "cats_0"},
    {"top_level": True, "limit": 3},
]


@pytest.mark.parametrize("wanted", FILTERS, ids=lambda wanted: "+".join(wanted) or "all")
def test_a_listing_finds_what_a_plain_search_finds(
    history: RunHistory, wanted: dict[str, Any]
) -> None:
    """
    Each filter gives exactly the runs that meet it, the newest first.
    """
    made = [history.create(record) for record in _assortment()]

    found = history.list(**wanted)

    matching = [run for run in sorted(made, key=_age, reverse=True) if _meets(run, wanted)]
    assert found == matching[: wanted.get("limit")]
    assert found, "the filter finds nothing, so this proves nothing"


def test_pages_continue_each_other(history: RunHistory) -> None:
    """
    Runs of one moment are neither lost nor repeated at the border of a page.
    """
    made = [history.create(run_record(f"cats_{i:03}", created=moment(i // 5))) for i in range(23)]
    found: list[RunRecord] = []

    while page := history.list(limit=4, before=found[-1] if found else None):
        found += page

    assert found == made[::-1]
    assert list(history.every("cats", top_level=True)) == found


def test_a_finished_run_stays_finished(history: RunHistory) -> None:
    """
    What may not follow is refused with both states named, and nothing of the change is kept.
    """
    history.create(run_record(status=Status.RUNNING))
    ended = history.change("cats_1", status=Status.COMPLETED, exit_code=0)

    with pytest.raises(RunRefused, match='"cats_1" is Completed and cannot become Running'):
        history.change("cats_1", status=Status.RUNNING, exit_code=5)

    assert history.get("cats_1") == ended
    assert history.change("cats_1", error="late").error == "late"


def test_moments_are_noted_with_states(history: RunHistory) -> None:
    """
    A run begins when it first runs and ends when it first has ended; later changes move neither.
    """
    before = history.create(run_record())
    running = history.change("cats_1", status=Status.RUNNING)
    finalizing = history.change("cats_1", status=Status.FINALIZING)
    failed = history.change("cats_1", status=Status.FAILED, error="it broke")
    later = history.change("cats_1", report={"warnings": []})

    assert (before.started, before.ended, running.ended) == (None, None, None)
    assert running.started is not None
    assert failed.ended is not None
    assert finalizing.started == failed.started == running.started <= failed.ended
    assert later == replace(failed, report={"warnings": []})
    assert history.get("cats_1") == later


def test_what_a_script_left_open_ends_with_its_run(history: RunHistory) -> None:
    """
    When a submitted run ends, runs its script began below it and did not end are canceled, at any
    depth; ended ones, other submitted runs, and those below an interactive run stay.
    """
    history.create(run_record("top", status=Status.RUNNING))
    for name, parent, kind, status in (
        ("open", "top", INTERACTIVE, Status.RUNNING),
        ("done", "top", INTERACTIVE, Status.COMPLETED),
        ("deep", "done", INTERACTIVE, Status.RUNNING),
        ("step", "top", "azureml.scriptrun", Status.RUNNING),
        ("own", "step", INTERACTIVE, Status.RUNNING),
        ("alone", None, INTERACTIVE, Status.RUNNING),
        ("below", "alone", INTERACTIVE, Status.RUNNING),
    ):
        history.create(
            run_record(name, parent=RunId(parent) if parent else None, type=kind, status=status)
        )

    history.update("top", lambda record: replace(record, status=Status.COMPLETED))
    history.change("alone", status=Status.COMPLETED)

    assert {str(run.run_id): (run.status, run.error) for run in history.list()} == {
        "top": (Status.COMPLETED, None),
        "open": (Status.CANCELED, "the run above it ended first"),
        "done": (Status.COMPLETED, None),
        "deep": (Status.CANCELED, "the run above it ended first"),
        "step": (Status.RUNNING, None),
        "own": (Status.RUNNING, None),
        "alone": (Status.COMPLETED, None),
        "below": (Status.RUNNING, None),
    }


def test_a_circle_of_parents_ends(history: RunHistory) -> None:
    """
    Runs that name each other as parents can be ended.
    """
    for name, parent in (("a", "b"), ("b", "a")):
        history.create(
            run_record(name, parent=RunId(parent), type=INTERACTIVE, status=Status.RUNNING)
        )
    history.create(run_record("top", parent=RunId("top"), status=Status.RUNNING))
    history.create(run_record("c", parent=RunId("top"), type=INTERACTIVE))

    history.change("top", status=Status.FAILED)
    history.change("a", status=Status.COMPLETED)

    found = {str(run.run_id): run.status.value for run in history.list()}
    assert found == {"a": "Completed", "b": "Running", "top": "Failed", "c": "Canceled"}


def test_only_in_refuses_another_state(history: RunHistory) -> None:
    """
    A change for a state that has passed is refused and says which state the run is in.
    """
    history.create(run_record(status=Status.RUNNING))

    with pytest.raises(RunRefused, match="is Running, not NotStarted, Queued; look again"):
        history.change(
            "cats_1", only_in={Status.QUEUED, Status.NOT_STARTED}, status=Status.CANCELED
        )
    canceled = history.change("cats_1", only_in=Status.RUNNING, status=Status.CANCELED)

    assert canceled.status is Status.CANCELED


VALUES = [
    1.0, 0.1, 1e300, -0.0, 0, 10**30, True, None, "text\0\n", "1", "", [1, [2.0, "x"]],
    {"a": [1.5, None]}, {"$float": "other"},
]  # fmt: skip


def test_metrics_keep_value_type_and_order(history: RunHistory) -> None:
    """
    What was logged comes back equal and of the same type, in order: 1.0 is not 1, and 10**30 is
    whole.
    """
    history.create(run_record())
    logged = [metric(f"m{i}", value, step=i, logged=moment(i)) for i, value in enumerate(VALUES)]
    logged += [metric("step", step=2**63 - 1, description="d"), metric("neg", step=-5)]

    history.add_metrics("cats_1", logged[:4])
    history.add_metrics("cats_1", logged[4:])
    history.add_metrics("cats_1", [])

    found = history.metrics("cats_1")
    assert found == logged
    assert [repr(one.value) for one in found] == [repr(one.value) for one in logged]
    assert history.metrics("cats_1", "m3") == [logged[3]]
    assert history.metrics_after("cats_1", 14) == [(15, logged[14]), (16, logged[15])]


def test_what_is_not_finite_survives(history: RunHistory) -> None:
    """
    NaN and both infinities come back, alone and inside tables.
    """
    history.create(run_record())
    table = {"a": [math.inf, -math.inf], "b": [math.nan, 1.0]}

    history.add_metrics("cats_1", [metric(value=math.nan), metric(value=table)])

    alone, inside = (one.value for one in history.metrics("cats_1"))
    assert math.isnan(alone)
    assert inside["a"] == table["a"]
    assert math.isnan(inside["b"][0])


def test_ten_thousand_metrics_go_in_within_two_seconds(sqlite_home: Home) -> None:
    """
    A batch of 10,000 metrics is in an SQLite registry within 2 s of this process's own time.
    """
    with sqlite_home.open(create=True) as registry:
        registry.add_workspace(WorkspaceRecord(WORKSPACE, "s", "g"))
        history = RunHistory(registry, WORKSPACE)
        history.create(run_record())
        batch = [metric(value=float(i), step=i) for i in range(10_000)]

        # The process's own time: neighbours on the machine do not count.
        begin = time.process_time()
        history.add_metrics("cats_1", batch)
        seconds = time.process_time() - begin

        assert history.metrics("cats_1") == batch
    assert seconds < 2.0


def test_tags_change_and_properties_do_not(history: RunHistory) -> None:
    """
    Tags are put over each other and taken away; another value for a property is refused, and so
    is everything that came with it.
    """
    history.create(run_record(tags={"a": "1", "b": None}, properties={"commit": "abc"}))

    history.tag("cats_1", {"a": "2", "c": "3"})
    history.remove_tags("cats_1", ["b", "unknown"])
    history.add_properties("cats_1", {"commit": "abc", "more": "x"})
    with pytest.raises(RunRefused, match='has the property "commit"'):
        history.absorb(Entry("cats_1", tags={"d": "4"}, properties={"commit": "other"}))

    found = history.get("cats_1")
    assert (found.tags, found.properties) == (
        {"a": "2", "c": "3"},
        {"commit": "abc", "more": "x"},
    )


def test_texts_that_a_database_cannot_hold_are_replaced(history: RunHistory) -> None:
    """
    NUL and half characters in what people and programs say become the replacement character.
    """
    odd, whole = "a\0b\ud800", "a\ufffdb\ufffd"
    history.create(run_record(display_name=odd, tags={"t": odd}, command=(odd,)))

    history.change("cats_1", error=odd, report={"failures": [odd]})

    found = history.get("cats_1")
    assert (found.display_name, found.tags["t"], found.error) == (whole, whole, whole)
    assert (found.command, found.report) == ((odd,), {"failures": [odd]})


def test_files_are_known_by_name(history: RunHistory) -> None:
    """
    A file of a known name takes the place of the earlier one, also inside one batch.
    """
    history.create(run_record())
    many = [RunFile(f"outputs/{i:04}", i, "store", f"x/{i}", added=moment(i)) for i in range(1200)]
    last = RunFile("outputs/0003", 2**40, None, None, "/node/3", moment(9))

    history.add_files("cats_1", many)
    history.add_files("cats_1", [RunFile("outputs/0003", 1, added=moment(1)), last])

    assert history.files("cats_1") == [*many[:3], last, *many[4:]]


def test_experiments_have_tags(history: RunHistory) -> None:
    """
    Tags of an experiment are added and removed, and making it again changes nothing.
    """
    made = history.make_experiment("cats")

    history.tag_experiment("cats", {"a": "1", "b": "2"})
    changed = history.tag_experiment("cats", {"c": "3"}, remove=["a"])

    assert changed == replace(made, tags={"b": "2", "c": "3"})
    assert history.make_experiment("cats") == changed


def test_histories_go_with_their_workspace(registry: Registry, history: RunHistory) -> None:
    """
    Removing a workspace leaves no run, label, metric or file of it in the database.
    """
    history.create(run_record(tags={"a": "b"}))
    history.add_metrics("cats_1", [metric()])
    history.add_files("cats_1", [RunFile("x", 1)])

    registry.remove_workspace(WORKSPACE)

    left = registry.database.read(
        lambda connection: [
            connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one()
            for table in ("experiments", "runs", "run_labels", "metrics", "run_files")
        ]
    )
    assert left == [0] * 5


def test_two_workspaces_have_histories_of_their_own(registry: Registry, home: Home) -> None:
    """
    The same run id in two workspaces is two runs.
    """
    from tests.registry.conftest import workspace

    registry.add_workspace(workspace(home, "other"))
    mine, other = (RunHistory(registry, name) for name in (WORKSPACE, "other"))
    mine.create(run_record(display_name="mine"))
    made = other.create(run_record(display_name="other", tags={"a": "b"}))
    mine.add_metrics("cats_1", [metric()])

    assert (other.get("cats_1"), other.metrics("cats_1")) == (made, [])
    assert mine.list(tags={"a": None}) == []


def test_no_secret_reaches_the_database(
    registry: Registry, history: RunHistory, home: Home
) -> None:
    """
    A canary in leases, variables, arguments, errors, reports, labels and metrics is in no table
    afterwards.
    """
    live = Secret(CANARY)
    lease = {"credential": {"kind": "Sas", "token": CANARY}, "expires_at": 1}
    history.create(
        run_record(
            command=("--token", CANARY),
            spec={
                "source": {"lease": lease, "path": "src"},
                "inputs": [{"name": "a", "lease": lease}],
                "environment": {
                    "API_KEY": "unknown-to-us",
                    "my_password": "unknown-to-us",
                    "HF_TOKEN": "unknown-to-us",
                    "AZURE_STORAGE_CONNECTION_STRING": "unknown-to-us",
                    "KEYBOARD": "qwerty",
                    "MODE": CANARY,
                },
            },
            tags={"t": CANARY},
            properties={"p": CANARY},
            display_name=CANARY,
            description=CANARY,
        )
    )
    history.change("cats_1", error=f"refused: {CANARY}", report={"failures": [CANARY]})
    history.tag("cats_1", {"u": CANARY})
    history.add_metrics(
        "cats_1", [metric(value=CANARY), metric(value={"a": [CANARY]}, description=CANARY)]
    )

    spec = history.get("cats_1").spec
    assert spec == {
        "source": {"path": "src"},
        "inputs": [{"name": "a"}],
        "environment": {
            "API_KEY": MASK,
            "my_password": MASK,
            "HF_TOKEN": MASK,
            "AZURE_STORAGE_CONNECTION_STRING": MASK,
            "KEYBOARD": "qwerty",
            "MODE": MASK,
        },
    }
    dump = registry.database.read(_dump)
    assert CANARY not in dump
    assert "unknown-to-us" not in dump
    assert "cats_1" in dump
    assert live.reveal() == CANARY
    if "://" not in home.address:
        assert CANARY.encode() not in Path(home.address).read_bytes()


def _dump(connection: Any) -> str:
    tables = ("experiments", "runs", "run_labels", "metrics", "run_files")
    return "\n".join(
        str(tuple(row))
        for table in tables
        for row in connection.exec_driver_sql(f"SELECT * FROM {table}")
    )


def _assortment() -> list[RunRecord]:
    statuses = [Status.RUNNING, Status.COMPLETED, Status.FAILED]
    return [
        run_record(
            f"{name}_{i}",
            name,
            status=statuses[i % 3],
            created=moment((i * 7) % 12),
            type=INTERACTIVE if i % 4 == 0 else "azureml.scriptrun",
            parent=RunId("cats_0") if i % 5 == 1 else None,
            tags={
                **({"color": "red" if i % 2 else "blue"} if i % 3 else {}),
                **({"size": str(i)} if i % 2 else {}),
                **({'odd"name': "x"} if i == 4 else {}),
            },
            properties={"commit": str(i % 3)},
        )
        for i in range(12)
        for name in [("cats", "dogs")[i % 2 if i < 8 else 0]]
    ]


def _age(run: RunRecord) -> tuple[object, str]:
    return run.created, run.run_id


def _meets(run: RunRecord, wanted: dict[str, Any]) -> bool:
    statuses = wanted.get("status", run.status)
    return (
        wanted.get("experiment", run.experiment) == run.experiment
        and (run.status in ([statuses] if isinstance(statuses, Status) else statuses))
        and wanted.get("type", run.type) == run.type
        and wanted.get("parent", run.parent) == run.parent
        and not (wanted.get("top_level") and run.parent)
        and _labelled(run.tags, wanted.get("tags", {}))
        and _labelled(run.properties, wanted.get("properties", {}))
    )


def _labelled(given: Any, wanted: dict[str, str | None]) -> bool:
    return all(name in given and value in (None, given[name]) for name, value in wanted.items())


def test_kinds_of_metrics_are_kept(history: RunHistory) -> None:
    """
    Each shape of metric comes back as what it was logged as.
    """
    history.create(run_record())
    logged = [Metric("m", kind, [1], logged=moment(0)) for kind in MetricKind]

    history.add_metrics("cats_1", logged)

    assert history.metrics("cats_1") == logged
