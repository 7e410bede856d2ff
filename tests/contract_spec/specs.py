"""Two job specs: one with everything, one with nothing that can be left out."""

from __future__ import annotations

from datastores.contract import (
    Command,
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
)
from datastores.credentials.kinds import Anonymous, Login, Sas
from datastores.definitions import BlobContainer, LocalFolder, PostgreSql
from datastores.names import DatastoreName
from datastores.secret import Secret

CANARY = "canary-3f7b"

IMAGES = BlobContainer(DatastoreName("images"), "pictures", "account")
SHOP = PostgreSql(DatastoreName("shop"), "server", "orders")
RESULTS = LocalFolder(DatastoreName("results"), "/srv/results")

MINIMAL = JobSpec("cats_1", "cats", Command(("python", "-V")))

FULL = JobSpec(
    "cats_2",
    "cats",
    Script("src/train.py", ("--data", "$AZUREML_DATAREFERENCE_train", "--epochs", "3")),
    SnapshotSource(IMAGES, "azureml/cats_2/source", LeaseSpec(Sas(Secret(CANARY + "-source")))),
    {"MODE": "é"},
    (
        InputSpec(
            "train",
            InputMode.MOUNT,
            IMAGES,
            "train",
            lease=LeaseSpec(Sas(Secret(CANARY + "-train")), 1700000000.5, 1699990000.0),
        ),
        InputSpec("labels", InputMode.DOWNLOAD, IMAGES, "labels.csv", "in/labels.csv", True),
    ),
    (
        RowsSpec(
            "orders",
            SHOP,
            QuerySpec(procedure="sales.of", positional=(2024, None, True, 0.5, "x")),
            lease=LeaseSpec(Login("reader", Secret(CANARY + "-login"))),
        ),
    ),
    (
        OutputSpec(
            "model",
            OutputMode.UPLOAD,
            RESULTS,
            "runs/cats_2",
            "out/model",
            when=When.SUCCESS,
            lease=LeaseSpec(Anonymous()),
        ),
        OutputSpec("logs", OutputMode.MOUNT, RESULTS, "logs", manifest="logs._manifest.json"),
    ),
    Limits(3600.0, 5.0, 15.0),
)
