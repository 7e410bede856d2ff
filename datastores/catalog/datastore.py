"""`Datastore`: register a store once, get it back by name. Names and defaults are Azure ML's."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datastores.catalog.registration import register
from datastores.credentials.choose import (
    choose_database_credential,
    choose_service_principal,
    choose_storage_credential,
)
from datastores.credentials.kinds import Anonymous, Credential, Kerberos, StorageOptions
from datastores.definitions import (
    BlobContainer,
    DataLakeGen1,
    DataLakeGen2,
    Dbfs,
    Definition,
    FileShare,
    FsspecUrl,
    Hdfs,
    LocalFolder,
    MySql,
    PostgreSql,
    SqlDatabase,
)
from datastores.errors import DefinitionRejected
from datastores.names import DatastoreName
from datastores.secret import Secret

if TYPE_CHECKING:
    from datastores.catalog.abstract import AbstractDatastore
    from datastores.catalog.workspace import Workspace

# What a caller may pass where a secret is meant; a text becomes a `Secret` in the first statement,
# so that no frame of ours shows it in a traceback.
SecretText = str | Secret | None


class Datastore:
    """The entrance: `Datastore(ws)`, `Datastore(ws, "images")`, `Datastore.register_...`."""

    def __new__(cls, workspace: Workspace, name: str | None = None) -> AbstractDatastore:  # type: ignore[misc]  # Azure ML's constructor returns the datastore itself
        """The default datastore, or the one of this name."""
        return cls.get(workspace, name) if name else cls.get_default(workspace)

    @staticmethod
    def get(workspace: Workspace, datastore_name: str) -> AbstractDatastore:
        """The datastore of this name; `NotRegistered` lists the known ones."""
        return workspace.get_datastore(datastore_name)

    @staticmethod
    def get_default(workspace: Workspace) -> AbstractDatastore:
        """The datastore that the workspace uses where none is named."""
        return workspace.get_default_datastore()

    @staticmethod
    def register(
        workspace: Workspace,
        definition: Definition,
        credential: Credential,
        *,
        overwrite: bool = False,
        create_if_not_exists: bool = False,
        skip_validation: bool = False,
    ) -> AbstractDatastore:
        """Register any definition with any credential, such as a managed identity.

        The other `register_...` are this with Azure ML's parameters.
        """
        return register(
            workspace,
            definition,
            credential,
            overwrite=overwrite,
            create_if_not_exists=create_if_not_exists,
            skip_validation=skip_validation,
        )

    @staticmethod
    def register_azure_blob_container(
        workspace: Workspace,
        datastore_name: str,
        container_name: str,
        account_name: str,
        sas_token: SecretText = None,
        account_key: SecretText = None,
        protocol: str | None = None,
        endpoint: str | None = None,
        overwrite: bool = False,
        create_if_not_exists: bool = False,
        skip_validation: bool = False,
        blob_cache_timeout: int | None = None,
        grant_workspace_access: bool = False,
        subscription_id: str | None = None,
        resource_group: str | None = None,
    ) -> AbstractDatastore:
        """Register a blob container by key, by SAS, or by the identity of whoever uses it."""
        sas_token, account_key = Secret.wrap(sas_token), Secret.wrap(account_key)
        name = DatastoreName.parse(datastore_name)
        definition = BlobContainer(
            name,
            container_name,
            account_name,
            endpoint,
            protocol,
            subscription_id,
            resource_group,
            blob_cache_timeout,
        )
        credential = choose_storage_credential(name, account_key=account_key, sas_token=sas_token)
        if grant_workspace_access:
            _refuse_no_coordinates(name, subscription_id, resource_group)
        made = register(
            workspace,
            definition,
            credential,
            overwrite=overwrite,
            create_if_not_exists=create_if_not_exists,
            skip_validation=skip_validation,
        )
        if grant_workspace_access:
            _grant(workspace, definition)
        return made

    @staticmethod
    def register_azure_file_share(
        workspace: Workspace,
        datastore_name: str,
        file_share_name: str,
        account_name: str,
        sas_token: SecretText = None,
        account_key: SecretText = None,
        protocol: str | None = None,
        endpoint: str | None = None,
        overwrite: bool = False,
        create_if_not_exists: bool = False,
        skip_validation: bool = False,
    ) -> AbstractDatastore:
        """Register a file share by key, by SAS, or by the identity of whoever uses it."""
        sas_token, account_key = Secret.wrap(sas_token), Secret.wrap(account_key)
        name = DatastoreName.parse(datastore_name)
        definition = FileShare(name, file_share_name, account_name, endpoint, protocol)
        credential = choose_storage_credential(name, account_key=account_key, sas_token=sas_token)
        return register(
            workspace,
            definition,
            credential,
            overwrite=overwrite,
            create_if_not_exists=create_if_not_exists,
            skip_validation=skip_validation,
        )

    @staticmethod
    def register_azure_data_lake(
        workspace: Workspace,
        datastore_name: str,
        store_name: str,
        tenant_id: str | None = None,
        client_id: str | None = None,
        client_secret: SecretText = None,
        resource_url: str | None = None,
        authority_url: str | None = None,
        subscription_id: str | None = None,
        resource_group: str | None = None,
        overwrite: bool = False,
        grant_workspace_access: bool = False,
    ) -> AbstractDatastore:
        """Register a Gen1 data lake: a store's name, or the whole address of a compatible server."""
        client_secret = Secret.wrap(client_secret)
        name = DatastoreName.parse(datastore_name)
        definition = DataLakeGen1(name, store_name, subscription_id, resource_group)
        credential = choose_service_principal(
            name,
            tenant_id=tenant_id,
            client_id=client_id,
            client_secret=client_secret,
            authority_url=authority_url,
            resource_url=resource_url,
        )
        if grant_workspace_access:
            _refuse_no_coordinates(name, subscription_id, resource_group)
        made = register(workspace, definition, credential, overwrite=overwrite)
        if grant_workspace_access:
            _grant(workspace, definition)
        return made

    @staticmethod
    def register_azure_data_lake_gen2(
        workspace: Workspace,
        datastore_name: str,
        filesystem: str,
        account_name: str,
        tenant_id: str | None = None,
        client_id: str | None = None,
        client_secret: SecretText = None,
        resource_url: str | None = None,
        authority_url: str | None = None,
        protocol: str | None = None,
        endpoint: str | None = None,
        overwrite: bool = False,
        subscription_id: str | None = None,
        resource_group: str | None = None,
        grant_workspace_access: bool = False,
    ) -> AbstractDatastore:
        """Register a Gen2 file system by service principal, or by the identity of its user."""
        client_secret = Secret.wrap(client_secret)
        name = DatastoreName.parse(datastore_name)
        definition = DataLakeGen2(
            name, filesystem, account_name, endpoint, protocol, subscription_id, resource_group
        )
        credential = choose_service_principal(
            name,
            tenant_id=tenant_id,
            client_id=client_id,
            client_secret=client_secret,
            authority_url=authority_url,
            resource_url=resource_url,
        )
        if grant_workspace_access:
            _refuse_no_coordinates(name, subscription_id, resource_group)
        made = register(workspace, definition, credential, overwrite=overwrite)
        if grant_workspace_access:
            _grant(workspace, definition)
        return made

    @staticmethod
    def register_azure_sql_database(
        workspace: Workspace,
        datastore_name: str,
        server_name: str,
        database_name: str,
        tenant_id: str | None = None,
        client_id: str | None = None,
        client_secret: SecretText = None,
        resource_url: str | None = None,
        authority_url: str | None = None,
        endpoint: str | None = None,
        overwrite: bool = False,
        username: str | None = None,
        password: SecretText = None,
        subscription_id: str | None = None,
        resource_group: str | None = None,
        grant_workspace_access: bool = False,
        *,
        skip_validation: bool = False,
    ) -> AbstractDatastore:
        """Register an Azure SQL database by login, service principal, or its user's identity."""
        client_secret, password = Secret.wrap(client_secret), Secret.wrap(password)
        name = DatastoreName.parse(datastore_name)
        definition = SqlDatabase(
            name,
            server_name,
            database_name,
            endpoint=endpoint,
            subscription_id=subscription_id,
            resource_group=resource_group,
        )
        credential = choose_database_credential(
            name,
            username=username,
            password=password,
            tenant_id=tenant_id,
            client_id=client_id,
            client_secret=client_secret,
            authority_url=authority_url,
            resource_url=resource_url,
        )
        if grant_workspace_access:
            _refuse_no_coordinates(name, subscription_id, resource_group)
        made = register(
            workspace,
            definition,
            credential,
            overwrite=overwrite,
            skip_validation=skip_validation,
        )
        if grant_workspace_access:
            _grant(workspace, definition)
        return made

    @staticmethod
    def register_azure_postgre_sql(
        workspace: Workspace,
        datastore_name: str,
        server_name: str,
        database_name: str,
        user_id: str,
        user_password: str | Secret,
        port_number: int | str | None = None,
        endpoint: str | None = None,
        overwrite: bool = False,
        enforce_ssl: bool = True,
        *,
        skip_validation: bool = False,
    ) -> AbstractDatastore:
        """Register a PostgreSQL database; the connection is encrypted unless told otherwise."""
        password = user_password = Secret.wrap(user_password)  # type: ignore[assignment]  # the text must not stay in this frame
        name = DatastoreName.parse(datastore_name)
        port = _port(name, port_number)
        definition = PostgreSql(name, server_name, database_name, port, endpoint, enforce_ssl)
        credential = _login(name, user_id, password)
        return register(
            workspace,
            definition,
            credential,
            overwrite=overwrite,
            skip_validation=skip_validation,
        )

    @staticmethod
    def register_azure_my_sql(
        workspace: Workspace,
        datastore_name: str,
        server_name: str,
        database_name: str,
        user_id: str,
        user_password: str | Secret,
        port_number: int | str | None = None,
        endpoint: str | None = None,
        overwrite: bool = False,
        *,
        enforce_ssl: bool = True,
        skip_validation: bool = False,
    ) -> AbstractDatastore:
        """Register a MySQL database; the connection is encrypted unless told otherwise."""
        password = user_password = Secret.wrap(user_password)  # type: ignore[assignment]  # the text must not stay in this frame
        name = DatastoreName.parse(datastore_name)
        port = _port(name, port_number)
        definition = MySql(name, server_name, database_name, port, endpoint, enforce_ssl)
        credential = _login(name, user_id, password)
        return register(
            workspace,
            definition,
            credential,
            overwrite=overwrite,
            skip_validation=skip_validation,
        )

    @staticmethod
    def register_dbfs(workspace: Workspace, datastore_name: str) -> AbstractDatastore:
        """Register the Databricks file system; an earlier registration of the name is replaced."""
        definition = Dbfs(DatastoreName.parse(datastore_name))
        return register(workspace, definition, Anonymous(), overwrite=True, skip_validation=True)

    @staticmethod
    def register_hdfs(
        workspace: Workspace,
        datastore_name: str,
        protocol: str,
        namenode_address: str,
        hdfs_server_certificate: str | None,
        kerberos_realm: str,
        kerberos_kdc_address: str,
        kerberos_principal: str,
        kerberos_keytab: str | None = None,
        kerberos_password: SecretText = None,
        overwrite: bool = False,
    ) -> AbstractDatastore:
        """Register a Hadoop file system; certificate and keytab are files, read now."""
        kerberos_password = Secret.wrap(kerberos_password)
        name = DatastoreName.parse(datastore_name)
        if bool(kerberos_keytab) == bool(kerberos_password):
            raise DefinitionRejected(name, "give kerberos_keytab or kerberos_password, exactly one")
        certificate = _read_base64(hdfs_server_certificate) if hdfs_server_certificate else None
        keytab = Secret(_read_base64(kerberos_keytab)) if kerberos_keytab else None
        definition = Hdfs(
            name,
            protocol,
            namenode_address,
            certificate,
            kerberos_realm,
            kerberos_kdc_address,
            kerberos_principal,
        )
        return register(
            workspace,
            definition,
            Kerberos(keytab=keytab, password=kerberos_password),
            overwrite=overwrite,
            skip_validation=True,
        )

    @staticmethod
    def register_fsspec(
        workspace: Workspace,
        datastore_name: str,
        url: str,
        *,
        overwrite: bool = False,
        create_if_not_exists: bool = False,
        skip_validation: bool = False,
        **storage_options: Any,
    ) -> AbstractDatastore:
        """Register any URL that fsspec knows, with the options it takes: S3, GCS, SFTP, ..."""
        sealed = Secret(json.dumps(storage_options)) if storage_options else None
        storage_options = {}
        definition = FsspecUrl(DatastoreName.parse(datastore_name), url)
        return register(
            workspace,
            definition,
            StorageOptions(sealed) if sealed else Anonymous(),
            overwrite=overwrite,
            create_if_not_exists=create_if_not_exists,
            skip_validation=skip_validation,
        )

    @staticmethod
    def register_local(
        workspace: Workspace,
        datastore_name: str,
        path: str | Path,
        *,
        overwrite: bool = False,
        create_if_not_exists: bool = False,
    ) -> AbstractDatastore:
        """Register a folder of this machine, or of a file system that every node mounts."""
        absolute = Path(path).expanduser().absolute()
        definition = LocalFolder(DatastoreName.parse(datastore_name), str(absolute))
        return register(
            workspace,
            definition,
            Anonymous(),
            overwrite=overwrite,
            create_if_not_exists=create_if_not_exists,
        )


def _login(name: DatastoreName, user_id: str | None, password: Secret | None) -> Credential:
    for field, value in (("user_id", user_id), ("user_password", password)):
        if not value:
            raise DefinitionRejected(name, f'"{field}" is required')
    return choose_database_credential(name, username=user_id, password=password)


def _port(name: DatastoreName, port: int | str | None) -> int | None:
    if port is None or port == "":
        return None
    if not str(port).isdigit():
        raise DefinitionRejected(name, f'port "{port}" is not a number')
    return int(port)


def _read_base64(path: str) -> str:
    return base64.b64encode(Path(path).expanduser().read_bytes()).decode()


def _refuse_no_coordinates(
    name: DatastoreName, subscription_id: str | None, resource_group: str | None
) -> None:
    for field, value in (("subscription_id", subscription_id), ("resource_group", resource_group)):
        if not value:
            raise DefinitionRejected(
                name, f'grant_workspace_access needs the "{field}" of the storage account or server'
            )


def _grant(workspace: Workspace, definition: Definition) -> None:
    from datastores.catalog.role_grants import grant_workspace_access

    grant_workspace_access(workspace, definition)
