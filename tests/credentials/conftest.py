"""Servers for this folder, and an environment in which no identity is found by chance."""

from __future__ import annotations

import os

import pytest

from tests.servers.entra import certificate, entra, token_azurite

__all__ = ["certificate", "entra", "token_azurite"]


@pytest.fixture(autouse=True)
def _no_identity_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("AZURE_", "IDENTITY_", "MSI_")):
            monkeypatch.delenv(name)
