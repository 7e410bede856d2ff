"""What went wrong, from what sockets, urllib3 and the service said."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from datetime import UTC, datetime

from datastores.credentials.kinds import AccountKey
from datastores.errors import (
    AlreadyExists,
    Corrupted,
    CredentialExpired,
    CredentialMissing,
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
from datastores.storage.blob.place import Place
from datastores.value import Value


class Refusal(Value):
    """A response that says no: its HTTP status, Azure's word for the reason, and a pause."""

    status: int
    code: str = ""
    retry_after_seconds: float | None = None


class RangeBeyond(Unsupported):
    """The range starts past the end; `read` turns it into a stream without bytes."""


# Azure's words for reasons that its HTTP statuses do not tell apart.
_BY_CODE: Mapping[str, tuple[type[StoreError], str]] = {
    "BlobAlreadyExists": (AlreadyExists, ""),
    "ContainerAlreadyExists": (AlreadyExists, ""),
    "PathAlreadyExists": (AlreadyExists, ""),
    "ResourceAlreadyExists": (AlreadyExists, ""),
    "ContainerBeingDeleted": (Unavailable, "the container is being deleted; wait and try again"),
    "ContainerDisabled": (Unavailable, "the container is disabled; ask its administrator"),
    "BlobArchived": (Unsupported, "it is archived; rehydrate it to a readable tier first"),
    "BlobBeingRehydrated": (Unsupported, "it is being rehydrated; read it when that is done"),
    "BlobImmutableDueToPolicy": (PermissionDenied, "a policy protects it; ask its administrator"),
    "LeaseIdMissing": (Unsupported, "somebody holds a lease on it; wait for them or break it"),
    "PendingCopyOperation": (
        Unavailable,
        "a copy onto it is under way; wait until it is complete and try again",
    ),
    "DirectoryIsNotEmpty": (Unsupported, "the folder is not empty; remove what is in it first"),
    "InvalidBlockList": (
        PreconditionFailed,
        "the service does not have all blocks of this commit; send them again",
    ),
    "InvalidBlobOrBlock": (
        PreconditionFailed,
        "blocks of another writer are staged under this key; commit or wait for them to expire",
    ),
    "Md5Mismatch": (Corrupted, "the service received other bytes than were sent; send it again"),
    "AuthorizationPermissionMismatch": (
        PermissionDenied,
        "the credential lacks this permission; ask for a role or SAS that includes it",
    ),
}
_NOT_ACCEPTED = {
    "AuthenticationFailed",
    "InvalidAuthenticationInfo",
    "KeyBasedAuthenticationNotPermitted",
    "AccountIsDisabled",
}
_NO_PROOF = {"NoAuthenticationInformation", "PublicAccessNotPermitted"}

# Every exception of urllib3 by name; a test walks the module and fails on one that is missing.
PLACED: Mapping[str, type[StoreError]] = {
    "HTTPError": Unavailable,
    "PoolError": Unavailable,
    "RequestError": Unavailable,
    "SSLError": Unavailable,
    "ProxyError": Unavailable,
    "DecodeError": Unavailable,
    "ProtocolError": Unavailable,
    "ConnectionError": Unavailable,
    "MaxRetryError": Unavailable,
    "HostChangedError": Unsupported,
    "TimeoutStateError": Unavailable,
    "TimeoutError": Unavailable,
    "ReadTimeoutError": Unavailable,
    "ConnectTimeoutError": Unavailable,
    "NewConnectionError": Unavailable,
    "NameResolutionError": Unavailable,
    "EmptyPoolError": Unavailable,
    "FullPoolError": Unavailable,
    "ClosedPoolError": Unavailable,
    "LocationValueError": Unsupported,
    "LocationParseError": Unsupported,
    "URLSchemeUnknown": Unsupported,
    "ResponseError": Unavailable,
    "ResponseNotChunked": Unavailable,
    "BodyNotHttplibCompatible": Unavailable,
    "IncompleteRead": Unavailable,
    "InvalidChunkLength": Unavailable,
    "InvalidHeader": Unavailable,
    "ProxySchemeUnknown": Unsupported,
    "ProxySchemeUnsupported": Unsupported,
    "HeaderParsingError": Unavailable,
    "UnrewindableBodyError": Unavailable,
}


def refused(place: Place, key: str | None, answer: Refusal) -> DatastoresError:
    """The error for a response of the service."""
    said = f"{place.host} answered {answer.status} {answer.code}".rstrip()
    if answer.code == "ContainerNotFound":
        return NotFound(
            place.label,
            key,
            f'there is no container "{place.container}" at {place.host}; '
            "check the name or register it with create_if_not_exists=True",
        )
    if answer.code in _BY_CODE:
        kind, advice = _BY_CODE[answer.code]
        return kind(place.label, key, advice)
    if answer.code in _NO_PROOF:
        return CredentialMissing(place.label, f"{said}; register a credential for it")
    if answer.status in (401, 403):
        return _forbidden(place, key, answer, said)
    return _by_status(place, key, answer, said)


