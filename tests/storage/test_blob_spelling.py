"""Which keys a container cannot hold."""

from __future__ import annotations

import pytest

from datastores.errors import Unsupported
from datastores.storage.blob.spelling import must_hold, unholdable


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("", "cannot be empty"),
        ("a\\b", 'turns every "\\" of a name into "/"'),
        ("a/../b", 'lose the segments "." and ".."'),
        ("./a", 'lose the segments "." and ".."'),
        ("k" * 1025, "1025 characters and 1024 is the limit"),
        ("a\x01b", "a character that listings cannot carry"),
        ("a\rb", "a character that listings cannot carry"),
        ("a\udc80b", "a character that listings cannot carry"),
    ],
)
def test_refusal_says_why(key: str, reason: str) -> None:
    """A key that no blob can have is refused with the store, the key and the reason."""
    with pytest.raises(Unsupported) as caught:
        must_hold("pictures", key)

    assert (caught.value.store, caught.value.key) == ("pictures", key)
    assert reason in str(caught.value)


@pytest.mark.parametrize("key", ["a b", "a//b", "/a", "a/", "a\nb", "...", "a..b", "é", "k" * 1024])
def test_other_keys_are_held(key: str) -> None:
    """Odd keys that the service keeps as they are spelled are not refused."""
    assert unholdable(key) is None
