"""What Azure ML's runs can do and these cannot: each says what to do instead."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import NoReturn

from datastores.errors import RunRefused


class Elsewhere(abc.ABC):
    """Azure ML's names for secrets, so that a script hears a sentence of its own."""

    @property
    @abc.abstractmethod
    def id(self) -> str:
        """The run's id."""

    def get_secret(self, name: str) -> NoReturn:
        """Refused: the workspace's vault holds what opens its datastores, and nothing else."""
        raise RunRefused(
            self.id,
            f'cannot read the secret "{name}": the vault here holds only what opens datastores; '
            f"read it from Azure Key Vault with azure-identity, or from a file of the node",
        )

    def get_secrets(self, secrets: Sequence[str]) -> NoReturn:
        """Refused like `get_secret`."""
        self.get_secret(", ".join(secrets))
