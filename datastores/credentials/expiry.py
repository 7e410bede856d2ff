"""When a shared access signature ends."""

from __future__ import annotations

import urllib.parse
from datetime import UTC, datetime

from datastores.secret import Secret

# The forms that Azure documents for `st` and `se`; the date alone means its first moment.
_FORMS = ("%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%MZ", "%Y-%m-%d", "%Y-%m-%dT%H:%M:%S.%fZ")


def sas_expiry(token: Secret) -> datetime | None:
    """The moment a SAS stops working; None when a policy on the service decides (`si`)."""
    # Nothing but `se` is taken out of the token, so that no variable holds its signature.
    ends = dict(urllib.parse.parse_qsl(token.reveal().lstrip("?"))).get("se")
    return _parsed(ends) if ends else None


def _parsed(text: str) -> datetime | None:
    for form in _FORMS:
        try:
            # The format names the zone by its letter.
            return datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
