"""`datastores register`: one command for each kind of store."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from datastores.cli.options import (
    SecretSource,
    find_workspace,
    json_option,
    print_json,
    workspace_option,
)
from datastores.secret import Secret

if TYPE_CHECKING:
    from datastores.credentials.kinds import Credential
    from datastores.definitions import Definition

Command = TypeVar("Command", bound=Callable[..., Any])

IDENTITIES = ("auto", "managed", "workload", "developer", "anonymous")


@click.group("register")
def register_command() -> None:
    """Register a store under a name.

    Secrets come from a prompt, from standard input or from an environment variable:
    --account-key prompt, --account-key stdin, --account-key env:VARIABLE.
    """


def _common(command: Command) -> Command:
    """Name, workspace and the switches of every kind."""
    for option in (
        json_option,
        workspace_option,
        click.option("--skip-validation", is_flag=True, help="Do not try to reach the store."),
        click.option("--overwrite", is_flag=True, help="Replace a registration of this name."),
        click.argument("name"),
    ):
        command = option(command)
    return command


def _account(container: str) -> Callable[[Command], Command]:
    """Where a container-like place in a storage account is."""

    def add(command: Command) -> Command:
        for option in (
            click.option("--protocol", type=click.Choice(["https", "http"])),
            click.option(
                "--endpoint", metavar="SUFFIX|URL", help="core.windows.net, or an address."
            ),
            click.option(f"--{container}", "container", required=True),
            click.option("--account", required=True, help="Storage account."),
            click.option("--create-if-not-exists", is_flag=True, help=f"Make the {container}."),
        ):
            command = option(command)
        return command

    return add


def _keys(command: Command) -> Command:
    """An account's key or a SAS."""
    command = click.option("--sas", type=SecretSource(), help="Shared access signature.")(command)
    return click.option("--account-key", type=SecretSource(), help="Key of the account.")(command)


def _principal(command: Command) -> Command:
    """A service principal or another identity."""
    for option in (
        click.option("--client-secret", type=SecretSource(), help="Its secret."),
        click.option("--client-id", help="Service principal or user-assigned identity."),
        click.option("--tenant-id", help="Its tenant."),
        click.option("--authority-url", help="Login address of a sovereign cloud."),
        click.option("--resource-url", help="What its tokens are for."),
        click.option(
            "--identity",
            type=click.Choice(IDENTITIES),
            default="auto",
            help="Without a secret: which identity of the machine to use.",
        ),
    ):
        command = option(command)
    return command


def _register(definition: Definition, credential: Credential, options: dict[str, Any]) -> None:
    from datastores.catalog.registration import register

    datastore = register(
        find_workspace(options["workspace_name"]),
        definition,
        credential,
        overwrite=options["overwrite"],
        create_if_not_exists=options.get("create_if_not_exists", False),
        skip_validation=options["skip_validation"],
    )
    if options["as_json"]:
        print_json({**datastore.describe(), "credential_type": datastore.credential_type})
    else:
        state = "registered" if options["skip_validation"] else "registered and reached"
        click.echo(f'"{datastore.name}" is {state}: {definition.display}')


def _storage_credential(name: str, options: dict[str, Any]) -> Credential:
    from datastores.credentials.choose import choose_service_principal, choose_storage_credential
    from datastores.credentials.kinds import Identity
    from datastores.errors import DefinitionRejected
    from datastores.names import DatastoreName

    parsed = DatastoreName.parse(name)
    by_key = choose_storage_credential(
        parsed, account_key=options.get("account_key"), sas_token=options.get("sas")
    )
    has_principal = any(options.get(key) for key in ("client_secret", "tenant_id", "client_id"))
    named = _named_identity(options)
    if (
        sum((not isinstance(by_key, Identity), has_principal and named is None, named is not None))
        > 1
    ):
        raise DefinitionRejected(
            parsed, "give one of an account key, a SAS, a service principal or an identity"
        )
    if named is not None:
        return named
    if has_principal:
        return choose_service_principal(
            parsed,
            tenant_id=options.get("tenant_id"),
            client_id=options.get("client_id"),
            client_secret=options.get("client_secret"),
            authority_url=options.get("authority_url"),
            resource_url=options.get("resource_url"),
        )
    return by_key


def _named_identity(options: dict[str, Any]) -> Credential | None:
    from datastores.credentials import kinds

    match options.get("identity"):
        case "managed":
            return kinds.ManagedIdentity(options.get("client_id"))
        case "workload":
            return kinds.WorkloadIdentity(options.get("tenant_id"), options.get("client_id"))
        case "developer":
            return kinds.DeveloperLogin()
        case "anonymous":
            return kinds.Anonymous()
        case _:
            return None


@register_command.command("blob")
@_common
@_account("container")
@_keys
@_principal
@click.option("--cache-timeout", type=int, metavar="SECONDS", help="How long a mount keeps a blob.")
def blob(
    name: str, container: str, account: str, cache_timeout: int | None, **options: Any
) -> None:
    """A blob container."""
    from datastores.definitions import BlobContainer
    from datastores.names import DatastoreName

    definition = BlobContainer(
        DatastoreName.parse(name),
        container,
        account,
        options["endpoint"],
        options["protocol"],
        blob_cache_timeout_seconds=cache_timeout,
    )
    _register(definition, _storage_credential(name, options), options)


@register_command.command("file-share")
@_common
@_account("share")
@_keys
@_principal
def file_share(name: str, container: str, account: str, **options: Any) -> None:
    """A file share."""
    from datastores.definitions import FileShare
    from datastores.names import DatastoreName

    definition = FileShare(
        DatastoreName.parse(name), container, account, options["endpoint"], options["protocol"]
    )
    _register(definition, _storage_credential(name, options), options)


