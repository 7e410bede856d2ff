"""`datastores register`: one command for each kind of store."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from datastores.cli.catalog import facts_of
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


def _examples(kind: str, *lines: str) -> str:
    """The end of a sub-command's help: what to type."""
    shown = "".join(f"\n  datastores register {kind} {line}" for line in lines)
    return f"\b\nExample{'s' if len(lines) > 1 else ''}:{shown}"


@click.group("register")
def register_command() -> None:
    """Register a datastore: a store under a name of your choice.

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


def _account(container: str, noun: str) -> Callable[[Command], Command]:
    """Where a container-like place in a storage account is."""

    def add(command: Command) -> Command:
        for option in (
            click.option(
                "--protocol",
                type=click.Choice(["https", "http"]),
                help="How to talk to the account; https unless an address says otherwise.",
            ),
            click.option(
                "--endpoint",
                metavar="SUFFIX|URL",
                help="Where the account answers: a suffix such as core.windows.net, or an address.",
            ),
            click.option(
                f"--{container}",
                "container",
                required=True,
                metavar="NAME",
                help=f"Name of the {noun}.",
            ),
            click.option(
                "--account", required=True, metavar="NAME", help="Name of the storage account."
            ),
            click.option("--create-if-not-exists", is_flag=True, help=f"Make the {noun}."),
        ):
            command = option(command)
        return command

    return add


def _keys(command: Command) -> Command:
    """An account's key or a SAS."""
    command = click.option("--sas", type=SecretSource(), help="Shared access signature.")(command)
    return click.option("--account-key", type=SecretSource(), help="Key of the storage account.")(
        command
    )


def _principal(command: Command) -> Command:
    """A service principal or another identity."""
    for option in (
        click.option(
            "--client-secret", type=SecretSource(), help="Secret of the service principal."
        ),
        click.option(
            "--client-id", help="Id of the service principal, or of a user-assigned identity."
        ),
        click.option("--tenant-id", help="Tenant of the service principal."),
        click.option(
            "--authority-url", help="Where the service principal logs in, for sovereign clouds."
        ),
        click.option("--resource-url", help="What the tokens of the service principal are for."),
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
        print_json(facts_of(datastore))
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


@register_command.command(
    "blob",
    epilog=_examples(
        "blob",
        "images --account acme --container pics --account-key env:PICS_KEY",
        "images --account acme --container pics --identity managed",
    ),
)
@_common
@_account("container", "container")
@_keys
@_principal
@click.option("--cache-timeout", type=int, metavar="SECONDS", help="How long a mount keeps a blob.")
def blob(
    name: str, container: str, account: str, cache_timeout: int | None, **options: Any
) -> None:
    """Register a blob container."""
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


@register_command.command(
    "file-share",
    epilog=_examples("file-share", "home --account acme --share home --account-key prompt"),
)
@_common
@_account("share", "file share")
@_keys
@_principal
def file_share(name: str, container: str, account: str, **options: Any) -> None:
    """Register a file share."""
    from datastores.definitions import FileShare
    from datastores.names import DatastoreName

    definition = FileShare(
        DatastoreName.parse(name), container, account, options["endpoint"], options["protocol"]
    )
    _register(definition, _storage_credential(name, options), options)


@register_command.command(
    "adls2",
    epilog=_examples(
        "adls2",
        "lake --account acme --filesystem raw --tenant-id T --client-id C --client-secret env:SP",
        "lake --account acme --filesystem raw --sas stdin < sas.txt",
    ),
)
@_common
@_account("filesystem", "file system")
@_keys
@_principal
def adls2(name: str, container: str, account: str, **options: Any) -> None:
    """Register a Data Lake Storage Gen2 file system."""
    from datastores.definitions import DataLakeGen2
    from datastores.names import DatastoreName

    definition = DataLakeGen2(
        DatastoreName.parse(name), container, account, options["endpoint"], options["protocol"]
    )
    _register(definition, _storage_credential(name, options), options)


@register_command.command(
    "adls",
    epilog=_examples(
        "adls", "old_lake --store acmelake --tenant-id T --client-id C --client-secret env:SP"
    ),
)
@_common
@click.option("--store", required=True, help="Name of the store, or the address of a server.")
@_principal
def adls(name: str, store: str, **options: Any) -> None:
    """Register a Data Lake Storage Gen1 store; Azure retired the service on 29 February 2024."""
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
        click.option("--port", type=int, help="Port of the server; otherwise the usual one."),
        click.option("--database", required=True, metavar="NAME", help="Name of the database."),
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


@register_command.command(
    "sql",
    epilog=_examples("sql", "sales --server acme --database sales --user reader --password prompt"),
)
@_common
@_database
@_principal
def sql(name: str, **options: Any) -> None:
    """Register an Azure SQL or SQL Server database."""
    from datastores.definitions import SqlDatabase

    _register_database(SqlDatabase, name, options)


@register_command.command(
    "postgres",
    epilog=_examples(
        "postgres",
        "sales --server db.acme.org:5432 --database sales --user reader --password env:PW",
    ),
)
@_common
@_database
@_principal
def postgres(name: str, **options: Any) -> None:
    """Register a PostgreSQL database."""
    from datastores.definitions import PostgreSql

    _register_database(PostgreSql, name, options)


@register_command.command(
    "mysql",
    epilog=_examples(
        "mysql", "sales --server db.acme.org --database sales --user reader --password env:PW"
    ),
)
@_common
@_database
@_principal
def mysql(name: str, **options: Any) -> None:
    """Register a MySQL database."""
    from datastores.definitions import MySql

    _register_database(MySql, name, options)


@register_command.command(
    "fsspec",
    epilog=_examples(
        "fsspec",
        "public s3://noaa-goes16/ABI --option anon=true",
        "models s3://acme/models --options env:S3_OPTIONS",
    ),
)
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
    """Register any URL that fsspec knows, such as s3://bucket/folder."""
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


@register_command.command(
    "local",
    epilog=_examples("local", "scratch /mnt/scratch --create-if-not-exists"),
)
@_common
@click.argument("path", type=click.Path(file_okay=False))
@click.option("--create-if-not-exists", is_flag=True, help="Make the folder.")
def local(name: str, path: str, **options: Any) -> None:
    """Register a folder of this machine, or of a file system that every node mounts."""
    from pathlib import Path

    from datastores.credentials.kinds import Anonymous
    from datastores.definitions import LocalFolder
    from datastores.names import DatastoreName

    absolute = Path(path).expanduser().absolute()
    _register(LocalFolder(DatastoreName.parse(name), str(absolute)), Anonymous(), options)


@register_command.command(
    "dbfs",
    epilog=_examples("dbfs", "bricks"),
)
@_common
def dbfs(name: str, **options: Any) -> None:
    """Register the Databricks file system."""
    from datastores.credentials.kinds import Anonymous
    from datastores.definitions import Dbfs
    from datastores.names import DatastoreName

    _register(Dbfs(DatastoreName.parse(name)), Anonymous(), {**options, "skip_validation": True})
