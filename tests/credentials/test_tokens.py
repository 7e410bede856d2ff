"""Tokens: obtained once, kept, renewed in time, and explained when refused."""

from __future__ import annotations

import functools
import os
import threading
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from azure.core.credentials import AccessToken, TokenCredential
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError
from azure.identity import CredentialUnavailableError

from datastores.credentials.identities import Candidate, candidates
from datastores.credentials.kinds import (
    Anonymous,
    Credential,
    DeveloperLogin,
    Identity,
    ManagedIdentity,
    ServicePrincipal,
    Token,
    WorkloadIdentity,
)
from datastores.credentials.tokens import bearer, token_credential
from datastores.errors import (
    CredentialExpired,
    CredentialMissing,
    CredentialRefused,
    DatastoresError,
    Unavailable,
)
from datastores.secret import Secret
from tests.servers.entra import ASSERTION, CLIENT, CLIENT_SECRET, TENANT, Entra

SCOPE = "https://storage.azure.com/.default"
NOW = 1_700_000_000.0


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class Issuer:
    """An identity whose tokens are numbered and live for an hour of its clock."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.asked, self.fails = clock, 0, list[Exception]()

    def get_token(self, *scopes: str, **options: object) -> AccessToken:
        self.asked += 1
        if self.fails:
            raise self.fails[0]
        return AccessToken(f"token-{self.asked}", int(self.clock()) + 3600)


def offering(*members: object) -> Callable[[Credential], Sequence[Candidate]]:
    def identities(_credential: Credential) -> Sequence[Candidate]:
        return [
            Candidate(f"identity {number}", f"repair {number}", functools.partial(_same, member))
            for number, member in enumerate(members, 1)
        ]

    return identities


def _same(member: object) -> TokenCredential:
    return member  # type: ignore[return-value]  # a structural match that mypy cannot see


def issued_by(*issuers: Issuer) -> Callable[[], str]:
    tokens = token_credential(
        Identity(), store="train", clock=issuers[0].clock, identities=offering(*issuers)
    )
    return lambda: tokens.get_token(SCOPE).token


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def principal() -> ServicePrincipal:
    return ServicePrincipal(TENANT, CLIENT, Secret(CLIENT_SECRET))


def test_a_token_is_kept_until_the_margin(clock: Clock) -> None:
    """One token serves until five minutes before its end, and another one from then on."""
    issuer = Issuer(clock)
    token = issued_by(issuer)

    got = []
    for age in (0, 1800, 3299, 3300, 3301, 3600):
        clock.now = NOW + age
        got.append(token())

    assert got == ["token-1", "token-1", "token-1", "token-2", "token-2", "token-2"]


def test_a_failed_renewal_is_survived(clock: Clock) -> None:
    """While the present token is good a failed renewal changes nothing, and is tried twice a minute."""
    issuer = Issuer(clock)
    token = issued_by(issuer)
    token()
    issuer.fails = [ServiceRequestError("no route")]

    got = []
    for age in (3310, 3320, 3339, 3341):
        clock.now = NOW + age
        got.append((token(), issuer.asked))
    issuer.fails = []
    clock.now = NOW + 3400

    assert got == [("token-1", 2), ("token-1", 2), ("token-1", 2), ("token-1", 3)]
    assert token() == "token-4"


def test_an_outage_after_the_end_is_temporary(clock: Clock) -> None:
    """With the token expired and Entra out of reach the error says "try again"."""
    issuer = Issuer(clock)
    token = issued_by(issuer)
    token()
    clock.now = NOW + 3601
    issuer.fails = [ServiceRequestError("no route to host")]

    with pytest.raises(Unavailable) as refused:
        token()

    assert str(refused.value) == (
        '"train" is unavailable: no token for identity 1: no route to host; '
        "check the network and try again"
    )


def test_threads_share_one_request(entra: Entra, principal: ServicePrincipal) -> None:
    """Forty threads that need a token at once cause one request and get one token."""
    entra.gate.clear()
    tokens = token_credential(
        principal,
        store="train",
        identities=functools.partial(candidates, transport=entra.transport()),
    )
    with ThreadPoolExecutor(40) as pool:
        asked = [pool.submit(tokens.get_token, SCOPE) for _ in range(40)]
        entra.waiting.acquire()
        entra.gate.set()
        got = {one.result().token for one in asked}

    assert got == {one.token for one in entra.issued}
    assert [(one.grant, one.client_id, one.scope) for one in entra.issued] == [
        ("client_credentials", CLIENT, SCOPE)
    ]


def test_threads_share_one_failure() -> None:
    """Threads that wait for a token that does not come all learn it from one request."""
    release = threading.Event()
    looks = threading.Semaphore(0)

    class Watched(Clock):
        def __call__(self) -> float:
            looks.release()
            return super().__call__()

    class Slow(Issuer):
        def get_token(self, *scopes: str, **options: object) -> AccessToken:
            release.wait(20)
            return super().get_token(*scopes, **options)

    issuer = Slow(Watched())
    issuer.fails = [ClientAuthenticationError("no")]
    token = issued_by(issuer)
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(token) for _ in range(8)]
        # Each looks at the clock once, in the step in which it joins the request.
        for _ in asked:
            assert looks.acquire(timeout=20)
        release.set()
        kinds = {type(one.exception()) for one in asked}

    assert (kinds, issuer.asked) == ({CredentialRefused}, 1)


def test_nobody_waits_for_a_renewal(clock: Clock) -> None:
    """While one thread renews, others go on with the token that is still good."""
    started, release = threading.Event(), threading.Event()

    class Slow(Issuer):
        def get_token(self, *scopes: str, **options: object) -> AccessToken:
            if self.asked:
                started.set()
                release.wait(20)
            return super().get_token(*scopes, **options)

    token = issued_by(Slow(clock))
    token()
    clock.now = NOW + 3400
    with ThreadPoolExecutor(1) as pool:
        renewing = pool.submit(token)
        started.wait(20)
        meanwhile = token()
        release.set()

        assert (meanwhile, renewing.result()) == ("token-1", "token-2")


def test_stores_share_tokens(clock: Clock) -> None:
    """Two stores with equal credentials ask once."""
    issuer = Issuer(clock)
    identities = offering(issuer)

    got = [
        token_credential(Identity(), store=store, clock=clock, identities=identities)
        for store in ("train", "test")
    ]

    assert [one.get_token(SCOPE).token for one in got] == ["token-1", "token-1"]


def test_a_challenge_gets_another_token(clock: Clock) -> None:
    """A token that the service refused with a claims challenge is not handed out again."""
    tokens = token_credential(
        Identity(), store="train", clock=clock, identities=offering(Issuer(clock))
    )

    got = [
        tokens.get_token(SCOPE).token,
        tokens.get_token(SCOPE, claims='{"access_token":{}}').token,
        tokens.get_token(SCOPE).token,
    ]

    assert got == ["token-1", "token-2", "token-2"]


def test_a_forked_child_gets_tokens(clock: Clock) -> None:
    """A child forked in the middle of the parent's request gets a token and does not hang."""
    started, release = threading.Event(), threading.Event()
    parent = os.getpid()

    class Slow(Issuer):
        def get_token(self, *scopes: str, **options: object) -> AccessToken:
            if os.getpid() == parent:
                started.set()
                release.wait(20)
            return super().get_token(*scopes, **options)

    token = issued_by(Slow(clock))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(token)
        started.wait(20)
        child = os.fork()
        if child == 0:
            answer = ""
            try:
                answer = token()
            finally:
                os._exit(0 if answer == "token-1" else 1)
        status = os.waitpid(child, 0)[1]
        release.set()
        waiting.result()

    assert status == 0