@register_command.command("adls2")
@_common
@_account("filesystem")
@_keys
@_principal
def adls2(name: str, container: str, account: str, **options: Any) -> None:
    """A Data Lake Storage Gen2 file system."""
    from datastores.definitions import DataLakeGen2
    from datastores.names import DatastoreName

    definition = DataLakeGen2(
        DatastoreName.parse(name), container, account, options["endpoint"], options["protocol"]
    )
    _register(definition, _storage_credential(name, options), options)


@register_command.command("adls")
@_common
@click.option("--store", required=True, help="Name of the store, or the address of a server.")
@_principal
def adls(name: str, store: str, **options: Any) -> None:
    """A Data Lake Storage Gen1 store; Azure retired the service on 29 February 2024."""
    from datastores.definitions import DataLakeGen1
    from datastores.names import DatastoreName

    definition = DataLakeGen1(DatastoreName.parse(name), store)
    _register(definition, _storage_credential(name, options), options)


def _database(command: Command) -> Command:
    """Where a database is, and who logs in."""
    for option in (
        click.option("--no-ssl", is_flag=True, help="Allow a connection that is not encrypted."),
        click.option("--password", type=SecretSource(), help="Password of the user."),
        click.option("--user", help="User to log in as."),
        click.option("--port", type=int),
        click.option("--database", required=True),
        click.option("--server", required=True, help="Short name, host, or host:port."),
    ):
        command = option(command)
    return command


def _database_credential(name: str, options: dict[str, Any]) -> Credential:
    from datastores.credentials.choose import choose_database_credential
    from datastores.names import DatastoreName

    return _named_identity(options) or choose_database_credential(
        DatastoreName.parse(name),
        username=options["user"],
        password=options["password"],
        tenant_id=options["tenant_id"],
        client_id=options["client_id"],
        client_secret=options["client_secret"],
        authority_url=options["authority_url"],
        resource_url=options["resource_url"],
    )


def _register_database(kind: type[Any], name: str, options: dict[str, Any]) -> None:
    from datastores.names import DatastoreName

    definition = kind(
        DatastoreName.parse(name),
        options["server"],
        options["database"],
        options["port"],
        enforce_ssl=not options["no_ssl"],
    )
    _register(definition, _database_credential(name, options), options)


@register_command.command("sql")
@_common
@_database
@_principal
def sql(name: str, **options: Any) -> None:
    """An Azure SQL or SQL Server database."""
    from datastores.definitions import SqlDatabase

    _register_database(SqlDatabase, name, options)


@register_command.command("postgres")
@_common
@_database
@_principal
def postgres(name: str, **options: Any) -> None:
    """A PostgreSQL database."""
    from datastores.definitions import PostgreSql

    _register_database(PostgreSql, name, options)


@register_command.command("mysql")
@_common
@_database
@_principal
def mysql(name: str, **options: Any) -> None:
    """A MySQL database."""
    from datastores.definitions import MySql

    _register_database(MySql, name, options)


@register_command.command("fsspec")
@_common
@click.argument("url")
@click.option("--create-if-not-exists", is_flag=True, help="Make the bucket or folder.")
@click.option("--option", "plain", multiple=True, metavar="NAME=VALUE", help="A storage option.")
@click.option(
    "--options",
    "sealed",
    type=SecretSource(),
    help="All storage options as one JSON object, secrets included.",
)
def fsspec_(
    name: str, url: str, plain: tuple[str, ...], sealed: Secret | None, **options: Any
) -> None:
    """Any URL that fsspec knows, such as s3://bucket/folder."""
    from datastores.credentials.kinds import Anonymous, StorageOptions
    from datastores.definitions import FsspecUrl
    from datastores.names import DatastoreName

    merged = _merged_options(plain, sealed)
    definition = FsspecUrl(DatastoreName.parse(name), url)
    _register(definition, StorageOptions(merged) if merged else Anonymous(), options)


def _merged_options(plain: tuple[str, ...], sealed: Secret | None) -> Secret | None:
    values: dict[str, Any] = {}
    for pair in plain:
        key, equals, value = pair.partition("=")
        if not equals:
            raise click.UsageError(f'"{pair}" is not NAME=VALUE')
        values[key] = _json_or_text(value)
    if sealed is not None:
        try:
            values |= json.loads(sealed.reveal())
        except (ValueError, TypeError):
            raise click.UsageError("--options is not a JSON object") from None
    return Secret(json.dumps(values)) if values else None


def _json_or_text(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value


@register_command.command("local")
@_common
@click.argument("path", type=click.Path(file_okay=False))
@click.option("--create-if-not-exists", is_flag=True, help="Make the folder.")
def local(name: str, path: str, **options: Any) -> None:
    """A folder of this machine, or of a file system that every node mounts."""
    from pathlib import Path

    from datastores.credentials.kinds import Anonymous
    from datastores.definitions import LocalFolder
    from datastores.names import DatastoreName

    absolute = Path(path).expanduser().absolute()
    _register(LocalFolder(DatastoreName.parse(name), str(absolute)), Anonymous(), options)


@register_command.command("dbfs")
@_common
def dbfs(name: str, **options: Any) -> None:
    """The Databricks file system."""
    from datastores.credentials.kinds import Anonymous
    from datastores.definitions import Dbfs
    from datastores.names import DatastoreName

    _register(Dbfs(DatastoreName.parse(name)), Anonymous(), {**options, "skip_validation": True})
