"""Sealing secrets for the records, and opening them: no I/O."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any

from datastores.registry.keys import Key
from datastores.secret import Secret
from datastores.value import Value

_NONCE_BYTES = 12
# Any text of Python survives; a strict codec's error would carry the secret.
_UTF8 = ("utf-8", "surrogatepass")


class Belonging(Value):
    """What a sealed secret belongs to; it opens nowhere else.

    The registration is part of it: who can write the records without the key cannot point a
    credential at a server of their own.
    """

    workspace_id: str
    owner: str
    field: str
    registration: bytes

    @classmethod
    def to(
        cls,
        workspace_id: str,
        owner: str,
        field: str,
        definition: Mapping[str, Any],
        credential: Mapping[str, Any],
    ) -> Belonging:
        """The belonging of a secret to a datastore's records as they are stored."""
        text = json.dumps([definition, credential], sort_keys=True, separators=(",", ":"))
        return cls(workspace_id, owner, field, hashlib.sha256(text.encode()).digest())

    def as_bytes(self) -> bytes:
        """One spelling for each belonging, and no two with the same."""
        parts = ["datastores secret 1", self.workspace_id, self.owner, self.field]
        return json.dumps([*parts, self.registration.hex()]).encode()


class Sealed(Value):
    """A secret as the records keep it."""

    key_id: str
    nonce: bytes
    ciphertext: bytes


def seal_secret(secret: Secret, key: Key, belonging: Belonging) -> Sealed:
    """The secret under this key, never twice the same bytes."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = os.urandom(_NONCE_BYTES)
    ciphertext = AESGCM(key.raw()).encrypt(
        nonce, secret.reveal().encode(*_UTF8), belonging.as_bytes()
    )
    return Sealed(key.id, nonce, ciphertext)


def open_secret(sealed: Sealed, key: Key, belonging: Belonging) -> Secret | None:
    """The secret; None when the bytes were altered, or sealed for another place."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        return Secret(
            AESGCM(key.raw())
            .decrypt(sealed.nonce, sealed.ciphertext, belonging.as_bytes())
            .decode(*_UTF8)
        )
    except (InvalidTag, ValueError):  # a nonce of a wrong length is a ValueError
        return None
