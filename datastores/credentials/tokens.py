"""Bearer tokens of Microsoft Entra: obtained, kept, and renewed before they run out."""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from datastores.credentials.identities import Candidate, candidates
from datastores.credentials.kinds import Credential, ServicePrincipal, Token
from datastores.credentials.refusals import NoToken, Tried, refusal
from datastores.errors import CredentialExpired, Unavailable
from datastores.secret import Secret, masked
from datastores.value import Value

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken, TokenCredential

log = logging.getLogger(__name__)

# Azure's clients ask for another token when less than five minutes are left, so a
# smaller margin would answer them with what they already have.
RENEWAL_MARGIN_SECONDS = 300.0

# Some identities go on handing out the old token (Azure CLI, the instance metadata service), and
# some fail for a while; neither is asked for every request.
RETRY_PAUSE_SECONDS = 30.0

# Longer than any candidate may take with all its attempts; see `identities`.
WAIT_SECONDS = 240.0

Clock: TypeAlias = Callable[[], float]
Candidates: TypeAlias = Callable[[Credential], Sequence[Candidate]]


def token_credential(
    credential: Credential,
    *,
    store: str,
    clock: Clock = time.time,
    identities: Candidates = candidates,
) -> TokenCredential:
    """What Azure's clients ask for tokens; safe for threads and after a fork.

    One token request is under way at a time however many threads ask, and while it is, those
    whose token is still good go on with it. Stores with equal credentials share their tokens.
    A failed renewal is an error only once the present token has expired.
    """
    if isinstance(credential, Token):
        return _GivenToken(credential, store, clock)
    return _StoreTokens(_shared_tokens(credential, clock, identities), store, audience(credential))


def bearer(
    credential: Credential,
    scope: str,
    *,
    store: str,
    clock: Clock = time.time,
    identities: Candidates = candidates,
) -> Callable[[], Secret]:
    """A function that answers with a good token for `scope` whenever it is called."""
    tokens = token_credential(credential, store=store, clock=clock, identities=identities)
    return lambda: Secret(tokens.get_token(scope).token)


def audience(credential: Credential) -> str | None:
    """The scope a principal was registered with; it replaces the one a library asks for."""
    if isinstance(credential, ServicePrincipal) and credential.resource_url:
        return credential.resource_url.removesuffix("/.default").rstrip("/") + "/.default"
    return None


class _GivenToken:
    """A token from elsewhere, which nothing here can renew."""

    def __init__(self, token: Token, store: str, clock: Clock) -> None:
        self._token, self._store, self._clock = token, store, clock

    def get_token(self, *_scopes: str, **_options: Any) -> AccessToken:
        from azure.core.credentials import AccessToken

        expires_at = self._token.expires_at
        if self._clock() >= expires_at:
            raise CredentialExpired(
                self._store,
                datetime.fromtimestamp(expires_at, UTC),
                "ask whoever issued this token for a new one",
            )
        return AccessToken(self._token.token.reveal(), int(expires_at))

    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None: ...


