"""Errors of libraries whose frames hold a secret in a local variable."""

from __future__ import annotations

from typing import TypeVar

E = TypeVar("E", bound=BaseException)


def frameless(error: E) -> E:
    """The same error and all it came from, without the frames a crash report would print."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            one.__traceback__ = None
            waiting += [one.__cause__, one.__context__]
    return error
