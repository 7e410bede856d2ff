"""What went wrong, from what azure-core and the file service said."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from datastores.errors import (
    AlreadyExists,
    Corrupted,
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
from datastores.secret import masked, redact
from datastores.storage.file_share.place import Place
from datastores.value import Value

if TYPE_CHECKING:
    from azure.core.exceptions import AzureError

_IN_USE = "an SMB client has it open; wait until it is closed"
_LEASED = "somebody holds a lease on it; wait for them or break the lease"

# The service's words for reasons that its HTTP statuses do not tell apart.
_BY_CODE: Mapping[str, tuple[type[StoreError], str]] = {
    "ResourceAlreadyExists": (AlreadyExists, "choose another name or overwrite it"),
    "ShareAlreadyExists": (AlreadyExists, "use the share that is there"),
    "ResourceTypeMismatch": (
        Unsupported,
        "a folder has the name of a file here, or a file that of a folder; choose another name",
    ),
    "DirectoryNotEmpty": (Unsupported, "the folder is not empty; remove what is in it first"),
    "CannotVerifyCopySource": (
        Unsupported,
        "the service cannot read the source; copy through here",
    ),
    "CannotDeleteFileOrDirectory": (Unavailable, _IN_USE),
    "DeletePending": (Unavailable, "it is being deleted; wait and try again"),
    "ShareBeingDeleted": (Unavailable, "the share is being deleted; wait and try again"),
    "SharingViolation": (Unavailable, _IN_USE),
    "FileLockConflict": (Unavailable, _IN_USE),
    "ClientCacheFlushDelay": (Unavailable, _IN_USE),
    "LeaseIdMissing": (PermissionDenied, _LEASED),
    "LeaseIdMismatchWithFileOperation": (PermissionDenied, _LEASED),
    "ReadOnlyAttribute": (PermissionDenied, "it is read-only; clear that attribute first"),
    "Md5Mismatch": (Corrupted, "the service received other bytes than were sent; send it again"),
    "ShareSizeLimitReached": (Unsupported, "the share is full; raise its quota or remove files"),
    "AuthorizationPermissionMismatch": (
        PermissionDenied,
        "the credential lacks this permission; ask for a role or SAS that includes it",
    ),
}
_NOT_ACCEPTED = {
    "AuthenticationFailed",
    "InvalidAuthenticationInfo",
    "NoAuthenticationInformation",
    "KeyBasedAuthenticationNotPermitted",
    "AccountIsDisabled",
}

# Every exception of azure-core, for answers that carry no HTTP status.
# A test walks the module and fails on a class that is missing here.
PLACED: Mapping[str, type[StoreError | CredentialRefused]] = {
    "AzureError": Unavailable,
    "ServiceRequestError": Unavailable,
    "ServiceRequestTimeoutError": Unavailable,
    "ServiceResponseError": Unavailable,
    "ServiceResponseTimeoutError": Unavailable,
    "HttpResponseError": Unavailable,
    "ODataV4Error": Unavailable,
    "DecodeError": Unavailable,
    "DeserializationError": Unavailable,
    "IncompleteReadError": Unavailable,
    "StreamConsumedError": Unavailable,
    "StreamClosedError": Unavailable,
    "ResponseNotReadError": Unavailable,
    "TooManyRedirectsError": Unsupported,
    "SerializationError": Unsupported,
    "ResourceExistsError": AlreadyExists,
    "ResourceNotFoundError": NotFound,
    "ResourceModifiedError": PreconditionFailed,
    "ResourceNotModifiedError": PreconditionFailed,
    "ClientAuthenticationError": CredentialRefused,
}


class Answer(Value):
    """A response that says no: its HTTP status, the service's word for it, and a pause."""

    status: int
    code: str = ""
    retry_after_seconds: float | None = None


