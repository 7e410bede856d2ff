"""Archived and removed experiments, and environments of runs, in each kind of database."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from datastores.errors import NotRegistered, RunRefused
from datastores.history.records import INTERACTIVE, ExperimentRemoval, RunFile, RunId
from datastores.history.run_history import RunHistory
from datastores.history.status import Status
from datastores.registry.address import parse_address
from datastores.registry.database import Database
from datastores.registry.migrate import SHIPPED, History, bring_up_to_date
from datastores.registry.registry import Registry
from datastores.secret import MASK, Secret
from tests.registry.conftest import WORKSPACE, Home, workspace
from tests.registry.runs import metric, moment, run_record


@pytest.fixture
def history(registry: Registry) -> RunHistory:
    return RunHistory(registry, WORKSPACE)


def test_archiving_is_remembered_with_its_moment(history: RunHistory) -> None:
    """The first archiving counts; taking back, and the next run of its own, make it active."""
    made = history.make_experiment("cats")
    before = datetime.now(UTC)

    first = history.archive_experiment("cats")
    again = history.archive_experiment("cats")
    stored = history.experiment("cats")
    history.create(run_record("below", parent=RunId("elsewhere")))
    after_child = history.experiment("cats").archived
    history.create(run_record("own"))
    after_run = history.experiment("cats").archived
    history.archive_experiment("cats")
    back = history.archive_experiment("cats", archived=False)

    assert first.archived is not None
    assert before <= first.archived <= datetime.now(UTC)
    assert (again, stored, after_child) == (first, first, first.archived)
    assert first == replace(made, archived=first.archived)
    assert (after_run, back.archived) == (None, None)
    assert history.experiment("cats") == back


def test_an_experiment_goes_with_all_its_runs_and_no_others(
    registry: Registry, history: RunHistory
) -> None:
    """Runs, labels, metrics and files of the experiment are gone; what stays is told."""
    for run_id, name in (("cats_1", "cats"), ("cats_2", "cats"), ("dogs_1", "dogs")):
        kind = INTERACTIVE if run_id == "cats_2" else "azureml.scriptrun"
        created = moment(int(run_id[-1]))
        folder = f"/runs/{run_id}"
        history.create(
            run_record(run_id, name, type=kind, folder=folder, created=created, tags={"a": "b"})
        )
        history.add_metrics(run_id, [metric()])
        history.add_files(
            run_id,
            [RunFile("a", 2, "store", "x/a"), RunFile("b", 3, "store", "x/b"),
             RunFile("c", 5, "other", "x/c"), RunFile("d", 7, None, None, "/node/d")],
        )  # fmt: skip
        history.change(run_id, status=Status.COMPLETED)
    expected = ExperimentRemoval(
        "cats",
        ("cats_2", "cats_1"),
        6,
        20,
        (
            "other:ExperimentRun/dcid.cats_1",
            "store:ExperimentRun/dcid.cats_1",
            "other:ExperimentRun/dcid.cats_2",
            "store:ExperimentRun/dcid.cats_2",
        ),
        ("/runs/cats_1",),
    )

    planned = history.plan_removal("cats")
    between = len(history.list())
    done = history.remove_experiment("cats")

    assert (planned, between, done) == (expected, 3, expected)
    assert _counts(registry) == {
        "experiments": 1, "runs": 1, "run_labels": 1, "metrics": 1, "run_files": 4,
    }  # fmt: skip
    assert history.create(run_record("cats_3")).number == 1


def test_an_experiment_with_a_run_at_work_stays(registry: Registry, history: RunHistory) -> None:
    """The run is named, nothing is changed, and an unknown experiment is told with the known."""
    history.create(run_record(status=Status.QUEUED))
    before = _counts(registry)

    for ask in (history.plan_removal, history.remove_experiment):
        with pytest.raises(RunRefused, match='run "cats_1" is Queued; end it'):
            ask("cats")
        with pytest.raises(NotRegistered, match=r'no experiment "dogs" .*"cats"'):
            ask("dogs")

    assert _counts(registry) == before


def test_an_environment_is_kept_without_its_secrets(history: RunHistory) -> None:
    """It comes back as it was told, but for variables that are named like secrets."""
    told: dict[str, Any] = {
        "name": "mine",
        "environmentVariables": {"MODE": "fast", "API_KEY": "hidden", "EMPTY_TOKEN": ""},
        "docker": {"arguments": ["--ipc=host"], "baseImageRegistry": {"password": None}},
        "condaDependencies": {"dependencies": ["python=3.11", {"pip": ["torch"]}]},
    }
    shown = {**told["environmentVariables"], "API_KEY": MASK}

    made = history.create(run_record(environment=told))
    history.create(run_record("cats_2"))
    history.change("cats_2", environment={"name": "other"})

    assert made.environment == {**told, "environmentVariables": shown}
    assert history.get("cats_1").environment == made.environment
    assert history.get("cats_2").environment == {"name": "other"}


def test_what_an_older_registry_remembers_is_active(home: Home) -> None:
    """A registry of the schema before opens with its experiments active, runs as they were."""
    place = parse_address(Secret(home.address))
    place.make()
    database = Database.of(place, 20.0)
    bring_up_to_date(database, create=True, history=History(SHIPPED.location, "0002"))
    database.write(
        lambda connection: [
            connection.exec_driver_sql(statement)
            for statement in (
                """
                INSERT INTO workspaces
                (id, name, subscription_id, resource_group, created, tags, settings)
                VALUES ('w', 'vision', 's', 'g', '2031-01-01 00:00:00', '{}', '{}')
                """,
                """
                INSERT INTO experiments (workspace_id, name, created, tags, runs)
                VALUES ('w', 'cats', '2031-01-01 00:00:00', '{}', 4)
                """,
            )
        ]
    )
    database.close()

    with home.open() as registry:
        history = RunHistory(registry, WORKSPACE)
        found = history.experiments()
        made = history.create(run_record())

    assert [(one.name, one.runs, one.archived) for one in found] == [("cats", 4, None)]
    assert (made.number, made.environment) == (5, None)


def test_workspaces_have_experiments_of_their_own(
    registry: Registry, history: RunHistory, home: Home
) -> None:
    """Archiving or removing an experiment leaves its namesake in another workspace alone."""
    registry.add_workspace(workspace(home, "other"))
    other = RunHistory(registry, "other")
    for one in (history, other):
        one.create(run_record(status=Status.COMPLETED))
        one.add_files("cats_1", [RunFile("a", 2, "store", "x/a")])

    history.archive_experiment("cats")
    removed = history.remove_experiment("cats")

    assert removed.files == 1
    assert [str(one.name) for one in history.experiments()] == []
    assert [(str(one.name), one.archived) for one in other.experiments()] == [("cats", None)]
    assert [one.name for one in other.files("cats_1")] == ["a"]


def _counts(registry: Registry) -> dict[str, int]:
    tables = ("experiments", "runs", "run_labels", "metrics", "run_files")
    return registry.database.read(
        lambda connection: {
            table: connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one()
            for table in tables
        }
    )
