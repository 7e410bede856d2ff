"""Who may do what on the file share server: SharedKey and shared access signatures, verified.

The strings to sign follow Azure's documentation of the File service, path-style addresses
included: there the account is in the path and so appears twice in the canonicalised resource.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from tests.servers.files_tree import Refused

SIGNED_HEADERS = (
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
)


@dataclass(frozen=True)
class Call:
    """The facts of one request that decide whether it is granted.

    `path` is the raw path of the address; `place` is the share and the names below it.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    place: Sequence[str]


@dataclass(frozen=True)
class Need:
    """What an operation asks of a signature.

    Any one of the letters `permissions`; `scope` is the resource type of account signatures,
    "s", "c" (shares and listings) or "o" (folders and files).
    """

    permissions: str
    scope: str
    by_service_sas: bool = True


class Guard:
    """The account's key, and the judgement of what it signed."""

    def __init__(self, account: str, key: str, now: Callable[[], datetime] | None = None) -> None:
        self.account = account
        self._key = base64.b64decode(key)
        self._now = now or (lambda: datetime.now(UTC))

    def admit(self, call: Call, need: Need) -> None:
        """Return when the request is allowed, raise what the service answers otherwise."""
        authorization = call.headers.get("authorization", "")
        if authorization.startswith("SharedKey "):
            self._judge_shared_key(call, authorization)
        elif "sig" in call.query:
            self.judge_sas(call.query, call.place, need)
        else:
            raise Refused(401, "NoAuthenticationInformation")

    def judge_sas(self, sas: Mapping[str, str], place: Sequence[str], need: Need) -> None:
        """Check a signature for one place: its MAC, its time, its reach, its permissions."""
        is_account = "ss" in sas
        to_sign = self._account_text(sas) if is_account else self._service_text(sas, place)
        if not hmac.compare_digest(self._sign(to_sign), sas["sig"]):
            raise denied(f"Signature did not match. String to sign used was {to_sign}")
        self._judge_time(sas)
        if sas.get("spr") == "https":
            raise Refused(403, "AuthorizationProtocolMismatch")
        if is_account:
            if "f" not in sas["ss"]:
                raise Refused(403, "AuthorizationServiceMismatch")
            if need.scope not in sas.get("srt", ""):
                raise Refused(403, "AuthorizationResourceTypeMismatch")
        elif not need.by_service_sas:
            raise Refused(403, "AuthorizationFailure")
        if not set(need.permissions) & set(sas.get("sp", "")):
            raise Refused(403, "AuthorizationPermissionMismatch")

    def _judge_shared_key(self, call: Call, authorization: str) -> None:
        account, _, signature = authorization.removeprefix("SharedKey ").partition(":")
        to_sign = self._shared_key_text(call)
        if account != self.account or not hmac.compare_digest(self._sign(to_sign), signature):
            raise denied(
                f"The MAC signature found in the HTTP request '{signature}' is not the same as any "
                f"computed signature. Server used following string to sign: '{to_sign}'."
            )
        stamp = call.headers.get("x-ms-date") or call.headers.get("date", "")
        if abs(self._now() - parsedate_to_datetime(stamp)) > timedelta(minutes=15):
            raise denied(f"Request date header too old: '{stamp}'")

    def _judge_time(self, sas: Mapping[str, str]) -> None:
        now = self._now()
        start, end = sas.get("st"), sas.get("se", "")
        if (start and now < moment(start)) or not end or now >= moment(end):
            raise denied(
                f"Signature not valid in the specified time frame: Start [{start or ''}] - "
                f"Expiry [{end}] - Current [{now:%a, %d %b %Y %H:%M:%S GMT}]"
            )

    def _shared_key_text(self, call: Call) -> str:
        standard = {name: call.headers.get(name, "") for name in SIGNED_HEADERS}
        if standard["content-length"] == "0":
            standard["content-length"] = ""
        if "x-ms-date" in call.headers:
            standard["date"] = ""
        own = sorted((n for n in call.headers if n.startswith("x-ms-")), key=header_order)
        lines = [call.method, *standard.values()]
        lines += [f"{name}:{' '.join(call.headers[name].split())}" for name in own]
        lines += [f"/{self.account}{call.path}"]
        lines += [f"{name.lower()}:{call.query[name]}" for name in sorted(call.query)]
        return "\n".join(lines)

    def _account_text(self, sas: Mapping[str, str]) -> str:
        fields = ("sp", "ss", "srt", "st", "se", "sip", "spr", "sv", "ses")
        return "\n".join([self.account, *(sas.get(name, "") for name in fields), ""])

    def _service_text(self, sas: Mapping[str, str], place: Sequence[str]) -> str:
        reach = place if sas.get("sr") == "f" else place[:1]
        resource = "/".join(["", "file", self.account, *reach])
        before = [sas.get(name, "") for name in ("sp", "st", "se")]
        names = ("si", "sip", "spr", "sv", "rscc", "rscd", "rsce", "rscl", "rsct")
        return "\n".join([*before, resource, *(sas.get(name, "") for name in names)])

    def _sign(self, text: str) -> str:
        return base64.b64encode(
            hmac.new(self._key, text.encode(), hashlib.sha256).digest()
        ).decode()


def header_order(name: str) -> tuple[str, str]:
    # The service compares as Windows does: hyphens count only between equal names, and an
    # underscore comes before digits and letters.
    return name.replace("-", "").replace("_", "!"), name


def moment(text: str) -> datetime:
    """A time of a signature, which may be a bare date."""
    parsed = datetime.fromisoformat(text)
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def denied(detail: str) -> Refused:
    return Refused(
        403,
        "AuthenticationFailed",
        "Server failed to authenticate the request. Make sure the value of Authorization header "
        "is formed correctly including the signature.",
        detail,
    )


def parse_query(text: str) -> dict[str, str]:
    """The parts of a query by name; a plus sign is a plus sign, as the service has it."""
    pairs = (part.partition("=") for part in text.split("&") if part)
    return {urllib.parse.unquote(a): urllib.parse.unquote(b) for a, _, b in pairs}
