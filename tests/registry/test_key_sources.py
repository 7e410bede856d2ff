"""Where keys may be kept."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import keyring
import keyring.backend
import keyring.errors
import pytest

from datastores.errors import VaultLocked
from datastores.registry.key_file import KeyFile
from datastores.registry.keys import (
    KEY_VARIABLE,
    SOURCE_VARIABLE,
    Key,
    KeyRing,
    chosen_source,
    key_source,
)
from datastores.registry.registry import Registry
from tests.registry.conftest import WORKSPACE, Home, blob, key, workspace


class MemoryKeyring(keyring.backend.KeyringBackend):
    """The operating system's keyring, in memory."""

    priority = 1.0

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # keyring's own
        self.entries: dict[tuple[str, str], str] = {}
        self.is_locked = False

    def get_password(self, service: str, username: str) -> str | None:
        if self.is_locked:
            raise keyring.errors.KeyringLocked("the collection is locked")
        return self.entries.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        if self.is_locked:
            raise keyring.errors.KeyringLocked("the collection is locked")
        self.entries[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.entries[service, username]


@pytest.fixture
def memory_keyring() -> Iterator[MemoryKeyring]:
    before = keyring.get_keyring()
    backend = MemoryKeyring()
    keyring.set_keyring(backend)
    yield backend
    keyring.set_keyring(before)


@pytest.fixture
def key_file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "keys" / "vault.key", "here")


def test_a_key_file_keeps_a_ring(key_file: KeyFile) -> None:
    """
    What was saved is loaded, in a file for its owner only, and nothing else is left behind.
    """
    assert key_file.load() is None
    first = key_file.start()
    ring = first.led_by(Key.generate())

    key_file.save(ring)

    assert key_file.load() == ring
    assert stat.S_IMODE(key_file.path.stat().st_mode) == 0o600
    assert list(key_file.path.parent.iterdir()) == [key_file.path]


def test_a_first_key_never_replaces_another(key_file: KeyFile) -> None:
    """
    Whoever starts a key file second gets the first one's key.
    """
    first = key_file.start()

    assert key_file.start() == first
    assert list(key_file.path.parent.iterdir()) == [key_file.path]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_file_that_others_can_read_is_refused(key_file: KeyFile, mode: int) -> None:
    """
    A key that is not its owner's alone is not used, and the sentence says what to run.
    """
    key_file.start()
    key_file.path.chmod(mode)

    with pytest.raises(VaultLocked, match=f'run: chmod 600 "{key_file.path}"'):
        key_file.load()


@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_a_folder_where_others_can_replace_the_key_is_refused(key_file: KeyFile, mode: int) -> None:
    """
    A key in a folder that others may write is neither read nor written, unless it is sticky.
    """
    ring = key_file.start()
    folder = key_file.path.parent
    folder.chmod(mode)

    with pytest.raises(VaultLocked, match="run: chmod go-w"):
        key_file.load()
    with pytest.raises(VaultLocked, match="run: chmod go-w"):
        key_file.save(ring)
    folder.chmod(mode | stat.S_ISVTX)
    assert key_file.load() == ring


def test_a_file_of_another_user_is_refused(key_file: KeyFile) -> None:
    """
    A key that another user put there is not used.
    """
    key_file.start()
    if os.geteuid() == 0:
        os.chown(key_file.path, 65534, -1)
    else:  # only root can give files away, but root has files
        key_file = KeyFile(Path("/etc/passwd"), "here")

    with pytest.raises(VaultLocked, match="belongs to another user"):
        key_file.load()


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"no key\n", b"QUJD\n"])
def test_a_damaged_key_file_is_refused(key_file: KeyFile, content: bytes) -> None:
    """
    A file without whole keys is named, and not mistaken for a missing one.
    """
    key_file.start()
    key_file.path.write_bytes(content)

    with pytest.raises(VaultLocked, match=f"{key_file.path}.*damaged"):
        key_file.load()


def test_a_folder_in_place_of_the_key_is_refused(key_file: KeyFile) -> None:
    """
    A key source that is a folder or a pipe is refused at once.
    """
    key_file.path.mkdir(parents=True)
    with pytest.raises(VaultLocked, match="is not a file"):
        key_file.load()
    key_file.path.rmdir()
    os.mkfifo(key_file.path, 0o600)

    with pytest.raises(VaultLocked, match="is not a file"):
        key_file.load()


def test_a_first_secret_makes_the_key_beside_the_registry(tmp_path: Path) -> None:
    """
    Without any setting the key is made when the first secret comes, in the registry's folder,
    and moves with it.
    """
    with Registry.open(tmp_path / "old" / "registry.db", create=True) as registry:
        registry.add_workspace(workspace(Home("", Path())))
        registry.set_settings(WORKSPACE, {})
        assert not (tmp_path / "old" / "vault.key").exists()
        registry.put(WORKSPACE, blob(), key(), overwrite=False)
    assert (tmp_path / "old" / "vault.key").exists()
    (tmp_path / "old").rename(tmp_path / "new")

    with Registry.open(tmp_path / "new") as registry:
        assert registry.credential(WORKSPACE, "images") == key()


