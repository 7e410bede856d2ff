"""Datastores of a workspace that is nowhere: names and definitions, as planning needs them."""

from __future__ import annotations

from typing import Any, cast

from datastores.catalog.abstract import AbstractDatastore
from datastores.catalog.kinds import CLASSES
from datastores.contract import LeaseSpec
from datastores.credentials.kinds import Sas
from datastores.definitions import BlobContainer, Definition, FileShare, PostgreSql
from datastores.names import DatastoreName, WorkspaceName
from datastores.registry.records import DatastoreRecord, WorkspaceRecord
from datastores.runs import LeaseWish
from datastores.secret import Secret

CANARY = "canary-91ce"


def store(definition: Definition) -> Any:
    """The catalog's object for a definition, without a registry."""
    made = WorkspaceRecord(WorkspaceName("demo"), "local", "local").created
    record = DatastoreRecord(
        WorkspaceName("demo"), definition, {"kind": "Anonymous"}, made, made, 1
    )
    return CLASSES[definition.kind](cast(Any, None), record)


def _blob(name: str) -> Any:
    return store(BlobContainer(DatastoreName(name), name, "account"))


datastore1, datastore2, datastore3 = _blob("datastore1"), _blob("datastore2"), _blob("datastore3")
workspaceblobstore = _blob("workspaceblobstore")
share = store(FileShare(DatastoreName("share"), "share", "account"))
shop = store(PostgreSql(DatastoreName("shop"), "server", "orders"))

STORES: dict[str, AbstractDatastore] = {
    one.name: one for one in (datastore1, datastore2, datastore3, workspaceblobstore, share, shop)
}


def lease(wish: LeaseWish) -> LeaseSpec:
    """A lease that says what it is for."""
    text = f"{CANARY} {wish.definition.name}:{wish.place}:{wish.access.value}"
    return LeaseSpec(Sas(Secret(text)))
