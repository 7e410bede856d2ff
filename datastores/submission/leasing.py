"""Leases for a job: what the workspace's credentials can give away, for a while."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from datastores.catalog.workspace import Workspace
from datastores.contract import InputSpec, JobSpec, LeaseSpec, OutputSpec, RowsSpec, SnapshotSource
from datastores.credentials.leases import Access, lease
from datastores.definitions import Definition
from datastores.errors import DefinitionRejected
from datastores.value import Value

Leasable = TypeVar("Leasable", InputSpec, RowsSpec, OutputSpec)

# A run whose runner is gone can still end what it began; renewals come after two thirds.
LIFETIME_SECONDS = 2 * 3600.0
# A credential at its very end must not be asked for in a circle.
_LEAST_PAUSE_SECONDS = 1.0


class Lessor(Value):
    """Gives leases in the name of a workspace; the credentials themselves stay here."""

    workspace: Workspace
    lifetime_seconds: float = LIFETIME_SECONDS

    def lease_for(self, definition: Definition, place: str, access: Access) -> LeaseSpec:
        """The least that opens this place; a datastore that was moved meanwhile is refused."""
        record, credential = self.workspace.registry.unlock(self.workspace.name, definition.name)
        if record.definition != definition:
            raise DefinitionRejected(
                definition.name,
                f"it was registered anew since the run was submitted, as "
                f"{record.definition.display}; submit the run again",
            )
        given = lease(
            definition,
            credential,
            prefix=place,
            access=access,
            lifetime_seconds=self.lifetime_seconds,
        )
        return LeaseSpec(given.credential, given.expires_at, given.renew_at)

    def with_leases(self, spec: JobSpec) -> JobSpec:
        """The spec as an agent needs it."""
        source = spec.source
        if isinstance(source, SnapshotSource):
            source = replace(
                source, lease=self.lease_for(source.definition, source.place, Access.READ)
            )
        return replace(
            spec,
            source=source,
            inputs=self._leased(spec.inputs, Access.READ),
            rows=self._leased(spec.rows, Access.READ),
            outputs=self._leased(spec.outputs, Access.READ_WRITE),
        )

    def _leased(self, specs: tuple[Leasable, ...], access: Access) -> tuple[Leasable, ...]:
        return tuple(
            replace(
                one,
                lease=self.lease_for(one.definition, _place(one), access),
            )
            for one in specs
        )


def _place(one: InputSpec | RowsSpec | OutputSpec) -> str:
    match one:
        case RowsSpec():
            return ""
        case OutputSpec():
            return one.reach
        case InputSpec():
            return one.place


def leases_of(spec: JobSpec) -> dict[str, LeaseSpec]:
    """The leases of a spec by the name of their reference."""
    return {one.name: one.lease for one in spec.references if one.lease is not None}


def renewal_moment(leases: Mapping[str, LeaseSpec], now: float | None = None) -> float | None:
    """When the first of them wants to be renewed, a moment from now at the earliest; None for never."""
    moments = [one.renew_at for one in leases.values() if one.renew_at is not None]
    if not moments:
        return None
    soonest = (time.time() if now is None else now) + _LEAST_PAUSE_SECONDS
    return max(min(moments), soonest)
