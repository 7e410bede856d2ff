"""What each library wants instead of a credential; nothing else in the project reveals one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self, cast

from datastores.credentials.expiry import sas_expiry
from datastores.credentials.kinds import (
    AccountKey,
    Anonymous,
    Credential,
    DeveloperLogin,
    Identity,
    Login,
    ManagedIdentity,
    Sas,
    ServicePrincipal,
    Token,
    WorkloadIdentity,
)
from datastores.credentials.tokens import audience, bearer, token_credential
from datastores.errors import CredentialExpired, CredentialRefused
from datastores.secret import Secret
from datastores.value import Value

if TYPE_CHECKING:
    from azure.core.credentials import (
        AccessToken,
        AzureNamedKeyCredential,
        AzureSasCredential,
        TokenCredential,
    )
    from azure.core.credentials_async import AsyncTokenCredential

STORAGE_SCOPE = "https://storage.azure.com/.default"
SQL_SCOPE = "https://database.windows.net/.default"
OPEN_SOURCE_DATABASE_SCOPE = "https://ossrdbms-aad.database.windows.net/.default"

_NO_PICKLE = "a credential cannot be pickled; give workers the datastore's name and open it there"

# Kinds that Entra gives tokens for, and a token that somebody else got from it.
ENTRA_KINDS = (
    ServicePrincipal,
    ManagedIdentity,
    WorkloadIdentity,
    DeveloperLogin,
    Identity,
    Token,
)


def for_azure_sdk(
    credential: Credential, account: str, *, store: str
) -> AzureNamedKeyCredential | AzureSasCredential | TokenCredential | None:
    """The `credential` of Azure's storage clients, for blobs and for file shares.

    Azure's clients send tokens over https only; file shares want `token_intent="backup"` beside.
    """
    from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential

    match credential:
        case Anonymous():
            return None
        case AccountKey(key):
            return AzureNamedKeyCredential(account, key.reveal())
        case Sas(token):
            _must_be_alive(token, store)
            return AzureSasCredential(token.reveal())
        case _ if isinstance(credential, ENTRA_KINDS):
            return token_credential(credential, store=store)
        case _:
            raise _unfit_for_storage(credential, store)


def for_own_requests(
    credential: Credential, *, store: str
) -> AccountKey | Sas | TokenCredential | None:
    """What authorises requests that the project makes without a client of Azure's."""
    match credential:
        case Anonymous():
            return None
        case AccountKey():
            return credential
        case Sas(token):
            _must_be_alive(token, store)
            return credential
        case _ if isinstance(credential, ENTRA_KINDS):
            return token_credential(credential, store=store)
        case _:
            raise _unfit_for_storage(credential, store)


def for_async_azure_sdk(
    credential: Credential, account: str, *, store: str
) -> AzureNamedKeyCredential | AzureSasCredential | AsyncTokenCredential | None:
    """The `credential` of Azure's storage clients that await, adlfs's own among them."""
    if isinstance(credential, ENTRA_KINDS):
        return _AsyncTokens(token_credential(credential, store=store))
    form: Any = for_azure_sdk(credential, account, store=store)
    return cast("AzureNamedKeyCredential | AzureSasCredential | None", form)


class _AsyncTokens:
    """The same tokens for clients that await; the request runs beside the event loop."""

    def __init__(self, tokens: TokenCredential) -> None:
        self._tokens = tokens

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        import asyncio

        return await asyncio.to_thread(self._tokens.get_token, *scopes, **options)

    async def close(self) -> None:
        """Nothing: the tokens belong to every store with this credential."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None: ...

    def __reduce__(self) -> NoReturn:
        raise TypeError(_NO_PICKLE)


class DatabaseLogin(Value):
    """How to log in to a database: with a password, or with a token asked for at each connect."""

    username: str | None = None
    password: Secret | None = None
    access_token: Callable[[], Secret] | None = None


def for_database(credential: Credential, *, store: str, scope: str = SQL_SCOPE) -> DatabaseLogin:
    """The login for a database; `scope` is what its tokens are for.

    With a service principal `username` is its client id, which PostgreSQL and MySQL want as the
    user's name and SQL Server does not.
    """
    match credential:
        case Login(username, password):
            return DatabaseLogin(username=username, password=password)
        case Anonymous():
            return DatabaseLogin()
        case _ if isinstance(credential, ENTRA_KINDS):
            return DatabaseLogin(
                username=getattr(credential, "username", getattr(credential, "client_id", None)),
                access_token=bearer(credential, audience(credential) or scope, store=store),
            )
        case _:
            raise CredentialRefused(
                store,
                f"{described(credential)} does not open a database; give a user name and "
                "password, a service principal, or an identity",
            )


def _must_be_alive(token: Secret, store: str) -> None:
    expired = sas_expiry(token)
    if expired and expired <= datetime.now(UTC):
        raise CredentialExpired(store, expired, "create a new SAS and register it")


def _unfit_for_storage(credential: Credential, store: str) -> CredentialRefused:
    return CredentialRefused(
        store,
        f"{described(credential)} does not open Azure storage; give an account key, a SAS, "
        "a service principal, or an identity",
    )


def described(credential: Credential) -> str:
    """The kind in the words of a sentence."""
    return _WORDS.get(credential.kind, f'a credential of kind "{credential.kind}"')


_WORDS = {
    "AccountKey": "an account key",
    "Sas": "a SAS",
    "Login": "a database login",
    "Kerberos": "a Kerberos principal",
    "StorageOptions": "a set of storage options",
    "Anonymous": "anonymous access",
}
