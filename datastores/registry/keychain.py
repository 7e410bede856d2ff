"""The key rings of a registry's workspaces, remembered while the registry is open."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datastores.errors import VaultLocked
from datastores.registry.keys import Key, KeyRing, KeySource, chosen_source, key_source


class Keychain:
    """Finds keys by fingerprint, and asks a source again when it does not know one."""

    def __init__(self, registry: str, folder: Path | None) -> None:
        self.registry, self.folder = registry, folder
        # By setting. Replaced whole, never changed, so threads and forks need no lock; a ring
        # that has become old lacks a key, and then it is read again.
        self._rings: dict[str, KeyRing] = {}

    def source(self, settings: Mapping[str, Any]) -> KeySource:
        """Where this workspace's keys are kept."""
        return key_source(chosen_source(settings.get("vault_key")), self.registry, self.folder)

    def key(self, settings: Mapping[str, Any], key_id: str) -> Key | None:
        """The key of this fingerprint, if the source has it."""
        known = self._rings.get(chosen_source(settings.get("vault_key")))
        found = known.find(key_id) if known else None
        if found:
            return found
        ring = self.load(settings)
        return ring.find(key_id) if ring else None

    def load(self, settings: Mapping[str, Any]) -> KeyRing | None:
        """The ring as its source has it now."""
        ring = self.source(settings).load()
        if ring:
            self._rings[chosen_source(settings.get("vault_key"))] = ring
        return ring

    def first_key(self, settings: Mapping[str, Any]) -> Key:
        """The key for a workspace without secrets: the current one, made now if there is none."""
        ring = self.load(settings) or self.source(settings).start()
        return ring.current

    def missing(self, settings: Mapping[str, Any], key_id: str) -> VaultLocked:
        """The error for a key that its source does not have."""
        name = self.source(settings).describe()
        return VaultLocked(
            self.registry,
            f'key source "{name}" does not have the key {key_id} that sealed the secrets here; '
            "bring that key back, or remove these datastores and register them again",
        )
