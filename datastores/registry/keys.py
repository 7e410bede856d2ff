"""The keys that seal a workspace's secrets, and the places they may be kept in."""

from __future__ import annotations

import binascii
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar, Protocol, Self

from datastores.errors import VaultLocked
from datastores.secret import Secret
from datastores.value import Value

SOURCE_VARIABLE = "DATASTORES_VAULT_KEY_SOURCE"
KEY_VARIABLE = "DATASTORES_VAULT_KEY"
DEFAULT_SOURCE = "file:vault.key"

_KEY_BYTES = 32


class Key(Value):
    """256 random bits; `id` is their fingerprint, which the records may show."""

    id: str
    text: Secret  # base64

    @classmethod
    def generate(cls) -> Self:
        """A new key."""
        return cls.of(Secret(binascii.b2a_base64(secrets.token_bytes(_KEY_BYTES)).decode().strip()))

    @classmethod
    def of(cls, text: Secret) -> Self:
        """The key in base64; `ValueError` says what is wrong without showing it."""
        try:
            size = len(binascii.a2b_base64(text.reveal(), strict_mode=True))
        except ValueError:
            size = 0  # not base64, or not even ASCII
        if size != _KEY_BYTES:
            raise ValueError(f"it does not hold {_KEY_BYTES} bytes in base64")
        mark = hmac.digest(binascii.a2b_base64(text.reveal()), b"datastores key", hashlib.sha256)
        return cls(mark[:8].hex(), text)

    def raw(self) -> bytes:
        """The bits themselves, for the one call that needs them."""
        return binascii.a2b_base64(self.text.reveal())


class KeyRing(Value):
    """The key that seals, first, and older ones that still open."""

    keys: tuple[Key, ...]

    @classmethod
    def parse(cls, text: Secret) -> Self:
        """Keys in base64 with commas or white space between; `ValueError` without showing any."""
        parts = [Secret(part) for part in re.split(r"[,\s]+", text.reveal()) if part]
        if not parts:
            raise ValueError("it holds no key")
        return cls(tuple(Key.of(part) for part in parts))

    @classmethod
    def generate(cls) -> Self:
        """One new key."""
        return cls((Key.generate(),))

    @property
    def current(self) -> Key:
        """The key that seals what is new."""
        return self.keys[0]

    def find(self, key_id: str) -> Key | None:
        """The key of this fingerprint."""
        return next((key for key in self.keys if key.id == key_id), None)

    def led_by(self, key: Key) -> KeyRing:
        """The same keys behind another current one."""
        return KeyRing((key, *(old for old in self.keys if old.id != key.id)))

    def without(self, unused: Iterable[str]) -> KeyRing:
        """Without these older keys; the current one always stays."""
        gone = set(unused) - {self.current.id}
        return KeyRing(tuple(key for key in self.keys if key.id not in gone))

    def text(self, separator: str) -> Secret:
        """What `parse` reads."""
        return Secret(separator.join(key.text.reveal() for key in self.keys))


class KeySource(Protocol):
    """A place that keeps a key ring. Its failures are `VaultLocked` and name it."""

    # Whether `save` works here; otherwise a person changes the keys.
    saves: ClassVar[bool]

    def load(self) -> KeyRing | None:
        """The ring, read anew; None when no key was ever made."""

    def start(self) -> KeyRing:
        """Make and keep a first key; if somebody else was faster, theirs."""

    def save(self, ring: KeyRing) -> None:
        """Replace the ring as one step. Callers hold the registry's writer lock."""

    def describe(self) -> str:
        """The source as settings spell it."""


def key_source(setting: str, registry: str, folder: Path | None) -> KeySource:
    """The source a setting names; relative files lie in the registry's folder."""
    from datastores.registry.key_file import KeyFile
    from datastores.registry.key_places import KeyringService, KeyVariable
    from datastores.registry.key_vault import KeyVaultSecret

    scheme, _, rest = setting.partition(":")
    match scheme:
        case "file" if rest:
            path = Path(rest).expanduser()
            if folder is None and not path.is_absolute():
                raise VaultLocked(
                    registry, f'"{setting}" is not an absolute path, and a database has no folder; '
                    f"set {SOURCE_VARIABLE} or the workspace's \"vault_key\"",
                )  # fmt: skip
            return KeyFile((folder or Path()) / path, registry)
        case "env":
            return KeyVariable(rest or KEY_VARIABLE, registry)
        case "keyring" if rest:
            return KeyringService(rest, registry)
        case "keyvault" if rest:
            return KeyVaultSecret.parse(rest, registry)
    raise VaultLocked(
        registry, f'key source "{setting}" is unknown; use file:<path>, env:<VARIABLE>, '
        "keyring:<service> or keyvault:https://<vault>.vault.azure.net/secrets/<name>",
    )  # fmt: skip


def chosen_source(setting: object) -> str:
    """The setting that counts: the environment's, the workspace's, or the file beside it."""
    return os.environ.get(SOURCE_VARIABLE) or (str(setting) if setting else DEFAULT_SOURCE)
