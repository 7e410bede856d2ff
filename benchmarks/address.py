"""Where the endpoint answers, in every form that a peer asks for."""

from __future__ import annotations

import base64
import hashlib
import hmac
import urllib.parse
from dataclasses import dataclass

# The account that every emulator of the service ships with; there is nothing secret about it.
EMULATOR_ACCOUNT = "devstoreaccount1"
EMULATOR_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)


@dataclass(frozen=True, slots=True)
class Address:
    """One container of the emulator's account on one port of this machine."""

    port: int
    container: str = "data"

    @property
    def account_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/{EMULATOR_ACCOUNT}"

    @property
    def container_url(self) -> str:
        return f"{self.account_url}/{self.container}"

    @property
    def connection_string(self) -> str:
        return (
            f"DefaultEndpointsProtocol=http;AccountName={EMULATOR_ACCOUNT};"
            f"AccountKey={EMULATOR_KEY};BlobEndpoint={self.account_url};"
        )

    @property
    def sas(self) -> str:
        """A query that may do everything; really signed, since Azurite looks at it."""
        fields = {
            "sv": "2020-10-02",
            "ss": "b",
            "srt": "sco",
            "sp": "rwdlac",
            "st": "2020-01-01T00:00:00Z",
            "se": "2099-01-01T00:00:00Z",
        }
        order = ("sp", "ss", "srt", "st", "se", "sip", "spr", "sv")
        signed = "\n".join([EMULATOR_ACCOUNT, *(fields.get(name, "") for name in order), ""])
        key = base64.b64decode(EMULATOR_KEY)
        digest = hmac.new(key, signed.encode(), hashlib.sha256).digest()
        return urllib.parse.urlencode({**fields, "sig": base64.b64encode(digest).decode()})
