"""Keys in the process's environment, and in the keyring of the operating system."""

from __future__ import annotations

import os
from typing import Any, ClassVar

from datastores.errors import VaultLocked
from datastores.registry.keys import KeyRing
from datastores.secret import Secret, masked, redact
from datastores.value import Value

KEYRING_USER = "vault-key"


class KeyVariable(Value):
    """`env:<VARIABLE>`: keys in base64, commas between, the current one first."""

    saves: ClassVar[bool] = False

    variable: str
    registry: str

    def load(self) -> KeyRing | None:
        if not os.environ.get(self.variable, "").strip():
            return None
        try:
            return KeyRing.parse(Secret(os.environ[self.variable]))
        except ValueError as error:
            raise self._locked(f"is not a key: {error}; correct it") from error

    def start(self) -> KeyRing:
        raise self._locked("is not set; set it to 32 random bytes in base64")

    def save(self, ring: KeyRing) -> None:
        raise self._locked(
            f"cannot be changed from here; set {self.variable} to {len(ring.keys)} keys yourself"
        )

    def describe(self) -> str:
        return f"env:{self.variable}"

    def _locked(self, reason: str) -> VaultLocked:
        return VaultLocked(self.registry, f'key source "{self.describe()}" {reason}')


class KeyringService(Value):
    """`keyring:<service>`: the keyring of this user's session, which may ask the user first."""

    saves: ClassVar[bool] = True

    service: str
    registry: str

    def load(self) -> KeyRing | None:
        keyring = self._keyring()
        try:
            text = Secret.wrap(keyring.get_password(self.service, KEYRING_USER))
            return KeyRing.parse(text) if text else None
        except keyring.errors.KeyringError as error:
            raise self._refused(error) from masked(error)
        except ValueError as error:
            raise self._locked(f"is damaged: {error}; restore it from a backup") from error

    def start(self) -> KeyRing:
        ring = KeyRing.generate()
        self.save(ring)
        # There is no "only if absent" here: whoever saved last has won, for everybody.
        return self.load() or ring

    def save(self, ring: KeyRing) -> None:
        keyring = self._keyring()
        try:
            keyring.set_password(self.service, KEYRING_USER, ring.text(",").reveal())
        except keyring.errors.KeyringError as error:
            raise self._refused(error) from masked(error)

    def describe(self) -> str:
        return f"keyring:{self.service}"

    def _keyring(self) -> Any:
        try:
            import keyring
            import keyring.errors
        except ImportError as error:
            raise self._locked(
                'needs the keyring package; run: pip install "datastores[keyring]"'
            ) from error
        return keyring

    def _refused(self, error: Exception) -> VaultLocked:
        return self._locked(
            f"does not answer ({redact(str(error))}); unlock the keyring, or choose another source"
        )

    def _locked(self, reason: str) -> VaultLocked:
        return VaultLocked(self.registry, f'key source "{self.describe()}" {reason}')
