"""Signatures made here and by Azure's own client."""

from __future__ import annotations

import base64
import urllib.parse
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.storage.blob import generate_blob_sas, generate_container_sas
from azure.storage.blob._shared.constants import X_MS_VERSION

from datastores.credentials.service_sas import service_sas
from datastores.secret import Secret

KEY = base64.b64encode(bytes(range(64))).decode()
STARTS = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ENDS = STARTS + timedelta(hours=2)
OURS: dict[str, Any] = {
    "permission": "rl",
    "starts": STARTS,
    "ends": ENDS,
    "protocol": "https,http",
    "version": X_MS_VERSION,
}
THEIRS: dict[str, Any] = {
    "account_key": KEY,
    "permission": "rl",
    "start": STARTS,
    "expiry": ENDS,
    "protocol": "https,http",
}


def parsed(token: str) -> dict[str, str]:
    """The fields of a signature, whatever their order."""
    return dict(urllib.parse.parse_qsl(token, strict_parsing=True))


def test_a_container_is_signed_as_by_azure() -> None:
    """Every field and the signature are those of the official client."""
    ours = service_sas("account", "images", Secret(KEY), **OURS).reveal()
    assert parsed(ours) == parsed(generate_container_sas("account", "images", **THEIRS))


@pytest.mark.parametrize("path", ["a.bin", "a/b é", "train/100% + #1.jpg"])
def test_a_blob_is_signed_as_by_azure(path: str) -> None:
    """Names that have to be escaped in addresses are signed as they are."""
    ours = service_sas("account", "images", Secret(KEY), path=path, **OURS).reveal()
    assert parsed(ours) == parsed(generate_blob_sas("account", "images", path, **THEIRS))


def test_a_directory_is_signed_as_by_azure() -> None:
    """The depth of a directory is part of its signature."""
    ours = service_sas("account", "images", Secret(KEY), path="a/b", depth=2, **OURS).reveal()
    theirs = generate_blob_sas("account", "images", "a/b", is_directory=True, sdd=2, **THEIRS)
    assert parsed(ours) == parsed(theirs)


def test_a_key_that_is_no_base64_is_no_key() -> None:
    """The error says nothing of the key."""
    with pytest.raises(ValueError, match=r"base64|padding|character") as caught:
        service_sas("account", "images", Secret("not a key!"), **OURS)
    assert "not a key" not in str(caught.value)
