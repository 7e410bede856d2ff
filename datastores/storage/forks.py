"""What a forked child makes anew, since threads, held locks and connections are its parent's.

A data loader forks its workers after it has read a first sample, so every store has to work in a
child of a process that has used it.
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol, TypeVar


class Inherited(Protocol):
    """Something that holds a lock, threads or connections."""

    def renew(self) -> None:
        """In a child, which has one thread: drop what is the parent's; must not wait or fail."""


T = TypeVar("T", bound=Inherited)

_living: weakref.WeakSet[Inherited] = weakref.WeakSet()
_generation = 0


def renewed(one: T) -> T:
    """The same object, renewed in every child that is forked while it lives."""
    _living.add(one)
    return one


def generation() -> int:
    """How often this process and those it descends from were forked since they loaded this.

    Asking the kernel who we are costs a call for each piece of a stream.
    """
    return _generation


def _after_fork() -> None:
    global _generation  # noqa: PLW0603 - a fact about the process
    _generation += 1
    for one in list(_living):
        one.renew()


os.register_at_fork(after_in_child=_after_fork)
