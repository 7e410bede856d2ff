"""Records as rows of the tables, inside somebody else's transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, insert, select, update

from datastores.definitions import from_wire
from datastores.errors import WireError
from datastores.names import DatastoreName, WorkspaceName
from datastores.registry.records import DatastoreRecord, WorkspaceRecord
from datastores.registry.schema import datastores, secrets, workspaces
from datastores.registry.vault import Belonging, Sealed
from datastores.value import Value


class SealedCredential(Value):
    """A datastore's secrets by field, still closed, with what each belongs to."""

    workspace: WorkspaceRecord
    owner: DatastoreName
    fields: Mapping[str, tuple[Sealed, Belonging]]


def workspace_names(connection: Connection) -> list[str]:
    """All workspaces."""
    return list(connection.scalars(select(workspaces.c.name).order_by(workspaces.c.name)))


def find_workspace(connection: Connection, name: WorkspaceName) -> WorkspaceRecord | None:
    """The workspace of this name."""
    row = connection.execute(select(workspaces).where(workspaces.c.name == str(name))).one_or_none()
    return workspace_record(row) if row else None


def workspace_record(row: Row[Any]) -> WorkspaceRecord:
    """The record a row stands for."""
    default = row.default_datastore
    return WorkspaceRecord(
        name=WorkspaceName.parse(row.name),
        subscription_id=row.subscription_id,
        resource_group=row.resource_group,
        id=row.id,
        created=row.created,
        tags=row.tags,
        default_datastore=DatastoreName.parse(default) if default else None,
        settings=row.settings,
    )


def workspace_values(record: WorkspaceRecord) -> dict[str, Any]:
    """The row that stands for a record."""
    default = record.default_datastore
    return {
        "id": record.id,
        "name": str(record.name),
        "subscription_id": record.subscription_id,
        "resource_group": record.resource_group,
        "created": record.created,
        "tags": dict(record.tags),
        "default_datastore": str(default) if default else None,
        "settings": dict(record.settings),
    }


def change_workspace(connection: Connection, workspace_id: str, **values: Any) -> None:
    """Set some columns."""
    connection.execute(update(workspaces).where(workspaces.c.id == workspace_id).values(values))


def datastore_names(connection: Connection, workspace: WorkspaceRecord) -> list[str]:
    """The workspace's datastores."""
    query = select(datastores.c.name).where(datastores.c.workspace_id == workspace.id)
    return list(connection.scalars(query.order_by(datastores.c.name)))


def list_datastores(connection: Connection, workspace: WorkspaceRecord) -> list[DatastoreRecord]:
    """The workspace's datastores by name."""
    query = select(datastores).where(datastores.c.workspace_id == workspace.id)
    return [
        _datastore_record(workspace, row)
        for row in connection.execute(query.order_by(datastores.c.name))
    ]


def find_datastore(
    connection: Connection, workspace: WorkspaceRecord, name: DatastoreName
) -> DatastoreRecord | None:
    """The datastore of this name."""
    row = connection.execute(select(datastores).where(_is(workspace, name))).one_or_none()
    return _datastore_record(workspace, row) if row else None


def save_datastore(
    connection: Connection,
    workspace: WorkspaceRecord,
    record: DatastoreRecord,
    wire: Mapping[str, Any],
    *,
    is_new: bool,
) -> None:
    """Write the record over an earlier one, whose secrets go."""
    values = {
        "kind": record.definition.kind,
        "definition": dict(wire),
        "credential": dict(record.credential),
        "created": record.created,
        "changed": record.changed,
        "revision": record.revision,
    }
    if is_new:
        key = {"workspace_id": workspace.id, "name": str(record.name)}
        connection.execute(insert(datastores).values({**key, **values}))
    else:
        connection.execute(update(datastores).where(_is(workspace, record.name)).values(values))
        connection.execute(delete(secrets).where(_owned(workspace, record.name)))


def delete_datastore(
    connection: Connection, workspace: WorkspaceRecord, name: DatastoreName
) -> None:
    """Forget a datastore; its secrets go by the foreign key."""
    connection.execute(delete(datastores).where(_is(workspace, name)))


def find_sealed(
    connection: Connection, workspace: WorkspaceRecord, name: DatastoreName
) -> SealedCredential:
    """The secrets of one datastore."""
    return _sealed(connection, workspace, name)


def all_sealed(connection: Connection, workspace: WorkspaceRecord) -> list[SealedCredential]:
    """The secrets of every datastore of a workspace."""
    return [
        _sealed(connection, workspace, DatastoreName.parse(name))
        for name in datastore_names(connection, workspace)
    ]


def key_in_use(connection: Connection, workspace: WorkspaceRecord) -> str | None:
    """The key of the workspace's secrets: at any moment it is one; None where there are none."""
    query = select(secrets.c.key_id).where(secrets.c.workspace_id == workspace.id)
    return connection.scalar(query.limit(1))


def keys_in_use(connection: Connection) -> set[str]:
    """The keys of all secrets of all workspaces."""
    return set(connection.scalars(select(secrets.c.key_id).distinct()))


def insert_sealed(
    connection: Connection, workspace: WorkspaceRecord, owner: str, field: str, sealed: Sealed
) -> None:
    """Keep a secret."""
    connection.execute(
        insert(secrets).values(
            workspace_id=workspace.id, owner=str(owner), field=field, **_columns(sealed)
        )
    )


def replace_sealed(
    connection: Connection, workspace: WorkspaceRecord, owner: str, field: str, sealed: Sealed
) -> None:
    """Keep a secret in place of its earlier form."""
    connection.execute(
        update(secrets)
        .where(_owned(workspace, owner), secrets.c.field == field)
        .values(_columns(sealed))
    )


def _datastore_record(workspace: WorkspaceRecord, row: Row[Any]) -> DatastoreRecord:
    try:
        definition = from_wire(row.definition)
    except (TypeError, KeyError) as error:
        raise WireError(
            f'the record of datastore "{row.name}" lacks a field; register it again'
        ) from error
    return DatastoreRecord(
        workspace.name, definition, row.credential, row.created, row.changed, row.revision
    )


def _sealed(
    connection: Connection, workspace: WorkspaceRecord, name: DatastoreName
) -> SealedCredential:
    query = (
        select(secrets, datastores.c.definition, datastores.c.credential)
        .join_from(
            secrets,
            datastores,
            and_(
                datastores.c.workspace_id == secrets.c.workspace_id,
                datastores.c.name == secrets.c.owner,
            ),
        )
        .where(_owned(workspace, name))
    )
    return SealedCredential(
        workspace,
        name,
        {
            row.field: (
                Sealed(row.key_id, row.nonce, row.ciphertext),
                Belonging.to(workspace.id, name, row.field, row.definition, row.credential),
            )
            for row in connection.execute(query)
        },
    )


def _columns(sealed: Sealed) -> dict[str, Any]:
    return {
        "key_id": sealed.key_id,
        "nonce": sealed.nonce,
        "ciphertext": sealed.ciphertext,
    }


def _is(workspace: WorkspaceRecord, name: str) -> ColumnElement[bool]:
    return and_(datastores.c.workspace_id == workspace.id, datastores.c.name == str(name))


def _owned(workspace: WorkspaceRecord, owner: str) -> ColumnElement[bool]:
    return and_(secrets.c.workspace_id == workspace.id, secrets.c.owner == str(owner))
