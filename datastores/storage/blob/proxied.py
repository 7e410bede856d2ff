"""Requests through a proxy, by a whole HTTP client."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

from datastores.secret import masked
from datastores.storage.blob.carrier import PIECE_BYTES, Answer
from datastores.storage.blob.failures import from_urllib3
from datastores.storage.blob.place import Place
from datastores.storage.blob.signer import Signer
from datastores.storage.blob.sockets import trusted_certificates
from datastores.storage.contract import Patience

if TYPE_CHECKING:
    from typing_extensions import Buffer
    from urllib3 import BaseHTTPResponse, PoolManager

    from datastores.storage.blob.carrier import Pieces

# As many as a transfer may have under way; others are thrown away after each use.
_CONNECTIONS = 64


def proxy_for(place: Place) -> str | None:
    """The proxy that the environment names for this host."""
    if sys.platform == "linux" and not any(one.lower().endswith("_proxy") for one in os.environ):
        return None  # what knows the rules takes 20 ms to load
    import urllib.request

    address = urllib.parse.urlsplit(place.account_url)
    if urllib.request.proxy_bypass(address.hostname or ""):
        return None
    return urllib.request.getproxies().get(address.scheme)


class Proxied:
    """urllib3 behind the interface of a carrier."""

    def __init__(self, place: Place, signer: Signer, patience: Patience, proxy: str) -> None:
        self._place = place
        self._signer = signer
        self._patience = patience
        self._proxy = proxy
        self._lock = threading.Lock()
        # Under the lock.
        self._pool: PoolManager | None = None

    def exchange(
        self,
        method: str,
        key: str | None,
        query: Mapping[str, str] | None,
        headers: Mapping[str, str],
        body: Buffer | None,
    ) -> Answer:
        from urllib3.exceptions import HTTPError

        pool = self._ready()
        try:
            response = pool.request(
                method,
                self._signer.address(key, query),
                body=body,  # type: ignore[arg-type]  # any buffer, though typed as bytes
                headers=self._signer.headers(headers),
                preload_content=False,
                redirect=False,
                retries=False,
            )
        except HTTPError as error:
            raise from_urllib3(self._place, key, error) from masked(error)
        pieces = self._pieces(key, response)
        next(pieces)
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status, headers, pieces)

    def close(self) -> None:
        with self._lock:
            pool, self._pool = self._pool, None
        if pool:
            pool.clear()

    def renew(self) -> None:
        self._lock = threading.Lock()
        self._pool = None

    def _pieces(self, key: str | None, response: BaseHTTPResponse) -> Pieces:
        from urllib3.exceptions import HTTPError

        try:
            # Begun by whoever makes it: closing what was never begun would let go of nothing.
            yield b""
            yield from response.stream(PIECE_BYTES, decode_content=False)
        except HTTPError as error:
            raise from_urllib3(self._place, key, error) from masked(error)
        except GeneratorExit:
            # A body that was left unread would be taken for the next answer.
            response.close()
            raise
        finally:
            response.release_conn()

    def _ready(self) -> PoolManager:
        import urllib3

        with self._lock:
            if self._pool is None:
                self._pool = urllib3.ProxyManager(
                    self._proxy,
                    maxsize=_CONNECTIONS,
                    timeout=urllib3.Timeout(
                        connect=self._patience.connect_seconds, read=self._patience.read_seconds
                    ),
                    ca_certs=trusted_certificates(),
                )
            return self._pool