def test_the_chain_goes_on_past_absent_identities(clock: Clock) -> None:
    """Identities that do not exist here are passed over; the first that exists decides."""
    absent, present = Issuer(clock), Issuer(clock)
    absent.fails = [CredentialUnavailableError("not here")]

    assert issued_by(absent, present)() == "token-1"


def test_a_refused_identity_ends_the_chain(clock: Clock) -> None:
    """An identity that exists and is refused is the answer; the next is not tried in its place."""
    refused, other = Issuer(clock), Issuer(clock)
    refused.fails = [ClientAuthenticationError("AADSTS700016: unknown application. Trace ID: 1")]

    with pytest.raises(CredentialRefused) as error:
        issued_by(refused, other)()

    assert str(error.value) == (
        'credential of "train": identity 1 was refused: AADSTS700016: unknown application; repair 1'
    )
    assert other.asked == 0


def test_when_nothing_is_found_everything_is_named(clock: Clock) -> None:
    """With no identity at all the error names each that was tried and what would help."""
    first, second = Issuer(clock), Issuer(clock)
    first.fails = [CredentialUnavailableError("nothing there")]
    second.fails = [CredentialUnavailableError("not logged in")]

    with pytest.raises(CredentialMissing) as error:
        issued_by(first, second)()

    assert str(error.value) == (
        'credential of "train": no token from identity 1 (nothing there), '
        "identity 2 (not logged in); repair 1, or repair 2"
    )