class _StoreTokens:
    """Shared tokens with one store's name in the errors."""

    def __init__(self, tokens: _Tokens, store: str, scope: str | None) -> None:
        self._tokens, self._store, self._scope = tokens, store, scope

    def get_token(
        self,
        *scopes: str,
        claims: str | None = None,
        tenant_id: str | None = None,
        **_options: Any,
    ) -> AccessToken:
        from azure.core.credentials import AccessToken

        ask = _Ask((self._scope,) if self._scope else scopes, tenant_id)
        try:
            held = self._tokens.get(ask, claims)
        except NoToken as error:
            raise refusal(error, self._store) from masked(error)
        except TimeoutError as error:
            raise Unavailable(
                self._store,
                detail=f"no token after {WAIT_SECONDS:.0f} seconds; check the network",
            ) from error
        return AccessToken(held.token.reveal(), held.expires_on)

    def close(self) -> None:
        """Nothing: the tokens belong to every store with this credential."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None: ...


class _Ask(Value):
    scopes: tuple[str, ...]
    tenant_id: str | None


class _Held(Value):
    token: Secret
    expires_on: int
    renew_at: float

    def is_good(self, now: float) -> bool:
        return now < self.expires_on

    def is_fresh(self, now: float) -> bool:
        return self.is_good(now) and now < self.renew_at


# A claims challenge is answered by a request of its own.
_Flight: TypeAlias = tuple[_Ask, str | None]


class _Tokens:
    """The tokens of one credential, and the requests for new ones that are under way."""

    def __init__(self, credential: Credential, clock: Clock, identities: Candidates) -> None:
        self._credential, self._clock, self._identities = credential, clock, identities
        # All three under the lock, which is never held during a request.
        self._lock = threading.Lock()
        self._held: dict[_Ask, _Held] = {}
        self._flights: dict[_Flight, Future[_Held]] = {}
        self._opened: list[tuple[Candidate, TokenCredential]] = []

    def get(self, ask: _Ask, claims: str | None) -> _Held:
        """A token that is good now; with `claims`, one that was issued after this call."""
        with self._lock:
            if claims:
                # The service has just refused the token we hold.
                self._held.pop(ask, None)
            held = self._held.get(ask)
            now = self._clock()
            if held and held.is_fresh(now):
                return held
            flight = self._flights.get((ask, claims))
            if flight and held and held.is_good(now):
                return held
            leads = flight is None
            if flight is None:
                flight = self._flights[ask, claims] = Future()
        if leads:
            self._fly(flight, ask, claims, held)
        return flight.result(timeout=WAIT_SECONDS)

    def _fly(self, flight: Future[_Held], ask: _Ask, claims: str | None, old: _Held | None) -> None:
        try:
            held = self._renewed(ask, claims, old)
        except BaseException as error:
            with self._lock:
                self._flights.pop((ask, claims), None)
            # An interrupt is for the thread that got it.
            flight.set_exception(error if isinstance(error, Exception) else TimeoutError())
            if not isinstance(error, NoToken):
                raise
        else:
            with self._lock:
                self._held[ask] = held
                self._flights.pop((ask, claims), None)
            flight.set_result(held)

    def _renewed(self, ask: _Ask, claims: str | None, old: _Held | None) -> _Held:
        try:
            token = self._request(ask, claims)
        except NoToken as error:
            now = self._clock()
            if old is None or not old.is_good(now):
                raise
            log.warning(
                "a token could not be renewed and is good for another %.0f seconds: %s",
                old.expires_on - now,
                error,
            )
            return _Held(old.token, old.expires_on, now + RETRY_PAUSE_SECONDS)
        now = self._clock()
        renew_at = max(token.expires_on - RENEWAL_MARGIN_SECONDS, now + RETRY_PAUSE_SECONDS)
        return _Held(Secret(token.token), token.expires_on, renew_at)

    def _request(self, ask: _Ask, claims: str | None) -> AccessToken:
        from azure.core.exceptions import ClientAuthenticationError
        from azure.identity import ChainedTokenCredential

        tried: list[Tried] = []
        members = [_Member(candidate, inner, tried) for candidate, inner in self._open(tried)]
        if not members:
            raise NoToken(tried)
        try:
            # Only inside a chain does a managed identity probe for its endpoint (one second)
            # before it waits for it (half a minute).
            return ChainedTokenCredential(*members).get_token(
                *ask.scopes, claims=claims, tenant_id=ask.tenant_id
            )
        except ClientAuthenticationError as error:
            # The chain's error does not lead to its members' errors, whose frames hold secrets in
            # their variables; crash reporters print those.
            raise NoToken(tried) from error

    def _open(self, tried: list[Tried]) -> Sequence[tuple[Candidate, TokenCredential]]:
        from azure.identity import CredentialUnavailableError

        with self._lock:
            if self._opened:
                return self._opened
            for candidate in self._identities(self._credential):
                try:
                    self._opened.append((candidate, candidate.open()))
                except (CredentialUnavailableError, ValueError) as error:
                    tried.append(Tried(candidate, error))
            return self._opened

    def forget_parent(self) -> None:
        """In a forked child: locks and connections are the parent's, good tokens are not."""
        self._lock = threading.Lock()
        self._flights = {}
        self._opened = []


class _Member:
    """One of the identities in a chain, which notes why it failed."""

    def __init__(self, candidate: Candidate, inner: TokenCredential, tried: list[Tried]) -> None:
        self._candidate, self._inner, self._tried = candidate, inner, tried

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        try:
            return self._inner.get_token(*scopes, **options)
        except Exception as error:
            self._tried.append(Tried(self._candidate, error))
            raise


_sharing = threading.Lock()
_shared: weakref.WeakValueDictionary[object, _Tokens] = weakref.WeakValueDictionary()
_alive: weakref.WeakSet[_Tokens] = weakref.WeakSet()


def _shared_tokens(credential: Credential, clock: Clock, identities: Candidates) -> _Tokens:
    key = (credential, clock, identities)
    with _sharing:
        tokens = _shared.get(key)
        if tokens is None:
            tokens = _shared[key] = _Tokens(credential, clock, identities)
            _alive.add(tokens)
        return tokens


def _after_fork() -> None:
    global _sharing  # noqa: PLW0603 - the parent may have forked while it held the lock
    _sharing = threading.Lock()
    for tokens in list(_alive):
        tokens.forget_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
