"""Whether what answers at an address is Azure storage, asked without any credential."""

from __future__ import annotations

from typing import TYPE_CHECKING

from datastores.definitions import BlobContainer, DataLakeGen2, FileShare
from datastores.errors import NotFound
from datastores.value import Value

if TYPE_CHECKING:
    from datastores.definitions import Definition

# Azure, its emulators and its gateways put at least one such header on every answer.
_MARK = "x-ms-"
_SECONDS = 5.0


# A gate in front of storage may say this, unmarked, to whoever brings no credential.
_GATE = {401, 403, 407}


class Stranger(Value):
    """A host that did not answer as Azure storage does; `is_certain` unless it may be a gate."""

    error: NotFound
    is_certain: bool


def find_stranger(definition: Definition) -> Stranger | None:
    """The web server that answers at a given endpoint, if it does not look like Azure storage.

    Only addresses are asked: a suffix leads to Azure by its name. A host that does not answer is
    left to the store, which knows more to say.
    """
    if not isinstance(definition, BlobContainer | FileShare | DataLakeGen2):
        return None
    if "://" not in (definition.endpoint or ""):
        return None
    answer = _answer(f"{definition.account_url.url}/{definition.container}?restype=container")
    if answer is None:
        return None
    code, headers = answer
    if any(name.lower().startswith(_MARK) for name in headers):
        return None
    error = NotFound(
        definition.name,
        definition.container,
        f"{definition.account_url.host} answered {code} and does not look like Azure storage; "
        "check the endpoint",
    )
    return Stranger(error, code not in _GATE)


def _answer(url: str) -> tuple[int, list[str]] | None:
    """Code and names of headers; None if there is no answer."""
    import urllib.error
    import urllib.request
    from http.client import HTTPException

    try:
        with urllib.request.urlopen(url, timeout=_SECONDS) as response:  # noqa: S310  # definitions accept http and https only
            return response.status, list(response.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, list(error.headers)
    except (OSError, HTTPException, ValueError):
        return None
