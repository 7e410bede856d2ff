"""A new key for a workspace's secrets, without a moment in which one of them is lost."""

from __future__ import annotations

from sqlalchemy import Connection

from datastores.registry import rows
from datastores.registry.key_file import KeyFile
from datastores.registry.keys import Key, KeyRing, KeySource
from datastores.registry.registry import Registry
from datastores.registry.sealing import open_all
from datastores.registry.vault import seal_secret
from datastores.value import Value


class Rotation(Value):
    """What a rotation did, and what is left for a person to do."""

    workspace: str
    key_id: str
    resealed: int
    advice: str | None


def rotate(registry: Registry, workspace: str) -> Rotation:
    """Seal every secret of a workspace anew; registrations made meanwhile wait their turn.

    It may be cut off anywhere and started again: README.md has the table.
    """
    rotation = registry.database.write(lambda connection: _reseal(registry, connection, workspace))
    # Only once the records are durable under the new key.
    registry.database.write(lambda connection: _drop_unused(registry, connection, workspace))
    return rotation


def _reseal(registry: Registry, connection: Connection, workspace: str) -> Rotation:
    """Under the writer's lock, so no other rotation replaces the key between its two steps."""
    found = registry.find_workspace(connection, workspace)
    source = registry.keychain.source(found.settings)
    ring = registry.keychain.load(found.settings)
    if ring is None:
        used = rows.key_in_use(connection, found)
        if used:
            raise registry.keychain.missing(found.settings, used)
        ring = source.start()
    opened = [
        (owner, open_all(registry.keychain, owner) or {})
        for owner in rows.all_sealed(connection, found)
    ]
    key = Key.generate() if source.saves else ring.current
    if source.saves:
        source.save(ring.led_by(key))
    resealed = 0
    for owner, kept in opened:
        for field, secret in kept.items():
            sealed, belonging = owner.fields[field]
            if sealed.key_id != key.id:
                again = seal_secret(secret, key, belonging)
                rows.replace_sealed(connection, found, owner.owner, field, again)
                resealed += 1
    return Rotation(found.name, key.id, resealed, _advice(registry, source, ring, resealed))


def _drop_unused(registry: Registry, connection: Connection, workspace: str) -> None:
    found = registry.find_workspace(connection, workspace)
    source = registry.keychain.source(found.settings)
    ring = source.load()
    if ring is None or not _is_private(registry, source):
        return
    # Another workspace of this registry may share the source, and still need an old key.
    used = rows.keys_in_use(connection)
    kept = ring.without(key.id for key in ring.keys if key.id not in used)
    if kept != ring:
        source.save(kept)


def _is_private(registry: Registry, source: KeySource) -> bool:
    """Whether nobody but this registry can need the keys: a file beside it."""
    return isinstance(source, KeyFile) and source.path.parent == registry.keychain.folder


def _advice(registry: Registry, source: KeySource, ring: KeyRing, resealed: int) -> str | None:
    name = source.describe()
    if source.saves and _is_private(registry, source):
        return None
    if source.saves:
        return (
            f'older keys stay in "{name}", since other registries may need them; '
            "take them out once all of those have rotated"
        )
    if len(ring.keys) == 1 and not resealed:
        return (
            f'nothing changed: "{name}" holds one key; put a new one (32 random bytes in base64) '
            "and a comma in front of it, everywhere it is set, then rotate again"
        )
    return (
        f'every secret is sealed with the first key of "{name}"; '
        "take the other keys out of it, everywhere it is set"
    )
