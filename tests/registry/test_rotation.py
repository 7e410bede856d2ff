"""A new key, and a power cut at every step of getting there."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from datastores.credentials.kinds import Credential, Login, ServicePrincipal
from datastores.definitions import PostgreSql
from datastores.errors import VaultLocked
from datastores.names import DatastoreName, WorkspaceName
from datastores.registry import key_file
from datastores.registry.keys import KEY_VARIABLE, Key, KeyRing, key_source
from datastores.registry.records import WorkspaceRecord
from datastores.registry.registry import Registry
from datastores.registry.rotation import Rotation, rotate
from datastores.secret import Secret
from tests.registry.conftest import WORKSPACE, Home, blob, key, workspace
from tests.registry.processes import forked

SECRETS: dict[str, Credential] = {
    "images": key("images-key"),
    "labels": ServicePrincipal("tenant", "client", Secret("labels-secret")),
    "prices": Login("me", Secret("prices-password")),
}


class PowerCut(BaseException):
    """Stands for the end of the process."""


def test_a_rotation_seals_everything_anew(registry: Registry, home: Home) -> None:
    """
    Afterwards every secret opens, under one new key, and the old key is gone from its source.
    """
    _register_all(registry)
    before = _ring(home)

    rotation = rotate(registry, WORKSPACE)

    after = _ring(home)
    assert (len(before.keys), len(after.keys)) == (1, 1 if _is_private(registry) else 2)
    assert after.current != before.current
    assert rotation == Rotation(WORKSPACE, after.current.id, 3, rotation.advice)
    assert (rotation.advice is None) == _is_private(registry)
    assert _keys_of_rows(registry) == {after.current.id}
    _assert_all_readable(home)


def test_those_who_know_the_old_key_go_on(registry: Registry, home: Home) -> None:
    """
    A registry opened before a rotation in another process reads and registers after it.
    """
    _register_all(registry)
    with home.open() as other:
        assert other.credential(WORKSPACE, "images") == SECRETS["images"]

        assert forked(lambda: rotate(registry, WORKSPACE)) == 0

        assert other.credential(WORKSPACE, "images") == SECRETS["images"]
        other.put(WORKSPACE, blob("later"), key("later-key"), overwrite=False)
    assert _keys_of_rows(registry) == {_ring(home).current.id}


def test_workspaces_with_one_key_file_keep_their_keys(registry: Registry, home: Home) -> None:
    """
    Rotating one workspace leaves another's key in the file they share, until it rotates too.
    """
    _register_all(registry)
    registry.add_workspace(workspace(home, "speech"))
    registry.put("speech", blob(), key("speech-key"), overwrite=False)
    old = _ring(home).current

    rotate(registry, WORKSPACE)

    assert old in _ring(home).keys
    assert registry.credential("speech", "images") == key("speech-key")
    rotate(registry, "speech")
    assert (old in _ring(home).keys) != _is_private(registry)
    assert registry.credential("speech", "images") == key("speech-key")
    _assert_all_readable(home)


@pytest.mark.parametrize("how", ["raise", "kill"])
def test_a_rotation_may_be_cut_off_anywhere(registry: Registry, home: Home, how: str) -> None:
    """
    After an end at any statement, commit or change of the key file, by an error or by SIGKILL,
    every secret opens, registering works, and the next rotation leaves one key and no other file.
    """
    _register_all(registry)
    act = _raise if how == "raise" else _die
    steps = 0
    while not _cut_off(home, steps, act):
        with home.open() as survivor:
            _assert_all_readable(home)
            survivor.put(WORKSPACE, blob("images"), SECRETS["images"], overwrite=True)
            assert len(_keys_of_rows(survivor)) == 1
        steps += 1

    assert steps >= 16, "fewer moments than the rotation has steps"
    rotate(registry, WORKSPACE)
    assert {_ring(home).current.id} == _keys_of_rows(registry)
    if _is_private(registry):
        assert len(_ring(home).keys) == 1
    _assert_all_readable(home)


def test_registries_that_share_a_key_source_both_keep_their_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Rotating in one registry takes no key away that another one, with the same source, needs.
    """
    monkeypatch.setenv("DATASTORES_VAULT_KEY_SOURCE", f"file:{tmp_path / 'shared' / 'key'}")
    registries = []
    for name in ("a", "b"):
        made = Registry.open(tmp_path / name / "registry.db", create=True)
        made.add_workspace(WorkspaceRecord(WorkspaceName(WORKSPACE), "s", "r"))
        made.put(WORKSPACE, blob(), key(f"key-of-{name}"), overwrite=False)
        registries.append(made)
    first, second = registries

    rotation = rotate(first, WORKSPACE)

    assert "other registries may need them" in str(rotation.advice)
    assert first.credential(WORKSPACE, "images") == key("key-of-a")
    assert second.credential(WORKSPACE, "images") == key("key-of-b")
    for made in registries:
        made.close()


