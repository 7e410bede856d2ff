"""The kinds of credential. Values only; `tokens` and the stores turn them into requests."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from datastores.errors import WireError
from datastores.secret import Secret
from datastores.value import Value

_kinds: dict[str, type[Credential]] = {}


class Credential(Value):
    """A proof of some kind; fields of type `Secret` go to the vault, the others to the record."""

    kind: ClassVar[str]

    def __init_subclass__(cls) -> None:
        _kinds[cls.kind] = cls


class AccountKey(Credential):
    """The key of a storage account: everything is allowed, so it stays at home."""

    kind: ClassVar[str] = "AccountKey"

    key: Secret


class Sas(Credential):
    """A shared access signature, stored without its leading question mark."""

    kind: ClassVar[str] = "Sas"

    token: Secret


class ServicePrincipal(Credential):
    """An application of Microsoft Entra with a secret."""

    kind: ClassVar[str] = "ServicePrincipal"

    tenant_id: str
    client_id: str
    client_secret: Secret
    authority_url: str | None = None
    resource_url: str | None = None


class ManagedIdentity(Credential):
    """The identity Azure gave to the machine; `client_id` picks one of several."""

    kind: ClassVar[str] = "ManagedIdentity"

    client_id: str | None = None


class WorkloadIdentity(Credential):
    """A federated token in a file, as Kubernetes gives it to a pod."""

    kind: ClassVar[str] = "WorkloadIdentity"

    tenant_id: str | None = None
    client_id: str | None = None
    token_file: str | None = None


class DeveloperLogin(Credential):
    """Whoever is logged in on this machine with Azure's tools."""

    kind: ClassVar[str] = "DeveloperLogin"


class Identity(Credential):
    """No credential was registered: workload identity, managed identity or login, as found."""

    kind: ClassVar[str] = "Identity"


class Anonymous(Credential):
    """None: public containers, local folders."""

    kind: ClassVar[str] = "Anonymous"


class Login(Credential):
    """A user and a password of a database."""

    kind: ClassVar[str] = "Login"

    username: str
    password: Secret


class Kerberos(Credential):
    """A keytab (base64) or a password for a Kerberos principal; exactly one."""

    kind: ClassVar[str] = "Kerberos"

    keytab: Secret | None = None
    password: Secret | None = None


class StorageOptions(Credential):
    """Keyword arguments for fsspec as one JSON object; any of them may be a secret."""

    kind: ClassVar[str] = "StorageOptions"

    options: Secret


class Token(Credential):
    """A bearer token that somebody else obtained, good until a known moment.

    `username` is who it logs in, which PostgreSQL and MySQL want to be told.
    """

    kind: ClassVar[str] = "Token"

    token: Secret
    expires_at: float
    username: str | None = None


def seal(credential: Credential) -> tuple[dict[str, Any], dict[str, Secret]]:
    """The credential in two parts: what the record may show, and what the vault must keep."""
    shown: dict[str, Any] = {"kind": credential.kind}
    kept: dict[str, Secret] = {}
    for field in dataclasses.fields(credential):
        value = getattr(credential, field.name)
        if isinstance(value, Secret):
            kept[field.name] = value
        elif value is not None:
            shown[field.name] = value
    return shown, kept


def unseal(shown: Mapping[str, Any], kept: Mapping[str, Secret]) -> Credential:
    """The credential that `seal` took apart."""
    fields = dict(shown)
    kind = fields.pop("kind", None)
    if kind not in _kinds:
        raise WireError(
            f'credential kind "{kind}" is unknown here; a newer version of this package wrote it'
        )
    cls = _kinds[kind]
    known = {field.name for field in dataclasses.fields(cls)}
    unknown = sorted((set(fields) | set(kept)) - known)
    if unknown:
        raise WireError(
            f'credential kind "{kind}" has no field "{unknown[0]}" here; '
            f"a newer version of this package wrote it"
        )
    return cls(**fields, **kept)