def test_an_expired_secret_is_expired(entra: Entra, principal: ServicePrincipal) -> None:
    """A client secret past its end is `CredentialExpired`, and not a refusal."""
    entra.refusal = (
        401,
        {
            "error": "invalid_client",
            "error_description": "AADSTS7000222: The provided client secret keys are expired. "
            "Trace ID: 1",
        },
    )

    error = failure(entra, principal)

    assert type(error) is CredentialExpired
    assert "AADSTS7000222: The provided client secret keys are expired; check its tenant" in str(
        error
    )


def failure(entra: Entra, credential: Credential) -> DatastoresError:
    identities = functools.partial(candidates, transport=entra.transport(), retry_total=0)
    tokens = token_credential(credential, store="train", identities=identities)
    with pytest.raises(DatastoresError) as error:
        tokens.get_token(SCOPE)
    return error.value


def test_a_wrong_secret_is_refused_and_never_shown(entra: Entra) -> None:
    """A wrong secret is refused by name of the principal; no variable of the report holds it."""
    wrong = "canary-wrong-secret"

    error = failure(entra, ServicePrincipal(TENANT, CLIENT, Secret(wrong)))

    report = "".join(
        traceback.TracebackException.from_exception(error, capture_locals=True).format()
    )
    assert type(error) is CredentialRefused
    assert str(error) == (
        f'credential of "train": service principal "{CLIENT}" of tenant "{TENANT}" was refused: '
        "Authentication failed: AADSTS7000215: Invalid client secret provided; "
        "check its tenant, id and secret, and register the datastore again"
    )
    assert wrong not in report


def test_a_failing_entra_is_unavailable(entra: Entra, principal: ServicePrincipal) -> None:
    """Entra's own failure is temporary, and the secret is not blamed."""
    entra.refusal = (503, {"error": "temporarily_unavailable"})

    assert type(failure(entra, principal)) is Unavailable


def test_a_silent_entra_is_unavailable(principal: ServicePrincipal) -> None:
    """A refused connection is temporary, and no variable of its report holds the secret."""
    nowhere = Entra("http://127.0.0.1:1")

    error = failure(nowhere, principal)

    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    assert type(error) is Unavailable
    assert [line for line in report.format() if CLIENT_SECRET in line] == []


def test_the_authority_and_resource_are_the_principals_own(entra: Entra) -> None:
    """A principal's resource replaces the scope, and its authority may end with its tenant."""
    principal = ServicePrincipal(
        TENANT,
        CLIENT,
        Secret(CLIENT_SECRET),
        authority_url=f"https://login.chinacloudapi.cn/{TENANT}/",
        resource_url="https://storage.azure.cn/",
    )
    token = bearer(
        principal,
        SCOPE,
        store="train",
        identities=functools.partial(candidates, transport=entra.transport()),
    )

    assert token().reveal() == entra.issued[0].token
    assert [one.scope for one in entra.issued] == ["https://storage.azure.cn/.default"]


def test_an_authority_without_tls_is_refused(entra: Entra) -> None:
    """A plain http authority gets no secret."""
    principal = ServicePrincipal(TENANT, CLIENT, Secret(CLIENT_SECRET), authority_url=entra.url)

    assert type(failure(entra, principal)) is CredentialRefused


