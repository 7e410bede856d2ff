"""Planning: a configuration becomes a spec, or one sentence before anything has moved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from datastores.contract import (
    Command,
    FolderSource,
    InputMode,
    InputSpec,
    JobSpec,
    LeaseSpec,
    Limits,
    OutputMode,
    OutputSpec,
    QuerySpec,
    RowsSpec,
    Script,
    SnapshotSource,
    When,
    from_json,
    to_json,
)
from datastores.credentials.leases import Access
from datastores.definitions import BlobContainer
from datastores.errors import (
    DatastoresError,
    DefinitionRejected,
    NameRejected,
    NotRegistered,
    Unsupported,
)
from datastores.names import DatastoreName
from datastores.references import DataReferenceConfiguration, SqlDataReference
from datastores.runs import LeaseWish, RunConfiguration, plan_job
from datastores.runs.data import (
    Data,
    DataLocation,
    DataPath,
    OutputData,
    OutputOptions,
    SqlReferenceConfiguration,
    UploadOptions,
)
from tests.runs.stores import CANARY, STORES, datastore1, datastore2, lease, share, shop, store


def plan(configuration: RunConfiguration, **settings: Any) -> JobSpec:
    return plan_job(configuration, STORES, **{"run_id": "r1", "leases": lease, **settings})


def leased(place: str, access: str) -> LeaseSpec:
    name, _, below = place.partition(":")
    return lease(LeaseWish(STORES[name].definition, below, Access(access)))


def everything() -> RunConfiguration:
    made = RunConfiguration(
        "train.py",
        ["--data", datastore1.path("/train", "train").as_mount(), "--epochs", 3],
    )
    made.data_references["labels"] = DataReferenceConfiguration(
        "Datastore2", "download", "./labels.csv", "in/labels.csv", overwrite=True
    )
    made.data_references["rows"] = SqlDataReference(  # type: ignore[assignment]  # live references work as well
        shop, "rows", sql_stored_procedure="p", sql_stored_procedure_params={"year": 2024}
    )
    made.data_references["model"] = share.path("runs/{run_id}", "model").as_upload("out")
    made.data["extra"] = Data(
        DataLocation(data_path=DataPath("datastore1", "extra/")),
        mechanism="download",
        environment_variable_name="EXTRA",
    )
    made.output_data["logs"] = OutputData(
        DataLocation(data_path=DataPath("datastore2", "logs")),
        "mount",
        OutputOptions("logs", upload_options=UploadOptions(True)),
    )
    made.environment.environment_variables = {"A": "1", "B": "1"}
    made.environment_variables = {"B": "2"}
    made.max_run_duration_seconds = 60
    return made


def test_everything_finds_its_place_in_the_spec() -> None:
    """Live references, stored ones, rows, data and outputs all arrive, each with its lease."""
    spec = plan(
        everything(),
        experiment="cats",
        source=FolderSource("/home/me/src"),
        keep={"model": When.SUCCESS},
    )

    first, second = datastore1.definition, datastore2.definition
    want = JobSpec(
        "r1",
        "cats",
        Script("train.py", ("--data", "$AZUREML_DATAREFERENCE_train", "--epochs", "3")),
        FolderSource("/home/me/src"),
        {"A": "1", "B": "2", "EXTRA": "${AZUREML_DATAREFERENCE_extra}"},
        (
            InputSpec(
                "labels",
                InputMode.DOWNLOAD,
                second,
                "labels.csv",
                "in/labels.csv",
                True,
                leased("datastore2:labels.csv", "read"),
            ),
            InputSpec(
                "train", InputMode.MOUNT, first, "train", lease=leased("datastore1:train", "read")
            ),
            InputSpec(
                "extra",
                InputMode.DOWNLOAD,
                first,
                "extra",
                lease=leased("datastore1:extra", "read"),
            ),
        ),
        (
            RowsSpec(
                "rows",
                shop.definition,
                QuerySpec(procedure="p", named={"year": 2024}),
                lease=leased("shop:", "read"),
            ),
        ),
        (
            OutputSpec(
                "model",
                OutputMode.UPLOAD,
                share.definition,
                "runs/r1",
                "out",
                when=When.SUCCESS,
                lease=leased("share:runs/r1", "read and write"),
            ),
            OutputSpec(
                "logs",
                OutputMode.MOUNT,
                second,
                "logs",
                "logs",
                True,
                lease=leased("datastore2:logs", "read and write"),
            ),
        ),
        Limits(run_seconds=60.0),
    )
    assert spec == want
    assert from_json(to_json(spec)) == spec
    assert CANARY not in repr(spec)


def test_a_saved_configuration_plans_like_the_live_one(tmp_path: Path) -> None:
    """A file made from live references gives the same spec as the references themselves."""
    file = everything().save(tmp_path, "train")

    assert plan(RunConfiguration.load(file)) == plan(everything())


def test_planning_changes_nothing() -> None:
    """The configuration is the same after planning, live references included."""
    made, untouched = everything(), everything()

    plan(made)

    assert repr(made) == repr(untouched)
    assert not isinstance(made.arguments[1], str)


@pytest.mark.parametrize(
    ("command", "want"),
    [
        ("nvidia-smi | tee log", Command(shell="nvidia-smi | tee log")),
        (
            ["ls", datastore1.path("x", "x")],
            Command(("ls", "$AZUREML_DATAREFERENCE_x")),
        ),
    ],
)
def test_commands_in_place_of_scripts(command: Any, want: Command) -> None:
    """A list is started as it is, with references replaced; a text is for the shell."""
    assert plan(RunConfiguration(command=command)).work == want


def test_a_snapshot_is_leased_for_reading() -> None:
    """The source in a datastore gets a lease of its own."""
    source = SnapshotSource(datastore1.definition, "azureml/r1/source")

    spec = plan(RunConfiguration("t.py"), source=source)

    assert isinstance(spec.source, SnapshotSource)
    assert spec.source.lease == leased("datastore1:azureml/r1/source", "read")


def reference(name: str, entry: Any, script: str = "train.py") -> RunConfiguration:
    made = RunConfiguration(script)
    made.data_references[name] = entry
    return made


def two_outputs(first: Any, second: Any) -> RunConfiguration:
    made = reference("first", first)
    made.data_references["second"] = second
    return made


Reference = DataReferenceConfiguration
MIRROR = store(BlobContainer(DatastoreName("mirror"), "datastore1", "account"))


def named_twice() -> RunConfiguration:
    made = reference("d", Reference("datastore1"))
    made.data["d"] = Data(DataLocation(data_path=DataPath("datastore1")), mechanism="mount")
    return made


def nodes(count: int) -> RunConfiguration:
    made = RunConfiguration("train.py")
    made.node_count = count
    return made


@pytest.mark.parametrize(
    ("configuration", "error", "sentence", "code"),
    [
        (reference("d", Reference("nothing")), NotRegistered, 'registered: "datastore1", "data', 4),
        (reference("d", Reference("shop")), Unsupported, "holds rows, which it can download", 13),
        (reference("d", Reference("shop", "upload")), Unsupported, "SqlDataReference", 13),
        (reference("d", Reference("datastore1", "hdfs")), Unsupported, "can mount, download", 13),
        (
            reference("d", SqlReferenceConfiguration("datastore1", sql_query="q")),
            Unsupported,
            "holds files",
            13,
        ),
        (
            reference("d", SqlReferenceConfiguration("shop", "mount", sql_query="q")),
            Unsupported,
            "can download",
            13,
        ),
        (reference("d", SqlReferenceConfiguration("shop")), DefinitionRejected, "exactly one", 3),
        (reference("d", Reference("datastore1", "mount", "../x")), NameRejected, "climbs", 3),
        (
            reference("d", Reference("datastore1", "upload", None, "../up")),
            DefinitionRejected,
            'path_on_compute "../up" leaves the working folder',
            3,
        ),
        (
            reference("d", Reference("datastore1", "upload", None, "/etc")),
            DefinitionRejected,
            "is absolute",
            3,
        ),
        (
            two_outputs(
                Reference("datastore1", "upload", "m", "a"),
                Reference("Mirror", "upload", "./m/", "b"),
            ),
            DefinitionRejected,
            '"second" rejected: it and "first" are both written to "mirror/m"',
            3,
        ),
        (
            two_outputs(
                Reference("datastore1", "download", "m", "a"),
                Reference("datastore2", "upload", "n", "a/b"),
            ),
            DefinitionRejected,
            "are one inside the other",
            3,
        ),
        (named_twice(), DefinitionRejected, "rename one", 3),
        (nodes(2), DefinitionRejected, "2 nodes are asked for", 3),
        (RunConfiguration(), DefinitionRejected, "neither a script nor a command", 3),
        (RunConfiguration("a.py", command="b"), DefinitionRejected, "a script and a command", 3),
        (RunConfiguration("gone.py"), DefinitionRejected, '"gone.py" is not in the source', 3),
        (RunConfiguration("../a.py"), DefinitionRejected, "outside the source folder", 3),
        (RunConfiguration("/a.py"), DefinitionRejected, "outside the source folder", 3),
    ],
)
def test_mistakes_are_told_before_any_lease(
    configuration: RunConfiguration, error: type[DatastoresError], sentence: str, code: int
) -> None:
    """Each mistake is one sentence with its exit code, and no lease was asked for before it."""
    asked: list[LeaseWish] = []

    with pytest.raises(error) as refused:
        plan_job(
            configuration,
            {**STORES, "mirror": MIRROR},
            run_id="r1",
            leases=asked.append,
            has_file={"train.py"}.__contains__,
        )

    assert sentence in str(refused.value)
    assert refused.value.exit_code == code
    assert asked == []


def test_run_ids_and_policies_are_checked() -> None:
    """A run id must be fit for a folder, and a policy must name an output."""
    for run_id in ("", "a/b", "..", ".hidden", "a b"):
        with pytest.raises(NameRejected):
            plan(RunConfiguration("t.py"), run_id=run_id)
    with pytest.raises(DefinitionRejected, match="no output of this run"):
        plan(RunConfiguration("t.py"), keep={"model": When.SUCCESS})


def test_absolute_paths_need_permission() -> None:
    """With permission an absolute path_on_compute is planned, and the spec says so."""
    made = reference("d", Reference("datastore1", "mount", None, "/data"))

    assert plan(made, absolute_paths=True).absolute_paths
