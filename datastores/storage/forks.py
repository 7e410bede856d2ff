"""What a forked child makes anew, since threads, held locks and connections are its parent's.

A data loader forks its workers after it has read a first sample, so every store has to work in a
child of a process that has used it.
"""

from __future__ import annotations

import os
import sys
import weakref
from typing import Protocol, TypeVar


class Inherited(Protocol):
    """Something that holds a lock, threads or connections."""

    def renew(self) -> None:
        """In a child, which has one thread: drop what is the parent's; must not wait or fail."""


T = TypeVar("T", bound=Inherited)

_living: weakref.WeakSet[Inherited] = weakref.WeakSet()
# The threads of obstore belong to the process that first used it and cannot be started again: a
# call of a child would wait for them for ever. Who imports it is about to use it.
_obstore_is_the_parents = False


def renewed(one: T) -> T:
    """The same object, renewed in every child that is forked while it lives."""
    _living.add(one)
    return one


def left_alone(one: object) -> None:
    """Keep, in a child, what its parent had from obstore: to drop it may wait for ever.

    A stream that is dropped takes a lock of the Rust runtime, and the thread that held the lock at
    the fork does not exist here: 1 of 400 children hung so on a busy machine.
    """
    import ctypes

    # A list would let go of it when the interpreter ends.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(one))


def obstore_works() -> bool:
    """Whether obstore can be used in this process."""
    return not _obstore_is_the_parents


def _after_fork() -> None:
    global _obstore_is_the_parents  # noqa: PLW0603 - a fact about the process
    _obstore_is_the_parents = _obstore_is_the_parents or "obstore" in sys.modules
    for one in list(_living):
        one.renew()


os.register_at_fork(after_in_child=_after_fork)
