"""Secrets print as a mask, whoever asks."""

from __future__ import annotations

import copy
import pickle

import pytest

from datastores.secret import MASK, Secret, masked, redact

CANARY = "c4n4ry+/secret=="


def test_every_way_of_printing_shows_the_mask() -> None:
    """str, repr, format and containers show the mask and never the value."""
    secret = Secret(CANARY)

    texts = [str(secret), repr(secret), f"{secret}", f"{secret!r:>20}", f"{[secret]}"]

    assert all(MASK in text and CANARY not in text for text in texts)


def test_pickling_is_refused_and_copying_shares() -> None:
    """A secret never enters a pickle; a deep copy is the same object."""
    secret = Secret(CANARY)

    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(secret)
    assert copy.deepcopy(secret) is secret


@pytest.mark.parametrize(
    "text",
    [
        f"refused: {CANARY}",
        "https://a.blob.core.windows.net/c?sig=c4n4ry%2B%2Fsecret%3D%3D&se=2030",
        "sp=r&sig=unknown%2Bsignature&sv=1",
        "AccountName=a;AccountKey=unknown+key==;EndpointSuffix=x",
        "Authorization: Bearer eyJ0.unknown.token",
        "postgresql://user:unknown-password@host/db",
    ],
)
def test_foreign_text_is_masked_by_value_and_by_shape(text: str) -> None:
    """Text from a library shows neither a living secret nor anything shaped like one."""
    secret = Secret(CANARY)

    masked = redact(text)

    assert MASK in masked
    assert not any(part in masked for part in (secret.reveal(), "unknown", "c4n4ry"))


def test_equal_secrets_are_equal_without_showing() -> None:
    """Two secrets of one value compare equal, and masking outlives either of them."""
    first, second = Secret(CANARY), Secret(CANARY)

    assert first == second
    assert hash(first) == hash(second)
    del first
    assert redact(CANARY) == MASK
    assert second.reveal() == CANARY


def test_an_empty_secret_is_none() -> None:
    """Nothing and the empty text are "not given"; a secret of nothing cannot exist."""
    assert Secret.wrap("") is None
    assert Secret.wrap(None) is None
    with pytest.raises(ValueError, match="cannot be empty"):
        Secret("")


def test_a_secret_that_begins_another_hides_both() -> None:
    """Where one secret is the beginning of another, nothing of the longer one is left."""
    short, long = Secret("abcdef"), Secret("abcdefTAIL")

    assert redact("x abcdefTAIL y abcdef") == f"x {MASK} y {MASK}"
    assert short != long


def test_a_masked_error_keeps_its_kind_and_loses_its_frames() -> None:
    """The cause of one of our errors names the library's error, without its variables."""
    secret = Secret(CANARY)
    with pytest.raises(ValueError, match="refused") as raised:
        _library(CANARY)
    seen = [raised.value, raised.value.__cause__]

    cause = masked(raised.value)

    assert str(cause) == f"builtins.ValueError: refused {MASK}"
    assert [one.__traceback__ for one in seen if one] == [None, None]
    assert secret.reveal() not in repr(seen)


def _library(key: str) -> None:
    try:
        {}[key]
    except KeyError as inner:
        raise ValueError(f"refused {key}") from inner
