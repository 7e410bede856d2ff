"""What proves who we are, as requests carry it: addresses and headers."""

from __future__ import annotations

import base64
import binascii
import contextlib
import email.utils
import hashlib
import hmac
import threading
import time
import urllib.parse
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

from datastores.credentials.forms import STORAGE_SCOPE
from datastores.credentials.kinds import AccountKey, Sas
from datastores.errors import CredentialRefused
from datastores.secret import Secret
from datastores.storage.blob.place import Place

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken, TokenCredential

    Proof: TypeAlias = AccountKey | Sas | TokenCredential | None

# The first version whose listings can carry every name that XML can, and no newer than needed:
# emulators and Azure Stack lag behind.
API_VERSION = "2021-12-02"

# An account key signs a SAS for our own requests, so that one way of authorising serves every
# credential. Short, since accounts may forbid long ones.
_SAS_LIFETIME = timedelta(hours=1)
# Azure's clients ask for the next token this long before the present one ends.
_TOKEN_MARGIN_SECONDS = 300.0


class Signer:
    """Addresses and headers of requests about one container.

    No variable of a caller may hold what `address` and `headers` give: it proves who we are, and
    crash reports print variables.
    """

    def __init__(self, place: Place, proof: Callable[[], Proof]) -> None:
        self._place = place
        self._make_proof = proof
        self._lock = threading.Lock()
        # Made at the first request, since that reads the credential; under the lock.
        self._is_ready = False
        self._proof: Proof = None
        self._sas: Secret | None = None
        self._sas_renewal = 0.0
        self._token: AccessToken | None = None

    def prove(self) -> None:
        """Have at hand what proves who we are; raises where there is nothing to prove it with."""
        with self._lock:
            if not self._is_ready:
                self._proof = self._make_proof()
                self._is_ready = True
            if isinstance(self._proof, AccountKey):
                if time.time() >= self._sas_renewal:
                    now = datetime.now(UTC)
                    self._sas = _account_sas(self._place, self._proof.key, now + _SAS_LIFETIME)
                    self._sas_renewal = (now + _SAS_LIFETIME / 2).timestamp()
                return
        if self._proof is not None and not isinstance(self._proof, Sas):
            self._renew_token(self._proof)

    def address(self, key: str | None, query: Mapping[str, str] | None) -> str:
        """The address of the container or of one blob, signed where the credential signs."""
        url = self._place.url(key, query)
        sas = self._proof.token if isinstance(self._proof, Sas) else self._sas
        if sas is None:
            return url
        return f"{url}{'&' if query else '?'}{sas.reveal().lstrip('?')}"

    def headers(self, special: Mapping[str, str]) -> dict[str, str]:
        """Those of every request, and the special ones."""
        token = self._token
        bearer = {} if token is None else {"Authorization": f"Bearer {token.token}"}
        return {
            "x-ms-version": API_VERSION,
            "x-ms-date": _date(int(time.time())),
            "Content-Type": "application/octet-stream",
            **bearer,
            **special,
        }

    def renew(self) -> None:
        """In a forked child: the lock may be held by a thread of the parent."""
        self._lock = threading.Lock()

    def _renew_token(self, proof: TokenCredential) -> None:
        token = self._token
        if token is None or token.expires_on - time.time() < _TOKEN_MARGIN_SECONDS:
            # Without the lock: this may take a request. Two threads may ask; whoever gives tokens
            # makes one request of it.
            self._token = proof.get_token(STORAGE_SCOPE)


# Writing a date costs as much as sending a request.
@lru_cache(maxsize=1)
def _date(moment: int) -> str:
    return email.utils.formatdate(moment, usegmt=True)


def _account_sas(place: Place, key: Secret, ends: datetime) -> Secret:
    terms = {
        "sv": API_VERSION,
        "ss": "b",
        "srt": "co",
        "sp": "rwdlac",
        "se": ends.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    # The fields in the order the service wants them; those left empty are start, addresses,
    # protocol and encryption scope.
    fields = (terms["sp"], terms["ss"], terms["srt"], "", terms["se"], "", "", terms["sv"], "")
    text = "".join(f"{field}\n" for field in (place.account, *fields))
    signature = b""
    with contextlib.suppress(binascii.Error, ValueError):
        signature = _signature(key, text)
    if not signature:
        # Without the cause: its frames hold the key in their variables.
        raise CredentialRefused(
            place.label, "the account key is not base64; register the right one"
        )
    signed = {**terms, "sig": base64.b64encode(signature).decode()}
    return Secret(urllib.parse.urlencode(signed))


def _signature(key: Secret, text: str) -> bytes:
    return hmac.digest(base64.b64decode(key.reveal(), validate=True), text.encode(), hashlib.sha256)
