"""Where an Azure account answers: from an account name and what a person wrote as endpoint."""

from __future__ import annotations

import urllib.parse

from datastores.errors import DefinitionRejected
from datastores.value import Value

PUBLIC_SUFFIX = "core.windows.net"
PUBLIC_AUTHORITY = "https://login.microsoftonline.com"


class AccountUrl(Value):
    """The address of one service of one account."""

    url: str

    @property
    def host(self) -> str:
        """Host and port, for messages."""
        return urllib.parse.urlsplit(self.url).netloc

    @property
    def is_plain_http(self) -> bool:
        return self.url.startswith("http://")


def account_url(
    name: str, account: str, service: str, endpoint: str | None, protocol: str | None
) -> AccountUrl:
    """`endpoint` is a suffix (`core.windows.net`) or the whole address of the account.

    A whole address serves Azurite, private endpoints and test servers, on any port; it is used
    for every service as it stands.
    """
    if protocol not in (None, "http", "https"):
        raise DefinitionRejected(name, f'protocol "{protocol}" is unknown; use "https" or "http"')
    endpoint = (endpoint or PUBLIC_SUFFIX).rstrip("/")
    if "://" in endpoint:
        parts = urllib.parse.urlsplit(endpoint)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise DefinitionRejected(name, f'endpoint "{endpoint}" is not an http address')
        if parts.username or parts.password or parts.query:
            raise DefinitionRejected(name, "an endpoint cannot carry a credential; give it apart")
        return AccountUrl(endpoint)
    if not endpoint.replace(".", "").replace("-", "").isalnum():
        raise DefinitionRejected(name, f'endpoint "{endpoint}" is neither a suffix nor an address')
    return AccountUrl(f"{protocol or 'https'}://{account}.{service}.{endpoint}")


def without_password(url: str) -> str:
    """An address as it may be shown and written down."""
    parts = urllib.parse.urlsplit(url)
    if parts.password is None:
        return url
    user, _, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user.partition(':')[0]}@{host}").geturl()
