"""Sealing and opening."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datastores.errors import VaultLocked
from datastores.registry.keys import Key, KeyRing
from datastores.registry.registry import Registry
from datastores.registry.vault import Belonging, Sealed, open_secret, seal_secret
from datastores.secret import Secret
from tests.registry.conftest import WORKSPACE, blob, key

HOME = Belonging.to("workspace", "images", "key", {"account": "a"}, {"kind": "AccountKey"})


@given(st.text(min_size=1))
def test_any_text_survives(text: str) -> None:
    """
    Whatever text is sealed comes out of the same place under the same key.
    """
    sealing = Key.generate()

    opened = open_secret(seal_secret(Secret(text), sealing, HOME), sealing, HOME)

    assert opened is not None
    assert opened.reveal() == text


def test_lone_surrogates_survive() -> None:
    """
    A text that no strict codec takes survives too.
    """
    sealing = Key.generate()

    opened = open_secret(seal_secret(Secret("a\udc80"), sealing, HOME), sealing, HOME)

    assert opened is not None
    assert opened.reveal() == "a\udc80"


def test_equal_secrets_look_different() -> None:
    """
    One text sealed twice has nothing in common but its key.
    """
    sealing = Key.generate()

    first, second = (seal_secret(Secret("same"), sealing, HOME) for _ in range(2))

    assert first.key_id == second.key_id
    assert first.nonce != second.nonce
    assert first.ciphertext != second.ciphertext


@pytest.mark.parametrize(
    "elsewhere",
    [
        dataclasses.replace(HOME, workspace_id="other"),
        dataclasses.replace(HOME, owner="labels"),
        dataclasses.replace(HOME, field="token"),
        Belonging.to("workspace", "images", "key", {"account": "b"}, {"kind": "AccountKey"}),
        Belonging.to("workspace", "images", "key", {"account": "a"}, {"kind": "Sas"}),
    ],
)
def test_a_sealed_secret_opens_nowhere_else(elsewhere: Belonging) -> None:
    """
    Another workspace, datastore, field, definition or credential cannot open it.
    """
    sealing = Key.generate()
    sealed = seal_secret(Secret("text"), sealing, HOME)

    assert open_secret(sealed, sealing, elsewhere) is None


def test_an_altered_secret_does_not_open() -> None:
    """
    No changed bit, shortened nonce or other key yields a text.
    """
    sealing = Key.generate()
    sealed = seal_secret(Secret("text"), sealing, HOME)
    flipped = [
        Sealed(sealed.key_id, sealed.nonce, bytes(altered))
        for place in range(len(sealed.ciphertext))
        for altered in [bytearray(sealed.ciphertext)]
        if not altered.__setitem__(place, altered[place] ^ 1)
    ]
    short = [dataclasses.replace(sealed, nonce=b""), dataclasses.replace(sealed, ciphertext=b"")]

    opened = [open_secret(one, sealing, HOME) for one in flipped + short]

    assert opened == [None] * (len(sealed.ciphertext) + 2)
    assert open_secret(sealed, Key.generate(), HOME) is None


TAMPERING = {
    "moved ciphertexts": (
        "UPDATE secrets SET (key_id, nonce, ciphertext) = (SELECT key_id, nonce, ciphertext "
        "FROM secrets AS other WHERE other.owner = 'labels') WHERE owner = 'images'"
    ),
    "altered ciphertext": "UPDATE secrets SET ciphertext = nonce WHERE owner = 'images'",
    "redirected account": (
        "UPDATE datastores SET definition = CAST(replace(CAST(definition AS TEXT), "
        "'acct', 'evil') AS JSON) WHERE name = 'images'"
    ),
}


@pytest.mark.parametrize("how", TAMPERING)
def test_tampering_with_the_database_is_refused(registry: Registry, how: str) -> None:
    """
    Who can write the database but lacks the key cannot swap secrets or redirect a credential.
    """
    registry.put(WORKSPACE, blob("images"), key("images-key"), overwrite=False)
    registry.put(WORKSPACE, blob("labels"), key("labels-key"), overwrite=False)
    statement = TAMPERING[how]
    if "sqlite" in registry.database.engine.url.drivername:
        # Text is how SQLite keeps JSON; its CAST would make a number of it.
        statement = statement.replace("CAST(replace(", "replace(").replace(" AS JSON)", "")
    registry.database.write(lambda connection: connection.exec_driver_sql(statement))

    with pytest.raises(VaultLocked, match=r'secret "key" of datastore "images".*altered'):
        registry.credential(WORKSPACE, "images")
    assert registry.credential(WORKSPACE, "labels") == key("labels-key")


def test_rings_survive_their_text() -> None:
    """
    Keys keep their order and fingerprints through any separator, and show no bits.
    """
    ring = KeyRing((Key.generate(), Key.generate(), Key.generate()))

    for separator in (",", "\n", " , "):
        assert KeyRing.parse(ring.text(separator)) == ring
    assert all(one.text.reveal() not in repr(ring) for one in ring.keys)
    assert len({one.id for one in ring.keys}) == 3


@pytest.mark.parametrize("text", ["\n", "short", "é" * 44, "A" * 43, "A" * 44 + "=", "AAAA,"])
def test_what_is_no_key_is_refused_unseen(text: str) -> None:
    """
    A text that is not 32 bytes in base64 is refused without being repeated.
    """
    with pytest.raises(ValueError, match="hold") as error:
        KeyRing.parse(Secret(text))

    assert text not in str(error.value)
