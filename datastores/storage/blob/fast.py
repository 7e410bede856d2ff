"""The Rust client for keys it can address, made when first needed."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from copy import copy
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from datastores.errors import DatastoresError
from datastores.storage.blob.failures import from_obstore
from datastores.storage.blob.place import Place
from datastores.storage.contract import Patience
from datastores.storage.forks import left_alone

if TYPE_CHECKING:
    from obstore.store import AzureStore

# obstore bounds a whole transfer by default (30 s); silence is bounded by the read timeout, and
# a large object may take as long as it keeps moving.
_LONGEST_TRANSFER = timedelta(days=7)

# More than can differ at one time: providers say the same until something changes.
_REFUSALS = 16


class Fast:
    """obstore for one container, without retries of its own."""

    def __init__(
        self, place: Place, proof: Callable[[], dict[str, Any]], patience: Patience
    ) -> None:
        self._place = place
        self._proof = proof
        self._patience = patience
        self._lock = threading.Lock()
        self._store: AzureStore | None = None  # under the lock until it is made
        # The last refusals of the token provider: obstore calls it from threads of its own, keeps
        # the text of an exception raised in there and loses the exception.
        self._refusals: deque[DatastoresError] = deque(maxlen=_REFUSALS)

    def client(self) -> AzureStore:
        """The store object that obstore's functions take."""
        if self._store is None:
            with self._lock:
                self._store = self._store or self._made()
        return self._store

    def failure(self, key: str, error: Exception) -> DatastoresError:
        """The error for what an obstore function raised."""
        said = str(error)
        for refusal in tuple(self._refusals):
            if str(refusal) in said:
                return copy(refusal)
        return from_obstore(self._place, key, error)

    def close(self) -> None:
        """Let go of connections."""
        self._store = None

    def renew(self) -> None:
        """In a forked child: the lock may be held by a thread of the parent."""
        self._lock = threading.Lock()
        left_alone(self._store)

    def _made(self) -> AzureStore:
        from obstore.store import AzureStore

        proof = self._proof()
        if "credential_provider" in proof:
            proof["credential_provider"] = self._watched(proof["credential_provider"])
        return AzureStore(
            self._place.container,
            account_name=self._place.account,
            endpoint=self._place.account_url,
            # Variables of the environment would otherwise turn these on.
            use_emulator=False,
            use_fabric_endpoint=False,
            client_options={
                "allow_http": self._place.is_plain_http,
                "connect_timeout": timedelta(seconds=self._patience.connect_seconds),
                "read_timeout": timedelta(seconds=self._patience.read_seconds),
                "timeout": _LONGEST_TRANSFER,
            },
            retry_config={"max_retries": 0},
            **proof,
        )

    def _watched(self, provider: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
        def provide() -> dict[str, Any]:
            try:
                return provider()
            except DatastoresError as error:
                self._refusals.append(error)
                raise

        return provide
