"""Registering: look before asking the network, ask before writing, write in one step."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from datastores.catalog.kinds import attach
from datastores.definitions import DataLakeGen1
from datastores.errors import AlreadyRegistered, DatastoresError

if TYPE_CHECKING:
    from datastores.catalog.abstract import AbstractDatastore
    from datastores.catalog.workspace import Workspace
    from datastores.credentials.kinds import Credential
    from datastores.definitions import Definition
    from datastores.storage.contract import Patience

log = logging.getLogger(__name__)


def register(
    workspace: Workspace,
    definition: Definition,
    credential: Credential,
    *,
    overwrite: bool = False,
    create_if_not_exists: bool = False,
    skip_validation: bool = False,
) -> AbstractDatastore:
    """Remember a datastore, once its store has answered; nothing is kept when a step fails."""
    if not overwrite and definition.name in workspace.datastore_names():
        raise AlreadyRegistered(
            "datastore",
            definition.name,
            f'workspace "{workspace.name}"',
            "pass overwrite=True (--overwrite) to replace it, or choose another name",
        )
    if isinstance(definition, DataLakeGen1) and definition.is_retired_service:
        log.warning(
            'datastore "%s": Azure retired Data Lake Storage Gen1 on 29 February 2024; '
            "the definition is kept, and every use of it will say so",
            definition.name,
        )
    elif create_if_not_exists or not skip_validation:
        validate(definition, credential, create=create_if_not_exists)
    record = workspace.registry.put(workspace.name, definition, credential, overwrite=overwrite)
    return attach(workspace, record)


def validate(definition: Definition, credential: Credential, *, create: bool = False) -> None:
    """Reach the store once; the error names what was wrong: host, name, credential, permission."""
    patience = _short_patience()
    if definition.holds == "rows":
        from datastores.storage.rows.engine import check

        check(definition, credential, patience)
        return
    from datastores.catalog.host import find_stranger
    from datastores.storage.open import open_store

    # First, as any web page would do for an empty listing.
    stranger = find_stranger(definition)
    if stranger and stranger.is_certain:
        raise stranger.error
    store = open_store(definition, credential, patience)
    try:
        store.check(create=create)
    except DatastoresError as error:
        if stranger:
            raise stranger.error from error
        raise
    finally:
        store.close()


def _short_patience() -> Patience:
    from datastores.storage.contract import Patience

    # A person waits for this answer: two tries, never more than about half a minute.
    return Patience(connect_seconds=5.0, read_seconds=10.0, attempts=2, total_seconds=25.0)
