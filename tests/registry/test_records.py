"""Workspaces and datastores, remembered and forgotten."""

from __future__ import annotations

import dataclasses

import pytest

from datastores.credentials.kinds import (
    AccountKey,
    Anonymous,
    Credential,
    Kerberos,
    Login,
    ManagedIdentity,
    Sas,
    ServicePrincipal,
    StorageOptions,
    Token,
)
from datastores.definitions import (
    BlobContainer,
    Dbfs,
    Definition,
    FsspecUrl,
    Hdfs,
    LocalFolder,
    PostgreSql,
)
from datastores.errors import AlreadyRegistered, NameRejected, NotRegistered, VaultLocked
from datastores.names import DatastoreName, WorkspaceName
from datastores.registry.records import DatastoreRecord
from datastores.registry.registry import Registry
from datastores.secret import Secret
from tests.registry.conftest import WORKSPACE, Home, blob, key, workspace

EVERYTHING: list[tuple[Definition, Credential]] = [
    (blob("account-key"), key()),
    (blob("sas"), Sas(Secret("sv=1&sig=abc"))),
    (blob("principal"), ServicePrincipal("t", "c", Secret("p\u00e4ss~"), "https://login", None)),
    (blob("managed"), ManagedIdentity("client")),
    (
        BlobContainer(
            DatastoreName("cached"), "c", "a", "http://127.0.0.1:1/a", None, "s", "g", 60
        ),
        Token(Secret("ey.."), 1790000000.25),
    ),
    (PostgreSql(DatastoreName("rows"), "db", "prices", 5433), Login("me", Secret("påss 'wörd'"))),
    (Dbfs(DatastoreName("dbfs")), Anonymous()),
    (
        Hdfs(DatastoreName("hdfs"), "https", "node:9", None, "REALM", "kdc", "me@REALM"),
        Kerberos(password=Secret("x")),
    ),
    (FsspecUrl(DatastoreName("s3-store"), "s3://bucket"), StorageOptions(Secret('{"key": "v"}'))),
    (LocalFolder(DatastoreName("local"), "/données"), Anonymous()),
]


@pytest.mark.parametrize(("definition", "credential"), EVERYTHING, ids=lambda one: one.kind)
def test_what_was_registered_comes_back(
    registry: Registry, home: Home, definition: Definition, credential: Credential
) -> None:
    """
    A definition and a credential of any kind come back equal, in another opening too.
    """
    record = registry.put(WORKSPACE, definition, credential, overwrite=False)

    with home.open() as again:
        assert again.unlock(WORKSPACE, definition.name) == (record, credential)
        assert again.get(WORKSPACE, definition.name) == record
    assert (record.definition, record.revision) == (definition, 1)


def test_a_taken_name_is_refused_unless_overwriting(registry: Registry) -> None:
    """
    Registering twice fails with advice and changes nothing; with overwrite the newer one counts.
    """
    first = registry.put(WORKSPACE, blob(), key("first-key"), overwrite=False)

    with pytest.raises(AlreadyRegistered, match="overwrite=True"):
        registry.put(WORKSPACE, blob(account="other"), key("second-key"), overwrite=False)
    kept = registry.unlock(WORKSPACE, "images")
    second = registry.put(WORKSPACE, blob(account="other"), Anonymous(), overwrite=True)

    assert kept == (first, key("first-key"))
    assert registry.unlock(WORKSPACE, "images") == (second, Anonymous())
    assert (second.created, second.revision) == (first.created, 2)
    assert second.changed > first.changed


def test_an_unknown_datastore_is_answered_with_the_known_ones(registry: Registry) -> None:
    """
    The error for a missing name lists what is registered.
    """
    for name in ("labels", "archive"):
        registry.put(WORKSPACE, blob(name), Anonymous(), overwrite=False)

    with pytest.raises(NotRegistered) as error:
        registry.get(WORKSPACE, "images")

    assert str(error.value) == (
        'no datastore "images" in workspace "vision" (registered: "archive", "labels")'
    )


def test_unknown_workspaces_are_named_by_every_method(registry: Registry) -> None:
    """
    No method mistakes a missing workspace for an empty one.
    """
    for call in (
        lambda: registry.workspace("other"),
        lambda: registry.list("other"),
        lambda: registry.names("other"),
        lambda: registry.get("other", "images"),
        lambda: registry.unlock("other", "images"),
        lambda: registry.remove("other", "images"),
        lambda: registry.set_default("other", "images"),
        lambda: registry.set_settings("other", {}),
        lambda: registry.remove_workspace("other"),
        lambda: registry.put("other", blob(), key(), overwrite=True),
    ):
        with pytest.raises(NotRegistered, match=r'no workspace "other".*\(registered: "vision"\)'):
            call()


def test_names_are_judged_before_anything_is_looked_up(registry: Registry) -> None:
    """
    A name that cannot exist is an error of spelling, not of lookup.
    """
    with pytest.raises(NameRejected):
        registry.get(WORKSPACE, "no/such")


def test_listings_are_sorted_and_of_one_workspace(registry: Registry, home: Home) -> None:
    """
    A workspace lists its own datastores by name, whatever another has under the same names.
    """
    registry.add_workspace(workspace(home, "speech"))
    wanted = [
        registry.put(WORKSPACE, blob(name), key(name), overwrite=False)
        for name in ("archive", "images", "labels")
    ]
    registry.put("speech", blob("images", "elsewhere"), key("elsewhere"), overwrite=False)

    assert registry.list(WORKSPACE) == wanted
    assert registry.names(WORKSPACE) == ["archive", "images", "labels"]
    assert registry.credential("speech", "images") == key("elsewhere")


