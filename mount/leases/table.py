"""All leases of one run, by the name of their reference."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from datastores.contract import InputSpec, JobSpec, OutputSpec, RowsSpec, SnapshotSource
from datastores.errors import WireError
from mount.leases.lease import LATE_SECONDS, RenewableLease

if TYPE_CHECKING:
    from datastores.contract.control_messages import NewLeases

R = TypeVar("R", InputSpec, RowsSpec, OutputSpec)


class LeaseTable:
    """What opens each place of a job spec now."""

    def __init__(self, spec: JobSpec, *, late_seconds: float = LATE_SECONDS) -> None:
        self._spec = spec
        self._leases = {
            one.name: RenewableLease(one.definition.name, one.lease, late_seconds=late_seconds)
            for one in spec.references
        }
        source = spec.source if isinstance(spec.source, SnapshotSource) else None
        label = source.definition.name if source else "source"
        self._source = RenewableLease(
            label, source.lease if source else None, late_seconds=late_seconds
        )
        # One renewal at a time, so that what is kept for a restart is the newest.
        self._renewing = threading.Lock()

    @property
    def source(self) -> RenewableLease:
        return self._source

    def __getitem__(self, name: str) -> RenewableLease:
        return self._leases[name]

    def renew(self, fresh: NewLeases, keep: Callable[[JobSpec], None]) -> None:
        """Take all of them, or none: `WireError` when the run has no reference of such a name.

        `keep` is given the spec with the leases that count now.
        """
        unknown = sorted(set(fresh.leases) - set(self._leases))
        if unknown:
            raise WireError(
                f'the run has no reference "{unknown[0]}"; send leases by the names of its spec'
            )
        if fresh.source is not None and not isinstance(self._spec.source, SnapshotSource):
            raise WireError("the run has no snapshot as its source; send no lease for one")
        with self._renewing:
            for name, lease in fresh.leases.items():
                self._leases[name].renew(lease)
            if fresh.source is not None:
                self._source.renew(fresh.source)
            keep(self._renewed())

    def _renewed(self) -> JobSpec:
        source = self._spec.source
        if isinstance(source, SnapshotSource):
            source = replace(source, lease=self._source.spec)
        return replace(
            self._spec,
            source=source,
            inputs=self._each(self._spec.inputs),
            rows=self._each(self._spec.rows),
            outputs=self._each(self._spec.outputs),
        )

    def _each(self, references: tuple[R, ...]) -> tuple[R, ...]:
        return tuple(replace(one, lease=self._leases[one.name].spec) for one in references)
