"""Why there is no token: azure-identity's exceptions in this project's words."""

from __future__ import annotations

import re
from collections.abc import Sequence

from datastores.credentials.identities import Candidate
from datastores.errors import (
    CredentialExpired,
    CredentialMissing,
    CredentialRefused,
    DatastoresError,
    Unavailable,
)
from datastores.secret import redact
from datastores.value import Value

# Entra's numbers for "this was good once": secret, refresh token, sign-in session, assertion.
_EXPIRED = re.compile(r"AADSTS(?:7000222|700082|70043|50173|700024|50089)\b")
# Where MSAL keeps only the text of an answer.
_OUTAGE = re.compile(r"HTTP Error: (?:429|5\d\d)\b|temporarily_unavailable|AADSTS90033\b")
_TRAILER = re.compile(
    r"\s*(?:Trace ID|Correlation ID|Timestamp|To mitigate this issue).*", re.DOTALL
)
_LONGEST_GIST = 240


class Tried(Value):
    """An identity that gave no token, and the reason."""

    candidate: Candidate
    error: Exception


class NoToken(Exception):
    """None of the identities gave a token."""

    def __init__(self, tried: Sequence[Tried]) -> None:
        self.tried = tuple(tried)
        super().__init__("; ".join(f"{one.candidate.name}: {_gist(one.error)}" for one in tried))


def refusal(failure: NoToken, store: str) -> DatastoresError:
    """The error for people: who was tried, what was said, and what to do."""
    from azure.identity import CredentialUnavailableError

    if not failure.tried:
        return CredentialMissing(
            store, "it stands for no identity; register a service principal or an identity"
        )
    # A chain ends at the first identity that exists and is turned away.
    last = failure.tried[-1]
    absent = (CredentialUnavailableError, OSError)
    if _is_outage(last.error):
        return Unavailable(
            store,
            detail=f"no token for {last.candidate.name}: {_gist(last.error)}; "
            "check the network and try again",
        )
    if not isinstance(last.error, absent):
        return _turned_away(last, store)
    tried = ", ".join(f"{one.candidate.name} ({_gist(one.error)})" for one in failure.tried)
    remedies = ", or ".join(dict.fromkeys(one.candidate.remedy for one in failure.tried))
    return CredentialMissing(store, f"no token from {tried}; {remedies}")


def _turned_away(last: Tried, store: str) -> DatastoresError:
    said = _gist(last.error)
    if _EXPIRED.search(str(last.error)):
        return CredentialExpired(
            store, None, f"{last.candidate.name}: {said}; {last.candidate.remedy}"
        )
    return CredentialRefused(
        store, f"{last.candidate.name} was refused: {said}; {last.candidate.remedy}"
    )


def _is_outage(error: BaseException) -> bool:
    from azure.core.exceptions import HttpResponseError, ServiceRequestError, ServiceResponseError

    if _OUTAGE.search(str(error)):
        return True
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ServiceRequestError | ServiceResponseError):
            return True
        if isinstance(cause, HttpResponseError) and cause.status_code in (429, 500, 502, 503, 504):
            return True
        cause = cause.__cause__
    return False


def _gist(error: BaseException) -> str:
    """The first statement of a long message, in one line and without secrets."""
    text = _TRAILER.sub("", str(error)).strip()
    text = " ".join(redact(text).split()).rstrip(".")
    return text if len(text) <= _LONGEST_GIST else text[: _LONGEST_GIST - 3] + "..."
