"""The threads that fetch the next page of a listing while the last one is read."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")

# Listings that may look ahead at one time; a listing that waits for its turn is only slower.
_LISTERS = 16


class Listers(Executor):
    """A pool of threads, started when first needed; a forked child has its own."""

    def __init__(self) -> None:
        self._pool = _pool()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        return self._pool.submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._pool.shutdown(wait, cancel_futures=cancel_futures)

    def renew(self) -> None:
        """Forget the threads, which stayed with the parent."""
        self._pool = _pool()


def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_LISTERS, thread_name_prefix="blob-listing")