def test_a_managed_identity_asks_the_metadata_service(
    entra: Entra, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine's identity gets its token from the metadata service, by client id if given."""
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", entra.url)

    token = bearer(ManagedIdentity(CLIENT), SCOPE, store="train")()

    assert [(token.reveal(), "metadata", CLIENT, "https://storage.azure.com")] == [
        (one.token, one.grant, one.client_id, one.scope) for one in entra.issued
    ]


def test_an_unknown_managed_identity_is_missing(
    entra: Entra, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An identity the machine was not given is missing, with the step that gives it."""
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", entra.url)

    error = failure(entra, ManagedIdentity("33333333-3333-3333-3333-333333333333"))

    assert type(error) is CredentialMissing
    assert str(error).endswith(
        "assign an identity to this machine and give it a role on the storage account"
    )


def test_a_workload_identity_sends_its_file(entra: Entra, tmp_path: Path) -> None:
    """A pod's token file is exchanged for a token."""
    file = tmp_path / "token"
    file.write_text(ASSERTION)
    workload = WorkloadIdentity(TENANT, CLIENT, str(file))

    token = bearer(
        workload,
        SCOPE,
        store="train",
        identities=functools.partial(candidates, transport=entra.transport()),
    )()

    assert token.reveal() == entra.issued[0].token


def test_an_incomplete_workload_identity_is_missing(entra: Entra) -> None:
    """Without its environment a workload identity is missing, and the variables are named."""
    error = failure(entra, WorkloadIdentity())

    assert type(error) is CredentialMissing
    assert str(error).endswith(
        "set AZURE_FEDERATED_TOKEN_FILE, AZURE_CLIENT_ID and AZURE_TENANT_ID for this process"
    )


def test_a_missing_token_file_is_missing(entra: Entra, tmp_path: Path) -> None:
    """A token file that is not there is a missing credential."""
    workload = WorkloadIdentity(TENANT, CLIENT, str(tmp_path / "absent"))

    assert type(failure(entra, workload)) is CredentialMissing


def test_a_developer_login_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is logged in with Azure CLI gets that login's token."""
    program = tmp_path / "az"
    program.write_text(
        "#!/bin/sh\n"
        'echo \'{"accessToken": "cli-token", "expires_on": 4102444800, "tokenType": "Bearer"}\'\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    assert bearer(DeveloperLogin(), SCOPE, store="train")().reveal() == "cli-token"


def test_no_developer_login_names_the_tools(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without any of Azure's tools the error tells which commands log in."""
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(CredentialMissing) as error:
        bearer(DeveloperLogin(), SCOPE, store="train")()

    assert str(error.value).endswith(
        'run "az login", or run "azd auth login", or run "Connect-AzAccount"'
    )


def test_identity_finds_what_there_is(entra: Entra, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no credential registered the machine's own identity opens the store."""
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", entra.url)

    token = bearer(Identity(), SCOPE, store="train")()

    assert [token.reveal()] == [one.token for one in entra.issued]


def test_identity_tries_a_complete_workload_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workload identity leads the chain only where its whole environment is set."""
    without = [one.name for one in candidates(Identity())]
    for name in ("AZURE_FEDERATED_TOKEN_FILE", "AZURE_CLIENT_ID", "AZURE_TENANT_ID"):
        monkeypatch.setenv(name, "x")

    assert without == [
        "managed identity of this machine",
        "Azure CLI",
        "Azure Developer CLI",
        "Azure PowerShell",
    ]
    assert [one.name for one in candidates(Identity())] == [
        'workload identity "x"',
        'managed identity "x"',
        *without[1:],
    ]


def test_a_given_token_ends_with_its_moment(clock: Clock) -> None:
    """A token from elsewhere serves to its last second, then the error tells when it ended."""
    given = Token(Secret("given-token"), NOW + 10)
    tokens = token_credential(given, store="train", clock=clock)
    before = tokens.get_token(SCOPE)
    clock.now = NOW + 10

    with pytest.raises(CredentialExpired) as error:
        tokens.get_token(SCOPE)

    assert before == AccessToken("given-token", int(NOW) + 10)
    assert str(error.value) == (
        'credential of "train": expired at 2023-11-14T22:13:30+00:00; '
        "ask whoever issued this token for a new one"
    )


def test_a_kind_that_is_no_identity_has_no_token() -> None:
    """Asking for a token with anonymous access is answered with what would fit."""
    with pytest.raises(CredentialMissing) as error:
        bearer(Anonymous(), SCOPE, store="train")()

    assert str(error.value) == (
        'credential of "train": it stands for no identity; '
        "register a service principal or an identity"
    )