def test_a_database_has_no_folder_for_a_key(postgres_home: Home) -> None:
    """
    In PostgreSQL a workspace without a key source is told to choose one.
    """
    with postgres_home.open(create=True) as registry:
        registry.add_workspace(workspace(postgres_home))
        registry.set_settings(WORKSPACE, {})

        with pytest.raises(VaultLocked, match=SOURCE_VARIABLE):
            registry.put(WORKSPACE, blob(), key(), overwrite=False)


def test_the_environment_overrides_the_setting(
    registry: Registry, home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """
    With the source variable set, the workspace's own source is not looked at.
    """
    registry.put(WORKSPACE, blob(), key(), overwrite=False)
    moved = tmp_path / "moved.key"
    shutil.move(home.key_file, moved)
    monkeypatch.setenv(SOURCE_VARIABLE, f"file:{moved}")

    with home.open() as other:
        assert other.credential(WORKSPACE, "images") == key()


def test_keys_come_from_a_variable(
    registry: Registry, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A variable holds the keys; without it, or with others, secrets stay closed and it is named.
    """
    ring = KeyRing((Key.generate(), Key.generate()))
    registry.set_settings(WORKSPACE, {"vault_key": "env:"})
    monkeypatch.setenv(KEY_VARIABLE, ring.text(",").reveal())
    registry.put(WORKSPACE, blob(), key(), overwrite=False)

    with home.open() as other:
        assert other.credential(WORKSPACE, "images") == key()
    for value, sentence in {
        "": f'env:{KEY_VARIABLE}" does not have the key {ring.current.id}',
        Key.generate().text.reveal(): f"does not have the key {ring.current.id}",
        "no-key-at-all": "is not a key",
    }.items():
        monkeypatch.setenv(KEY_VARIABLE, value)
        with home.open() as other, pytest.raises(VaultLocked, match=sentence):
            other.credential(WORKSPACE, "images")


def test_an_unset_variable_is_named_when_a_secret_comes(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    No key is invented for a variable that somebody forgot to set.
    """
    monkeypatch.setenv(SOURCE_VARIABLE, "env:MY_KEYS")

    with pytest.raises(VaultLocked, match='"env:MY_KEYS" is not set'):
        registry.put(WORKSPACE, blob(), key(), overwrite=False)


def test_keys_come_from_the_keyring(
    registry: Registry, home: Home, memory_keyring: MemoryKeyring
) -> None:
    """
    The system's keyring gets one entry under the service's name, and another opening finds it.
    """
    registry.set_settings(WORKSPACE, {"vault_key": "keyring:datastores-test"})

    registry.put(WORKSPACE, blob(), key(), overwrite=False)

    with home.open() as other:
        assert other.credential(WORKSPACE, "images") == key()
    assert list(memory_keyring.entries) == [("datastores-test", "vault-key")]
    memory_keyring.is_locked = True
    with home.open() as other, pytest.raises(VaultLocked, match="unlock the keyring"):
        other.credential(WORKSPACE, "images")


def test_a_missing_keyring_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Without the optional package the sentence says what to install.
    """
    monkeypatch.setitem(sys.modules, "keyring", None)

    with pytest.raises(VaultLocked, match=r'pip install "datastores\[keyring\]"'):
        key_source("keyring:any", "here", None).load()


@pytest.mark.parametrize(
    "setting",
    [
        "", "file:", "keyring:", "keyvault:", "vault.key", "s3:bucket",
        "keyvault:https://vault.example.com/secrets/name",
        "keyvault:http://name.vault.azure.net/secrets/name",
        "keyvault:https://name.vault.azure.net.example.com/secrets/name",
        "keyvault:https://name.vault.azure.net:444/secrets/name",
        "keyvault:https://name.vault.azure.net/keys/name",
    ],
)  # fmt: skip
def test_unknown_sources_are_refused(setting: str, tmp_path: Path) -> None:
    """
    A source that cannot be right is refused before anything is sent or made.
    """
    with pytest.raises(VaultLocked, match="key source"):
        key_source(setting, "here", tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_every_source_describes_itself_as_settings_spell_it(tmp_path: Path) -> None:
    """
    A source made from a description is the same source.
    """
    for setting in (
        f"file:{tmp_path}/vault.key",
        "env:MY_KEYS",
        "keyring:service",
        "keyvault:https://name.vault.azure.net/secrets/vault-key",
    ):
        assert key_source(setting, "here", None).describe() == setting
    assert chosen_source(None) == "file:vault.key"
