"""What a new workspace starts with: its record and its two stores."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datastores.catalog.home import DATA_FOLDERS, VAULT_KEY_FILE, embedded_folder, make_writable
from datastores.catalog.registration import validate
from datastores.credentials.choose import choose_storage_credential
from datastores.credentials.kinds import Anonymous
from datastores.definitions import BlobContainer, Definition, FileShare, LocalFolder
from datastores.names import DatastoreName, WorkspaceName
from datastores.secret import Secret

if TYPE_CHECKING:
    from datastores.catalog.workspace import Workspace

BLOB_STORE = DatastoreName("workspaceblobstore")
FILE_STORE = DatastoreName("workspacefilestore")


def create_workspace(
    workspace: Workspace,
    *,
    settings: Mapping[str, Any],
    tags: dict[str, str],
    storage_account: str | None,
    storage_endpoint: str | None,
    storage_key: str | Secret | None,
) -> None:
    """Make the stores, then the record; a failure leaves no workspace behind."""
    from datastores.registry.records import WorkspaceRecord

    storage_key = Secret.wrap(storage_key)
    identifier = str(uuid.uuid4())
    name = WorkspaceName.parse(workspace.name)
    folder = embedded_folder(name, workspace.registry_place)
    if workspace.is_embedded or not storage_account:
        make_writable(folder, ", or give one as folder= (--folder)")
    if storage_account:
        account = storage_account.rstrip("/").rpartition("/")[2]  # a name or an ARM id
        stores = plan_account_stores(identifier, account, storage_endpoint)
        credential = choose_storage_credential(BLOB_STORE, account_key=storage_key, sas_token=None)
    else:
        stores, credential = plan_folder_stores(folder), Anonymous()
    for definition in stores:
        validate(definition, credential, create=True)
    workspace.make_registry().add_workspace(
        WorkspaceRecord(
            name=name,
            id=identifier,
            subscription_id=workspace.subscription_id,
            resource_group=workspace.resource_group,
            tags=tags,
            settings={
                **{key: value for key, value in settings.items() if value is not None},
                "vault_key": settings.get("vault_key") or f"file:{folder / VAULT_KEY_FILE}",
                **({"storage_account": storage_account} if storage_account else {}),
            },
        ),
        [(definition, credential) for definition in stores],
    )


def plan_folder_stores(folder: Path) -> list[Definition]:
    """Two folders beside the registry."""
    blob, file = DATA_FOLDERS
    return [
        LocalFolder(BLOB_STORE, str(folder / blob)),
        LocalFolder(FILE_STORE, str(folder / file)),
    ]


def plan_account_stores(identifier: str, account: str, endpoint: str | None) -> list[Definition]:
    """A container and a share of a storage account, called as Azure ML calls them."""
    return [
        BlobContainer(BLOB_STORE, f"azureml-blobstore-{identifier}", account, endpoint),
        FileShare(FILE_STORE, f"azureml-filestore-{identifier}", account, endpoint),
    ]
