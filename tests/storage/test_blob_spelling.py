"""Which keys go to which client, and which are refused."""

from __future__ import annotations

import obstore
import pytest
from hypothesis import given
from hypothesis import strategies as st
from obstore.store import MemoryStore

from datastores.errors import Unsupported
from datastores.storage.blob.spelling import fits_obstore, must_hold, unholdable

SEGMENTS = st.text(alphabet="ab.%\\ \n\t\x7f~#?+é\u0085/", max_size=12)


def _obstore_spelling(key: str) -> str | None:
    """The key that obstore makes of a key; None where it refuses."""
    store = MemoryStore()
    try:
        obstore.put(store, key, b"")
        # Slashes alone name the root, which no listing shows.
        found = obstore.list(store).collect()
        return str(found[0]["path"]) if found else None
    except (ValueError, obstore.exceptions.BaseError):
        return None


@given(SEGMENTS.filter(bool) | st.text(st.characters(codec="utf-8"), min_size=1, max_size=8))
def test_obstore_gets_exactly_the_keys_it_keeps(key: str) -> None:
    """A key goes to obstore only if obstore spells it the same way, and every such key does."""
    assert fits_obstore(key) == (_obstore_spelling(key) == key)


def test_every_character_is_judged_as_obstore_does() -> None:
    """For each character of the first plane the predicate agrees with obstore."""
    store = MemoryStore()
    wrong = []
    for code in (*range(0xD800), *range(0xE000, 0x10000)):
        key = f"a{chr(code)}b"
        try:
            obstore.head(store, key)
        except FileNotFoundError:
            accepted = True
        except (ValueError, obstore.exceptions.BaseError):
            accepted = False
        if accepted != fits_obstore(key):
            wrong.append(code)

    assert wrong == []


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
