"""A datastore's secrets on their way into the records and out of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from datastores.errors import VaultLocked
from datastores.registry import rows
from datastores.registry.keychain import Keychain
from datastores.registry.keys import Key
from datastores.registry.records import WorkspaceRecord
from datastores.registry.vault import Belonging, open_secret, seal_secret
from datastores.secret import Secret


def seal_all(
    connection: Connection,
    keychain: Keychain,
    workspace: WorkspaceRecord,
    registration: tuple[str, Mapping[str, Any], Mapping[str, Any]],
    kept: Mapping[str, Secret],
) -> None:
    """Keep the secrets of a registration: name, definition and shown part of the credential."""
    if not kept:
        return
    owner, definition, shown = registration
    key = _key_for(connection, keychain, workspace)
    for field, secret in kept.items():
        belonging = Belonging.to(workspace.id, owner, field, definition, shown)
        sealed = seal_secret(secret, key, belonging)
        rows.insert_sealed(connection, workspace, owner, field, sealed)


def open_all(
    keychain: Keychain, sealed: rows.SealedCredential, *, is_last: bool = True
) -> dict[str, Secret] | None:
    """The secrets by field; None when a key is missing and the caller wants to look again."""
    opened = {}
    settings = sealed.workspace.settings
    for field, (one, belonging) in sealed.fields.items():
        key = keychain.key(settings, one.key_id)
        if key is None and not is_last:
            return None
        if key is None:
            raise keychain.missing(settings, one.key_id)
        secret = open_secret(one, key, belonging)
        if secret is None:
            raise VaultLocked(
                keychain.registry,
                f'the secret "{field}" of datastore "{sealed.owner}" or its record was altered '
                "outside this package; register the datastore again",
            )
        opened[field] = secret
    return opened


def _key_for(connection: Connection, keychain: Keychain, workspace: WorkspaceRecord) -> Key:
    """The key that all secrets of a workspace share.

    Not simply the source's current one: a rotation that was cut short leaves a new current key
    and the records under the old one.
    """
    used = rows.key_in_use(connection, workspace)
    if used is None:
        return keychain.first_key(workspace.settings)
    key = keychain.key(workspace.settings, used)
    if key is None:
        raise keychain.missing(workspace.settings, used)
    return key
