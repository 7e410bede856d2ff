"""What went wrong, from what requests and the server said."""

from __future__ import annotations

import json
from collections.abc import Mapping

from datastores.errors import (
    AlreadyExists,
    CredentialExpired,
    CredentialRefused,
    DatastoresError,
    NotFound,
    PermissionDenied,
    PreconditionFailed,
    StoreError,
    Unavailable,
    Unsupported,
)
from datastores.secret import redact
from datastores.value import Value

# The server's names for reasons; anything else is judged by its HTTP status.
_BY_EXCEPTION: Mapping[str, tuple[type[StoreError], str]] = {
    "FileNotFoundException": (NotFound, ""),
    "FileAlreadyExistsException": (AlreadyExists, "choose another name or overwrite it"),
    "ParentNotDirectoryException": (
        Unsupported,
        "a name above it is a file; choose another name",
    ),
    "PathIsNotEmptyDirectoryException": (
        Unsupported,
        "the folder is not empty; remove what is in it first",
    ),
    "AccessControlException": (
        PermissionDenied,
        "the identity has no access here; ask for an access control entry",
    ),
    "BadOffsetException": (PreconditionFailed, "somebody else writes the same file; start again"),
}

# Every exception of requests that is a failure of the way and not of the request.
# A test walks the module and fails on a class that is in neither set.
OUTAGES = frozenset(
    {
        "RequestException",
        "HTTPError",
        "ConnectionError",
        "ProxyError",
        "SSLError",
        "Timeout",
        "ConnectTimeout",
        "ReadTimeout",
        "ChunkedEncodingError",
        "ContentDecodingError",
        "StreamConsumedError",
        "RetryError",
        "JSONDecodeError",
        "InvalidJSONError",
    }
)
WRONG_REQUESTS = frozenset(
    {
        "TooManyRedirects",
        "URLRequired",
        "MissingSchema",
        "InvalidSchema",
        "InvalidURL",
        "InvalidHeader",
        "InvalidProxyURL",
        "UnrewindableBodyError",
    }
)


class Answer(Value):
    """A response that says no."""

    status: int
    exception: str = ""
    retry_after_seconds: float | None = None


def answer_from(status: int, headers: Mapping[str, str], body: bytes) -> Answer:
    """The facts of a response; bodies that are no JSON tell nothing."""
    try:
        told = json.loads(body)
    except ValueError:
        told = {}
    remote = told.get("RemoteException", {}) if isinstance(told, dict) else {}
    pause = headers.get("Retry-After", "").strip()
    return Answer(
        status, str(remote.get("exception", "")), float(pause) if pause.isdigit() else None
    )


def refused(label: str, host: str, key: str | None, answer: Answer) -> DatastoresError:
    """The error for a response of the server."""
    said = f"{host} answered {answer.status} {answer.exception}".rstrip()
    if answer.exception in _BY_EXCEPTION:
        kind, advice = _BY_EXCEPTION[answer.exception]
        return kind(label, key, advice)
    if "Expired" in answer.exception:
        return CredentialExpired(label, None, "get a new token and register it")
    if answer.status == 401:
        return CredentialRefused(
            label, f"{said}; check that the token is for https://datalake.azure.net/"
        )
    return _by_status(label, key, answer, said)


def _by_status(label: str, key: str | None, answer: Answer, said: str) -> StoreError:
    if answer.status == 403:
        return PermissionDenied(label, key, f"{said}; ask for an access control entry")
    if answer.status == 404:
        return NotFound(label, key)
    if answer.status in (408, 429) or (answer.status >= 500 and answer.status != 501):
        return Unavailable(label, key, f"{said}; wait and try again", answer.retry_after_seconds)
    return Unsupported(label, key, f"{said}; check the request and the address")


def failed(label: str, host: str, key: str | None, error: Exception) -> StoreError:
    """The error for an exception of requests."""
    names = [base.__name__ for base in type(error).__mro__]
    if any(name in WRONG_REQUESTS for name in names):
        return Unsupported(label, key, f"{host}: {_one_line(error)}; check the address")
    if "Timeout" in names or "timed out" in str(error):
        reason = "it did not answer in time"
    elif "ConnectionError" in names:
        reason = "no connection could be made, or it broke"
    else:
        reason = _one_line(error)
    return Unavailable(label, key, f"{host}: {reason}; check the address and the network")


def _one_line(error: Exception) -> str:
    return " ".join(redact(str(error)).split())[:240]
