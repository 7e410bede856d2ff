"""The manifest of what was written through a mount."""

from __future__ import annotations

from datastores import keys
from datastores.contract import JobSpec, OutputSpec
from datastores.errors import DatastoresError
from datastores.storage.contract import Patience
from datastores.storage.verbs import objects_below
from mount.agent.leash import Abandoned, Leash
from mount.agent.manifest import Sent, manifest_key, manifest_text, unsealed
from mount.agent.opening import opened, reason_of
from mount.leases import RenewableLease
from mount.lifecycle import events as on


def seal_mounted(
    job: JobSpec, spec: OutputSpec, lease: RenewableLease, leash: Leash, patience: Patience
) -> on.Event:
    """Names and sizes as the store lists them; checksums where the store knows them."""
    place = keys.parse_place(spec.place)
    key = manifest_key(spec, None)
    try:
        with opened(spec.definition, lease, leash, patience) as store:
            files = [
                Sent(
                    keys.relative(info.key, place),
                    info.size,
                    0,
                    0,
                    info.md5.hex() if info.md5 else None,
                    info.version,
                )
                for info in objects_below(store, place)
                if info.key != key
            ]
            store.write(key, manifest_text(job.run_id, job.experiment, spec.name, files))
    except (DatastoresError, Abandoned) as error:
        reason = reason_of(error) or "time ran out"
        return on.ManifestNotWritten(spec.name, unsealed(spec.name, reason))
    return on.ManifestWritten(spec.name)