def test_a_rotation_without_the_old_key_changes_nothing(registry: Registry, home: Home) -> None:
    """
    When a secret cannot be opened, no key is made and no row is touched.
    """
    _register_all(registry)
    used = _keys_of_rows(registry)
    home.key_file.unlink()

    with home.open() as other, pytest.raises(VaultLocked, match="does not have the key"):
        rotate(other, WORKSPACE)

    assert not home.key_file.exists()
    assert _keys_of_rows(registry) == used


def test_a_variables_keys_are_rotated_by_hand(
    registry: Registry, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    With keys in a variable, rotation takes the first one and says what to change before and after.
    """
    old, new = Key.generate(), Key.generate()
    registry.set_settings(WORKSPACE, {"vault_key": "env:"})
    monkeypatch.setenv(KEY_VARIABLE, old.text.reveal())
    _register_all(registry)

    alone = rotate(registry, WORKSPACE)
    monkeypatch.setenv(KEY_VARIABLE, KeyRing((new, old)).text(",").reveal())
    both = rotate(registry, WORKSPACE)
    monkeypatch.setenv(KEY_VARIABLE, new.text.reveal())

    assert (alone.resealed, both.resealed, both.key_id) == (0, 3, new.id)
    assert "put a new one" in str(alone.advice)
    assert f'first key of "env:{KEY_VARIABLE}"; take the other keys out' in str(both.advice)
    _assert_all_readable(home)


def test_an_empty_workspace_rotates(registry: Registry, home: Home) -> None:
    """
    A workspace without secrets gets a new key all the same.
    """
    rotation = rotate(registry, WORKSPACE)

    assert rotation.resealed == 0
    assert _ring(home).current.id == rotation.key_id


def _is_private(registry: Registry) -> bool:
    """Whether the key file lies beside the registry, where no other registry looks for it."""
    return registry.keychain.folder is not None


def _cut_off(home: Home, step: int, act: Callable[[], None]) -> bool:
    """Rotate with an end after `step` steps; whether it got to its own end before that."""
    left = step

    def passing(*_: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            act()

    def work() -> None:
        with home.open() as registry:
            for name in ("before_cursor_execute", "after_cursor_execute", "commit"):
                event.listen(registry.database.engine, name, passing)
            # Around each system call that changes the key file.
            for name in ("_write_new", "_sync_folder"):
                _surround(name, passing)
            rotate(registry, WORKSPACE)

    code = forked(lambda: _expecting_a_cut(work))
    assert code in (0, CUT, -signal.SIGKILL)
    return code == 0


CUT = 7


def _expecting_a_cut(work: Callable[[], None]) -> None:
    try:
        work()
    except PowerCut:
        os._exit(CUT)


def _surround(name: str, passing: Callable[[], None]) -> None:
    # In a child that ends soon, hence nothing to restore.
    inner = getattr(key_file, name)

    def outer(*arguments: Any) -> None:
        passing()
        inner(*arguments)
        passing()

    setattr(key_file, name, outer)


def _raise() -> None:
    raise PowerCut


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _register_all(registry: Registry) -> None:
    for name, credential in SECRETS.items():
        definition = (
            PostgreSql(DatastoreName(name), "server", "db") if name == "prices" else blob(name)
        )
        registry.put(WORKSPACE, definition, credential, overwrite=False)


def _assert_all_readable(home: Home) -> None:
    with home.open() as registry:
        found = {name: registry.credential(WORKSPACE, name) for name in SECRETS}
    assert found == SECRETS


def _ring(home: Home) -> KeyRing:
    ring = key_source(f"file:{home.key_file}", "here", None).load()
    assert ring is not None
    return ring


def _keys_of_rows(registry: Registry) -> set[str]:
    return registry.database.read(
        lambda connection: set(
            connection.exec_driver_sql("SELECT DISTINCT key_id FROM secrets").scalars()
        )
    )
