"""Values that must never be seen, and the mask that stands in for them."""

from __future__ import annotations

import hmac
import re
import urllib.parse
import weakref
from typing import NoReturn

MASK = "********"

# Every live secret, so that text from third parties can be masked by value and not only by shape.
_live: weakref.WeakValueDictionary[int, Secret] = weakref.WeakValueDictionary()

# What secrets look like inside other people's messages: SAS signatures, connection strings,
# authorization headers, URLs with a password.
_SHAPES = re.compile(
    r"(?P<before>\bsig=|\bAccountKey=|\bSharedAccessSignature=|\b(?:pwd|password|client_secret)=|"
    r"\bBearer\s+|\bSharedKey(?:Lite)?\s+[^:\s]+:|://[^/\s:@]*:)(?P<secret>[^\s&;\"'@]+)",
    re.IGNORECASE,
)


class Secret:
    """A text that prints as a mask, refuses to be pickled, and is read only by `reveal`."""

    __slots__ = ("__weakref__", "_value")

    def __init__(self, value: str) -> None:
        if not value:
            raise ValueError("a secret cannot be empty; give its value or None")
        self._value = value
        _live[id(self)] = self

    @classmethod
    def wrap(cls, value: str | Secret | None) -> Secret | None:
        """A secret from what a caller typed; empty and None both mean "not given"."""
        if isinstance(value, Secret):
            return value
        return cls(value) if value else None

    def reveal(self) -> str:
        """The value itself, for the one call that needs it."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret('{MASK}')"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        mine, others = (one.reveal().encode("utf-8", "surrogatepass") for one in (self, other))
        return hmac.compare_digest(mine, others)

    def __hash__(self) -> int:
        return hash(("Secret", self._value))

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Secret:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret cannot be pickled; pickle the datastore's name and look it up")


class Foreign(Exception):
    """What a library raised, in words that may be shown."""


def masked(error: BaseException) -> Foreign:
    """The error of a library as the cause of one of ours: its kind and its text, masked.

    Its frames go, and those of all that led to it: a crash report prints their variables, and
    libraries keep keys and signed addresses there. The errors themselves are masked in place,
    since frames of `contextlib` hold them, too.
    """
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            one.__traceback__ = None
            one.args = (redact(str(one)),)
            waiting += [one.__cause__, one.__context__]
    kind = type(error)
    return Foreign(f"{kind.__module__}.{kind.__qualname__}: {error.args[0]}")


def redact(text: str) -> str:
    """The text with every live secret, and everything shaped like one, replaced by the mask."""
    # The longest first: one secret may be the beginning of another.
    for value in sorted(
        {secret.reveal() for secret in list(_live.values())}, key=len, reverse=True
    ):
        # Short values would blank out ordinary words; the shapes still catch them in context.
        if len(value) >= 6:
            for form in (value, urllib.parse.quote(value, safe=""), urllib.parse.quote_plus(value)):
                text = text.replace(form, MASK)
    return _SHAPES.sub(lambda match: match["before"] + MASK, text)
