"""Authorised requests to the blob service."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from datastores.storage.blob.carrier import Answer, Carrier
from datastores.storage.blob.direct import Direct
from datastores.storage.blob.failures import Refusal, refused
from datastores.storage.blob.place import Place
from datastores.storage.blob.proxied import Proxied, proxy_for
from datastores.storage.blob.signer import Signer
from datastores.storage.contract import Patience
from datastores.value import Value

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from datastores.storage.blob.signer import Proof


class Response(Value):
    """An answer that says yes, read to its end."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class Wire:
    """Authorised requests about one container; each is made once, retrying is for the caller."""

    def __init__(self, place: Place, proof: Callable[[], Proof], patience: Patience) -> None:
        self._place = place
        self._patience = patience
        self._signer = Signer(place, proof)
        proxy = proxy_for(place)
        self._carrier: Carrier = (
            Proxied(place, self._signer, patience, proxy)
            if proxy
            else Direct(place, self._signer, patience)
        )

    @property
    def place(self) -> Place:
        return self._place

    @property
    def patience(self) -> Patience:
        return self._patience

    def ask(
        self,
        method: str,
        key: str | None = None,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Buffer | None = None,
    ) -> Response:
        """The service's answer, read to its end; any but a 2xx raises."""
        answer = self._exchange(method, key, query, headers or {}, body)
        return Response(answer.status, answer.headers, _whole(answer))

    def get(self, key: str, headers: Mapping[str, str]) -> Answer:
        """The answer to a GET of one blob with its body unread; any but a 2xx raises."""
        return self._exchange("GET", key, None, headers, None)

    def signed(self, key: str) -> str:
        """The address of a blob with the SAS of this credential, if it has one."""
        self._signer.prove()
        return self._signer.address(key, None)

    def close(self) -> None:
        """Let go of connections."""
        self._carrier.close()

    def renew(self) -> None:
        """In a forked child."""
        self._signer.renew()
        self._carrier.renew()

    def _exchange(
        self,
        method: str,
        key: str | None,
        query: Mapping[str, str] | None,
        headers: Mapping[str, str],
        body: Buffer | None,
    ) -> Answer:
        self._signer.prove()
        if body is not None:
            headers = {**headers, "Content-Length": str(memoryview(body).nbytes)}
        answer = self._carrier.exchange(method, key, query, headers, body)
        if 200 <= answer.status < 300:
            return answer
        _whole(answer)
        raise refused(self._place, key, _refusal(answer))


def _whole(answer: Answer) -> bytes:
    return b"".join(answer.pieces)


def _refusal(answer: Answer) -> Refusal:
    pause = answer.headers.get("retry-after", "")
    return Refusal(
        answer.status,
        answer.headers.get("x-ms-error-code", ""),
        float(pause) if pause.isdigit() else None,
    )