def _forbidden(place: Place, key: str | None, answer: Refusal, said: str) -> DatastoresError:
    if place.proof_ends and place.proof_ends <= datetime.now(UTC):
        return CredentialExpired(place.label, place.proof_ends, "create a new SAS and register it")
    # A key may do everything: what it is refused, it is refused as a key, or by the network.
    is_wrong_key = place.proof == AccountKey.kind and answer.code == "AuthorizationFailure"
    if answer.status == 401 or answer.code in _NOT_ACCEPTED or is_wrong_key:
        return CredentialRefused(
            place.label,
            f'{said} to a credential of kind "{place.proof}"; check that it belongs to '
            f'account "{place.account}", is still valid, and is let in from this network',
        )
    return PermissionDenied(
        place.label, key, f"{said}; ask for a role or SAS that includes this, or for network access"
    )


def _by_status(place: Place, key: str | None, answer: Refusal, said: str) -> StoreError:
    status = answer.status
    if status == 404:
        return NotFound(place.label, key)
    if status == 416:
        return RangeBeyond(place.label, key, f"{said}; ask for a range inside the object")
    if status in (304, 412):
        return PreconditionFailed(place.label, key, "read it again and repeat the change")
    if status in (408, 429) or (status >= 500 and status != 501):
        return Unavailable(
            place.label, key, f"{said}; wait and try again", answer.retry_after_seconds
        )
    return Unsupported(place.label, key, f"{said}; check the request and the address")


_CONNECT = "no connection could be made"
_TIMEOUT = "it did not answer in time"
_INTERRUPTED = "the connection broke"


def from_socket(place: Place, key: str | None, error: OSError) -> DatastoresError:
    """The error for what a socket of ours said."""
    if type(error).__name__ == "SSLCertVerificationError":
        return Unsupported(
            place.label,
            key,
            f"{place.host} is not who it says, as far as known here ({_one_line(str(error))}); "
            "name a file with its authority in REQUESTS_CA_BUNDLE if you trust it",
        )
    if isinstance(error, ConnectionRefusedError | socket.gaierror):
        reason = _CONNECT
    elif isinstance(error, TimeoutError | BlockingIOError):
        reason = _TIMEOUT
    elif isinstance(error, ConnectionError):
        reason = _INTERRUPTED
    else:
        reason = _one_line(str(error))
    return _unreachable(place, key, reason)


def no_http(place: Place, key: str | None) -> Unavailable:
    """The error for an answer that is no HTTP."""
    return _unreachable(place, key, "its answer could not be read")


def without_length(place: Place, key: str) -> Unavailable:
    """The error for an object whose end nobody would notice."""
    return Unavailable(
        place.label,
        key,
        f"{place.host} answered without saying how long it is; ask whoever runs the gateway there",
    )


def from_urllib3(place: Place, key: str | None, error: Exception) -> DatastoresError:
    """The error for an exception of urllib3; responses never arrive as one here."""
    names = {kind.__name__ for kind in type(error).__mro__}
    if names & {"NewConnectionError", "ProxyError"}:
        # First: urllib3 counts a refused connection among the time-outs.
        reason = _CONNECT
    elif "TimeoutError" in names:
        reason = _TIMEOUT
    elif names & {"ProtocolError", "IncompleteRead"}:
        reason = _INTERRUPTED
    else:
        reason = _one_line(str(error))
    return _placed(place, key, error, reason)


def cut_short(place: Place, key: str, got: int, want: int) -> Unavailable:
    """The error for a body that ended before its promised length."""
    return Unavailable(
        place.label, key, f"{place.host} sent {got} of {want} bytes and stopped; read it again"
    )


def _placed(place: Place, key: str | None, error: Exception, reason: str) -> DatastoresError:
    kind = next(
        (PLACED[base.__name__] for base in type(error).__mro__ if base.__name__ in PLACED), None
    )
    if kind is None:
        raise error
    if issubclass(kind, Unavailable):
        return _unreachable(place, key, reason)
    return kind(place.label, key, reason)


def _unreachable(place: Place, key: str | None, reason: str) -> Unavailable:
    return Unavailable(
        place.label, key, f"{place.host}: {reason}; check the address and the network"
    )


def _one_line(text: str, longest: int = 240) -> str:
    # Addresses are cut to what stands before their query, which may hold a signature.
    text = re.sub(r"(https?://[^\s?]*)\?\S+", r"\1", redact(text))
    return " ".join(text.split())[:longest]
