"""The registry: workspaces, their datastores, and the secrets that open them."""

from __future__ import annotations

import builtins
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection, delete, insert, select

from datastores.credentials.kinds import Credential, seal, unseal
from datastores.definitions import Definition, to_wire
from datastores.errors import AlreadyRegistered, NotRegistered
from datastores.names import DatastoreName, WorkspaceName
from datastores.registry import rows, schema
from datastores.registry.address import parse_address
from datastores.registry.database import Database
from datastores.registry.keychain import Keychain
from datastores.registry.migrate import bring_up_to_date
from datastores.registry.records import DatastoreRecord, WorkspaceRecord
from datastores.registry.sealing import open_all, seal_all
from datastores.secret import Secret

PATIENCE_SECONDS = 20.0


class Registry:
    """What workspaces remember, in a file or a PostgreSQL database.

    For any number of threads and processes, and usable on both sides of a fork. A method that
    returns has made its change durable; one that raises has changed nothing.
    """

    def __init__(self, database: Database, keychain: Keychain) -> None:
        self.database, self.keychain = database, keychain

    @classmethod
    def open(
        cls,
        url_or_path: str | os.PathLike[str],
        *,
        create: bool = False,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> Self:
        """The registry at a path or a `postgresql://` address, its schema brought up to date.

        Writers wait `patience_seconds` for each other, then `RegistryBusy`.
        """
        address = Secret(os.fspath(url_or_path) or ".")
        del url_or_path  # it may hold a password, and this frame may end up in a crash report
        place = parse_address(address)
        del address
        place.make() if create else place.find()
        database = Database.of(place, patience_seconds)
        try:
            bring_up_to_date(database, create=create)
        except BaseException:
            database.close()
            raise
        return cls(database, Keychain(place.label, place.folder))

    def close(self) -> None:
        """Let go of connections; opening again needs `Registry.open`."""
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Registry({self.database.label!r})"

    # Workspaces.

    def add_workspace(
        self, record: WorkspaceRecord, stores: Sequence[tuple[Definition, Credential]] = ()
    ) -> None:
        """Remember a workspace with its first datastores, all at once, the first as the default.

        `AlreadyRegistered` if its name is taken.
        """

        def work(connection: Connection) -> None:
            if record.name in rows.workspace_names(connection):
                place = f'registry "{self.database.label}"'
                raise AlreadyRegistered("workspace", record.name, place, "choose another name")
            connection.execute(insert(schema.workspaces).values(rows.workspace_values(record)))
            for definition, credential in stores:
                self._put(connection, record, definition, credential, overwrite=False)
            if stores:
                default = str(stores[0][0].name)
                rows.change_workspace(connection, record.id, default_datastore=default)

        self.database.write(work)

    def workspace(self, name: str) -> WorkspaceRecord:
        """The workspace of this name; `NotRegistered` lists the known ones."""
        return self.database.read(lambda connection: self.find_workspace(connection, name))

    def workspaces(self) -> builtins.list[WorkspaceRecord]:
        """All of them, by name."""
        query = select(schema.workspaces).order_by(schema.workspaces.c.name)
        return self.database.read(
            lambda connection: [rows.workspace_record(row) for row in connection.execute(query)]
        )

    def remove_workspace(self, name: str) -> None:
        """Forget a workspace with all its datastores and secrets."""

        def work(connection: Connection) -> None:
            found = self.find_workspace(connection, name)
            connection.execute(delete(schema.workspaces).where(schema.workspaces.c.id == found.id))

        self.database.write(work)

    def set_default(self, workspace: str, datastore: str) -> None:
        """Use this datastore where none is named."""

        def work(connection: Connection) -> None:
            found = self.find_workspace(connection, workspace)
            name = self._datastore(connection, found, datastore).name
            rows.change_workspace(connection, found.id, default_datastore=str(name))

        self.database.write(work)

    def set_settings(self, workspace: str, settings: Mapping[str, Any]) -> None:
        """Replace the workspace's settings.

        Another `vault_key` moves no keys: the new source must already hold those in use.
        """

        def work(connection: Connection) -> None:
            found = self.find_workspace(connection, workspace)
            rows.change_workspace(connection, found.id, settings=dict(settings))

        self.database.write(work)

    # Datastores.

    def put(
        self, workspace: str, definition: Definition, credential: Credential, *, overwrite: bool
    ) -> DatastoreRecord:
        """Register a datastore: definition and secrets together, or neither."""
        return self.database.write(
            lambda connection: self._put(
                connection,
                self.find_workspace(connection, workspace),
                definition,
                credential,
                overwrite=overwrite,
            )
        )

    def _put(
        self,
        connection: Connection,
        workspace: WorkspaceRecord,
        definition: Definition,
        credential: Credential,
        *,
        overwrite: bool,
    ) -> DatastoreRecord:
        shown, kept = seal(credential)
        wire = to_wire(definition)
        before = rows.find_datastore(connection, workspace, definition.name)
        if before and not overwrite:
            raise AlreadyRegistered(
                "datastore",
                definition.name,
                f'workspace "{workspace.name}"',
                "pass overwrite=True (--overwrite) to replace it, or choose another name",
            )
        now = datetime.now(UTC)
        record = DatastoreRecord(
            workspace.name,
            definition,
            shown,
            before.created if before else now,
            now,
            before.revision + 1 if before else 1,
        )
        rows.save_datastore(connection, workspace, record, wire, is_new=before is None)
        seal_all(connection, self.keychain, workspace, (definition.name, wire, shown), kept)
        return record

    def get(self, workspace: str, name: str) -> DatastoreRecord:
        """What is known of a datastore; `NotRegistered` lists the known ones."""
        return self.database.read(
            lambda connection: self._datastore(
                connection, self.find_workspace(connection, workspace), name
            )
        )

    def credential(self, workspace: str, name: str) -> Credential:
        """What opens a datastore; the vault's key is needed only if it holds a secret."""
        return self.unlock(workspace, name)[1]

    def unlock(self, workspace: str, name: str) -> tuple[DatastoreRecord, Credential]:
        """A datastore and what opens it, both of one registration."""

        def work(connection: Connection) -> tuple[DatastoreRecord, rows.SealedCredential]:
            found = self.find_workspace(connection, workspace)
            record = self._datastore(connection, found, name)
            return record, rows.find_sealed(connection, found, record.name)

        # A rotation may drop the key between the look at the records and the look at the keys;
        # then the records have another key by now.
        for is_last in (False, True):
            record, sealed = self.database.read(work)
            kept = open_all(self.keychain, sealed, is_last=is_last)
            if kept is not None:
                break
        assert kept is not None
        return record, unseal(record.credential, kept)

    def list(self, workspace: str) -> builtins.list[DatastoreRecord]:
        """The workspace's datastores as they are at one moment, by name."""
        return self.database.read(
            lambda connection: rows.list_datastores(
                connection, self.find_workspace(connection, workspace)
            )
        )

    def names(self, workspace: str) -> builtins.list[str]:
        """What the workspace's datastores are called."""
        return self.database.read(
            lambda connection: rows.datastore_names(
                connection, self.find_workspace(connection, workspace)
            )
        )

    def remove(self, workspace: str, name: str) -> None:
        """Forget a datastore and its secrets.

        If it is the default, the workspace has none afterwards: withdrawing a credential must
        never have to wait for a choice, and the default must never name a stranger that is
        registered later under the same name.
        """

        def work(connection: Connection) -> None:
            found = self.find_workspace(connection, workspace)
            record = self._datastore(connection, found, name)
            rows.delete_datastore(connection, found, record.name)
            if found.default_datastore == record.name:
                rows.change_workspace(connection, found.id, default_datastore=None)

        self.database.write(work)

    def find_workspace(self, connection: Connection, name: str) -> WorkspaceRecord:
        """The workspace of this name, inside a transaction of the caller's."""
        wanted = WorkspaceName.parse(name)
        found = rows.find_workspace(connection, wanted)
        if found is None:
            place = f'registry "{self.database.label}"'
            raise NotRegistered("workspace", wanted, place, rows.workspace_names(connection))
        return found

    def _datastore(
        self, connection: Connection, workspace: WorkspaceRecord, name: str
    ) -> DatastoreRecord:
        wanted = DatastoreName.parse(name)
        found = rows.find_datastore(connection, workspace, wanted)
        if found is None:
            place = f'workspace "{workspace.name}"'
            known = rows.datastore_names(connection, workspace)
            raise NotRegistered("datastore", wanted, place, known)
        return found