@contextlib.contextmanager
def translated(place: Place, key: str | None, *, looking: bool = False) -> Iterator[None]:
    """Errors of the client library as ours.

    With `looking`, a folder where a file was looked for (or the other way) is `NotFound`.
    """
    from azure.core.exceptions import AzureError

    try:
        yield
    except AzureError as error:
        answer = answer_in(error)
        if answer is None:
            raise _placed(place, key, error) from masked(error)
        if looking and answer.code == "ResourceTypeMismatch":
            raise NotFound(place.label, key) from masked(error)
        raise refused(place, key, answer) from masked(error)


def answer_in(error: AzureError) -> Answer | None:
    """The service's answer inside an exception; None when there was none."""
    response: Any = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    # A good status in an error means that the body broke off.
    if status is None or status < 300:
        return None
    headers = response.headers
    code = headers.get("x-ms-error-code") or str(getattr(error, "error_code", "") or "")
    return Answer(status, code, _pause(headers.get("Retry-After")))


def refused(place: Place, key: str | None, answer: Answer) -> DatastoresError:
    """The error for a response of the service."""
    said = f"{place.host} answered {answer.status} {answer.code}".rstrip()
    if answer.code == "ShareNotFound":
        return NotFound(
            place.label,
            None,
            f'there is no file share "{place.share}" at {place.host}; '
            "check the name or register it with create_if_not_exists=True",
        )
    if answer.code in _BY_CODE:
        kind, advice = _BY_CODE[answer.code]
        return kind(place.label, key, advice)
    if answer.status in (401, 403):
        return _forbidden(place, key, answer, said)
    return _by_status(place, key, answer, said)


def _forbidden(place: Place, key: str | None, answer: Answer, said: str) -> DatastoresError:
    # The answer to a HEAD request has no body that would tell an expired SAS from a wrong one.
    if place.proof_ends and place.proof_ends <= datetime.now(UTC):
        return CredentialExpired(place.label, place.proof_ends, "create a new SAS and register it")
    if answer.status == 401 or answer.code in _NOT_ACCEPTED:
        return CredentialRefused(
            place.label,
            f'{said} to a credential of kind "{place.proof}"; check that it belongs to '
            f'account "{place.account}" and is still valid',
        )
    return PermissionDenied(
        place.label, key, f"{said}; ask for a role or SAS that includes this, or for network access"
    )


def _by_status(place: Place, key: str | None, answer: Answer, said: str) -> StoreError:
    status = answer.status
    if status == 404:
        return NotFound(place.label, key)
    if status in (304, 412):
        return PreconditionFailed(place.label, key, "read it again and repeat the change")
    if status in (408, 429) or (status >= 500 and status != 501):
        return Unavailable(
            place.label, key, f"{said}; wait and try again", answer.retry_after_seconds
        )
    return Unsupported(place.label, key, f"{said}; check the request and the address")


def _placed(place: Place, key: str | None, error: AzureError) -> DatastoresError:
    names = [base.__name__ for base in type(error).__mro__]
    kind = next(PLACED[name] for name in names if name in PLACED)
    reason = _reason(error, names)
    if issubclass(kind, CredentialRefused):
        return kind(place.label, f"{reason}; check the credential")
    if issubclass(kind, Unavailable):
        return kind(place.label, key, f"{place.host}: {reason}; check the address and the network")
    return kind(place.label, key, reason)


def _reason(error: AzureError, names: list[str]) -> str:
    said = str(error)
    if any("Timeout" in name for name in names) or "timed out" in said.lower():
        return "it did not answer in time"
    if re.search(r"getaddrinfo|name resolution|resolve|Name or service not known", said):
        return "there is no such host"
    if "ServiceRequestError" in names:
        return "no connection could be made"
    if "ServiceResponseError" in names or "IncompleteReadError" in names:
        return "the connection broke"
    # Addresses are cut to what stands before their query, which may hold a signature.
    bare = re.sub(r"(https?://[^\s?]*)\?\S+", r"\1", redact(said))
    return " ".join(bare.split())[:240]


def _pause(header: str | None) -> float | None:
    """Seconds to wait from a Retry-After header, which holds seconds or a date."""
    if not header:
        return None
    if header.strip().isdigit():
        return float(header)
    try:
        until = parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, (until - datetime.now(UTC)).total_seconds())