def test_workspaces_come_back_whole(registry: Registry, home: Home) -> None:
    """
    Every field of a workspace survives, in order of names, and a taken name is refused.
    """
    record = dataclasses.replace(
        workspace(home, "audio"), settings={"sku": "basic", "n": [1, None]}
    )

    registry.add_workspace(record)

    assert registry.workspace("audio") == record
    assert [one.name for one in registry.workspaces()] == ["audio", "vision"]
    with pytest.raises(AlreadyRegistered, match='workspace "audio" is already registered'):
        registry.add_workspace(record)


def test_settings_are_replaced(registry: Registry) -> None:
    """
    New settings stand in place of the old ones and leave the rest alone.
    """
    before = registry.workspace(WORKSPACE)

    registry.set_settings(WORKSPACE, {"vault_key": "env:"})

    assert registry.workspace(WORKSPACE) == dataclasses.replace(
        before, settings={"vault_key": "env:"}
    )


def test_a_workspace_takes_its_datastores_along(registry: Registry, home: Home) -> None:
    """
    A workspace made anew under a removed one's name starts empty.
    """
    registry.put(WORKSPACE, blob(), key(), overwrite=False)

    registry.remove_workspace(WORKSPACE)
    registry.add_workspace(workspace(home))

    assert registry.list(WORKSPACE) == []
    with pytest.raises(NotRegistered):
        registry.credential(WORKSPACE, "images")


def test_the_default_must_exist(registry: Registry) -> None:
    """
    Only a registered datastore becomes the default.
    """
    registry.put(WORKSPACE, blob(), key(), overwrite=False)

    registry.set_default(WORKSPACE, "images")

    assert registry.workspace(WORKSPACE).default_datastore == DatastoreName("images")
    with pytest.raises(NotRegistered, match='no datastore "labels"'):
        registry.set_default(WORKSPACE, "labels")
    assert registry.workspace(WORKSPACE).default_datastore == DatastoreName("images")


def test_a_removed_default_leaves_none(registry: Registry) -> None:
    """
    A stranger registered under the removed default's name does not become the default.
    """
    registry.put(WORKSPACE, blob(), key(), overwrite=False)
    registry.set_default(WORKSPACE, "images")

    registry.remove(WORKSPACE, "images")
    registry.put(WORKSPACE, blob(account="stranger"), key(), overwrite=False)

    assert registry.workspace(WORKSPACE).default_datastore is None


def test_a_removed_datastore_leaves_no_secret(registry: Registry) -> None:
    """
    Removing one datastore removes its secrets and nobody else's.
    """
    registry.put(WORKSPACE, blob("images"), key(), overwrite=False)
    registry.put(WORKSPACE, blob("labels"), key("labels-key"), overwrite=False)

    registry.remove(WORKSPACE, "images")

    owners = registry.database.read(
        lambda connection: connection.exec_driver_sql("SELECT owner FROM secrets").all()
    )
    assert [tuple(row) for row in owners] == [("labels",)]
    assert registry.credential(WORKSPACE, "labels") == key("labels-key")
    with pytest.raises(NotRegistered):
        registry.remove(WORKSPACE, "images")


def test_a_failure_half_way_registers_nothing(registry: Registry, home: Home) -> None:
    """
    When the secret cannot be sealed, the definition is not there either.
    """
    before = [
        registry.put(WORKSPACE, blob(name), key("old-key"), overwrite=False)
        for name in ("archive", "labels")
    ]
    home.key_file.rename(home.key_file.with_suffix(".lost"))

    with home.open() as other:
        with pytest.raises(VaultLocked):
            other.put(WORKSPACE, blob("images"), key(), overwrite=False)
        with pytest.raises(VaultLocked):
            other.put(WORKSPACE, blob("labels", "moved"), key(), overwrite=True)

    assert registry.list(WORKSPACE) == before


def test_a_lost_key_can_be_left_behind(registry: Registry, home: Home) -> None:
    """
    Once no secret is left that the lost key sealed, the workspace starts with a new key.
    """
    registry.put(WORKSPACE, blob(), key("old-key"), overwrite=False)
    home.key_file.unlink()

    with home.open() as other:
        other.put(WORKSPACE, blob(), key("new-key"), overwrite=True)
        assert other.credential(WORKSPACE, "images") == key("new-key")


def test_records_need_no_key(registry: Registry, home: Home) -> None:
    """
    Without the vault's key everything but secrets can be read, and secretless ones registered.
    """
    record = registry.put(WORKSPACE, blob(), key(), overwrite=False)
    home.key_file.unlink()

    with home.open() as other:
        local = other.put(
            WORKSPACE, LocalFolder(DatastoreName("local"), "/data"), Anonymous(), overwrite=False
        )
        assert other.list(WORKSPACE) == [record, local]
        assert other.credential(WORKSPACE, "local") == Anonymous()
        with pytest.raises(VaultLocked, match=str(home.key_file)):
            other.credential(WORKSPACE, "images")


def test_names_in_capitals_find_their_datastore(
    registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A name written with capitals means the one in small letters, with a warning.
    """
    record = registry.put(WORKSPACE, blob(), AccountKey(Secret("abcdef")), overwrite=False)

    found = registry.get("Vision", "Images")

    assert found == record
    assert [entry.levelname for entry in caplog.records] == ["WARNING", "WARNING"]
    assert isinstance(found, DatastoreRecord)
    assert isinstance(found.workspace, WorkspaceName)
