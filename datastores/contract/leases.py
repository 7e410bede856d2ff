"""A credential on its way to a node: the one place where a job spec may hold a secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from datastores.credentials.kinds import AccountKey, Credential, seal, unseal
from datastores.errors import DefinitionRejected, WireError
from datastores.secret import Secret
from datastores.value import Value


class LeaseSpec(Value):
    """What opens one place for one job; both moments are None where nobody knows an end."""

    credential: Credential
    expires_at: float | None = None
    renew_at: float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.credential, AccountKey):
            raise DefinitionRejected(
                "lease", "an account key opens everything and stays at home; lease a SAS instead"
            )


def lease_to_wire(lease: LeaseSpec) -> dict[str, Any]:
    """The lease with its secrets in clear, for the spec's JSON and for nothing else."""
    shown, kept = seal(lease.credential)
    return {
        "credential": shown,
        "secrets": {name: secret.reveal() for name, secret in kept.items()},
        "expires_at": lease.expires_at,
        "renew_at": lease.renew_at,
    }


def lease_of_wire(
    credential: Mapping[str, Any],
    secrets: Mapping[str, str],
    expires_at: float | None,
    renew_at: float | None,
) -> LeaseSpec:
    """The lease that `lease_to_wire` wrote; no message of its errors repeats a value."""
    try:
        kept = {name: Secret(value) for name, value in secrets.items()}
        return LeaseSpec(unseal(credential, kept), expires_at, renew_at)
    except (TypeError, ValueError):
        # From None: the cause's frames hold the secrets.
        raise WireError("it is no credential that a job may carry") from None
