"""A credential that is slow to come, refused, or new: waits are bounded, and the next one counts."""

from __future__ import annotations

import errno
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from datastores.credentials.kinds import ManagedIdentity
from datastores.storage.contract import Patience
from tests.mount.faults.conftest import BOUND_SECONDS, MakeScene, Scene, body_of, read_all, within
from tests.servers.azurite import Azurite
from tests.servers.fault_proxy import TOKEN_PATH, Fault, Kind, Reset, Says, Stall

SMALL = body_of(300_000)
# Long enough for a token to come; what the proxy stalls is the token alone.
READY = Patience(connect_seconds=5.0, read_seconds=20.0, attempts=5, total_seconds=60.0)


@pytest.fixture
def by_identity(
    make_scene: MakeScene, azurite: Azurite, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], Scene]:
    """Makes a mount whose store is opened by a machine's identity, which the proxy hands out."""

    def make() -> Scene:
        from azure.storage.blob import (
            AccountSasPermissions,
            ResourceTypes,
            generate_account_sas,
        )

        sas = generate_account_sas(
            azurite.account,
            azurite.key.reveal(),
            ResourceTypes(container=True, object=True),
            AccountSasPermissions(read=True, write=True, delete=True, list=True, create=True),
            expiry=datetime.now(UTC) + timedelta(hours=1),
        )
        # Tokens are shared by equal credentials, and each test wants its own.
        identity = ManagedIdentity(client_id=uuid.uuid4().hex)
        scene = make_scene(READY, credential=identity, signs=sas)
        endpoint = f"http://127.0.0.1:{scene.proxy.port}{TOKEN_PATH}"
        monkeypatch.setenv("IDENTITY_ENDPOINT", endpoint)
        monkeypatch.setenv("IDENTITY_HEADER", "canary")
        return scene

    return make


@pytest.mark.parametrize(
    "fault", [Stall(240.0), Reset(), Says(500), Says(429, retry_after=1)], ids=str
)
def test_a_token_that_does_not_come_is_asked_for_again(
    by_identity: Callable[[], Scene], fault: Fault
) -> None:
    """A file is read within bounds although the first request for a token is never answered."""
    scene = by_identity()
    scene.put("x", SMALL)
    scene.proxy.on(Kind.TOKEN, fault, nth=1)

    with within(2 * BOUND_SECONDS):
        got = read_all(scene.at / "x")

    assert got == SMALL
    assert len(scene.proxy.seen(Kind.TOKEN)) == 2


def test_one_token_serves_every_request(by_identity: Callable[[], Scene]) -> None:
    """However many files are read, one token is asked for."""
    scene = by_identity()
    for name in "abc":
        scene.put(name, SMALL)

    got = [read_all(scene.at / name) for name in "abc"]

    assert got == [SMALL] * 3
    assert scene.proxy.tokens == ["token-1"]


def test_refused_until_the_token_is_a_new_one(by_identity: Callable[[], Scene]) -> None:
    """A token that the service no longer takes is EACCES; with the next token all works again."""
    scene = by_identity()
    scene.proxy.token_seconds = 10
    for name in ("a", "b"):
        scene.put(name, SMALL)
    assert read_all(scene.at / "a") == SMALL
    scene.proxy.token_seconds = 3600  # the next one outlasts any slow machine's test
    for kind in (Kind.GET, Kind.HEAD, Kind.LIST):
        revoked = Says(403, "AuthenticationFailed")
        scene.proxy.on(kind, revoked, match=lambda seen: seen.token == "token-1")  # not one

    with pytest.raises(PermissionError) as refused:
        read_all(scene.at / "b")
    got = read_when_allowed(scene)

    assert refused.value.errno == errno.EACCES
    assert got == SMALL
    assert scene.proxy.tokens == ["token-1", "token-2"]


def read_when_allowed(scene: Scene) -> bytes:
    deadline = time.monotonic() + BOUND_SECONDS
    while True:
        try:
            return read_all(scene.at / "b")
        except PermissionError:
            assert time.monotonic() < deadline
            time.sleep(0.2)  # no event tells that a token has expired
