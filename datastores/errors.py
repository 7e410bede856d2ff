"""Every error a person can meet, arranged by what the person can do about it.

DatastoresError
  NameRejected             fix the spelling
  DefinitionRejected       fix the definition
  ConfigRejected           fix or rewrite the configuration file
  NotRegistered            pick another, or register it
  AlreadyRegistered        choose: replace or rename
  RegistryError            the workspace's own records
    RegistryBusy             wait and try again (temporary)
    RegistryReadOnly         ask for write access
    RegistryTooNew           upgrade this package
    RegistryUnreachable      check the address, start the server (temporary)
    VaultLocked              provide the key, or protect it
  CredentialError
    CredentialMissing        provide one
    CredentialExpired        renew it
    CredentialRefused        provide the right one
  StoreError               carries store and key
    NotFound                 check the name (also FileNotFoundError)
    AlreadyExists            ask for overwrite (also FileExistsError)
    PreconditionFailed       somebody else changed it: read again
    PermissionDenied         ask for the permission (also PermissionError)
    Unsupported              use another store or mode
    Corrupted                fetch again
    DiskFull                 free space on this machine, run it again
    Unavailable              wait and try again (temporary, may carry retry_after_seconds)
  TransferFailed           look at the files it names, retry those
  RunRefused               look at the run's status
  RunFailed                look at its logs
  WireError                the two planes disagree on a version or a field
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

from datastores.text import printable, printable_lines


class DatastoresError(Exception):
    """Something a person can act on; its text is one sentence that ends with a next step."""

    temporary: ClassVar[bool] = False
    exit_code: ClassVar[int] = 1

    def __init__(self, text: str) -> None:
        # Names in it are other people's, and terminals obey escape sequences.
        super().__init__(printable_lines(text))

    @property
    def message(self) -> str:
        """The sentence, under the name Azure ML's exceptions use."""
        return str(self)

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process borders (worker pools); facts travel as attributes, not as arguments.
        return _rebuild, (type(self), str(self), dict(self.__dict__))


def _rebuild(kind: type[DatastoresError], text: str, facts: dict[str, object]) -> DatastoresError:
    error = kind.__new__(kind, text)
    Exception.__init__(error, text)
    error.__dict__.update(facts)
    return error


def quoted(names: Sequence[str], nothing: str = "none yet", most: int = 12) -> str:
    """Names for the tail of a sentence: the first dozen, then how many more."""
    shown = ", ".join(f'"{name}"' for name in names[:most])
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return shown + more or nothing


class NameRejected(DatastoresError, ValueError):
    """A name breaks the rule for its kind."""

    exit_code = 3

    def __init__(self, noun: str, name: str, rule: str) -> None:
        self.noun, self.name, self.rule = noun, name, rule
        article = "an" if noun[0] in "aeiou" else "a"
        super().__init__(f'"{name}" cannot be the name of {article} {noun}: {rule}')


class DefinitionRejected(DatastoresError, ValueError):
    """A combination of settings that cannot work."""

    exit_code = 3

    def __init__(self, name: str, reason: str) -> None:
        self.name, self.reason = name, reason
        super().__init__(f'definition of "{name}" rejected: {reason}')


class ConfigRejected(DatastoresError, ValueError):
    """A configuration file is missing, unreadable or malformed."""

    exit_code = 3

    def __init__(self, path: str, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f'configuration "{path}": {reason}')


class NotRegistered(DatastoresError, LookupError):
    """Nothing is registered under this name."""

    exit_code = 4

    def __init__(self, noun: str, name: str, place: str, known: Sequence[str]) -> None:
        self.noun, self.name, self.place, self.known = noun, name, place, tuple(known)
        super().__init__(f'no {noun} "{name}" in {place} (registered: {quoted(self.known)})')


class AlreadyRegistered(DatastoresError):
    """The name is taken and overwriting was not asked for."""

    exit_code = 5

    def __init__(self, noun: str, name: str, place: str, remedy: str) -> None:
        self.noun, self.name, self.place, self.remedy = noun, name, place, remedy
        super().__init__(f'{noun} "{name}" is already registered in {place}; {remedy}')


class RegistryError(DatastoresError):
    """The workspace's own records cannot be used."""

    exit_code = 11

    def __init__(self, place: str, reason: str) -> None:
        self.place, self.reason = place, reason
        super().__init__(f'registry "{place}": {reason}')


class RegistryBusy(RegistryError):
    """Another process holds the registry and did not let go in time."""

    temporary = True


class RegistryReadOnly(RegistryError):
    """The registry can be read but not written."""


class RegistryTooNew(RegistryError):
    """A newer version of this package wrote the registry."""


class RegistryUnreachable(RegistryError):
    """The registry's database does not answer, or its file cannot be opened."""

    temporary = True


class VaultLocked(RegistryError):
    """Secrets cannot be read or written: the key is missing, wrong, or readable by others."""


class CredentialError(DatastoresError):
    """A credential is missing, expired or refused."""

    exit_code = 6

    def __init__(self, store: str, reason: str) -> None:
        self.store, self.reason = store, reason
        super().__init__(f'credential of "{store}": {reason}')


class CredentialMissing(CredentialError):
    """No credential was given or found."""


class CredentialExpired(CredentialError):
    """The credential was good until a known moment."""

    def __init__(self, store: str, expired: datetime | None, remedy: str) -> None:
        self.expired = expired
        when = f"expired at {expired.isoformat(timespec='seconds')}" if expired else "has expired"
        super().__init__(store, f"{when}; {remedy}")


class CredentialRefused(CredentialError):
    """The service knows the store and does not accept the credential."""


class StoreError(DatastoresError):
    """Something about one object, folder or request of one store."""

    exit_code = 9
    sentence: ClassVar[str] = "failed"

    def __init__(self, store: str, key: str | None = None, detail: str = "") -> None:
        self.store, self.key, self.detail = store, key, detail
        what = f'"{key}" in "{store}"' if key else f'"{store}"'
        super().__init__(f"{what} {self.sentence}" + (f": {detail}" if detail else ""))


class NotFound(StoreError, FileNotFoundError):
    """The store answered, and there is no such object, container or share."""

    exit_code = 7
    sentence = "does not exist"


class AlreadyExists(StoreError, FileExistsError):
    """Something is there and overwriting was not asked for."""

    exit_code = 14
    sentence = "already exists"


class PreconditionFailed(StoreError):
    """The object is not the version the caller named."""

    exit_code = 14
    sentence = "was changed by somebody else"


class PermissionDenied(StoreError, PermissionError):
    """The credential is valid and does not allow this."""

    exit_code = 8
    sentence = "may not be used this way"


class Unsupported(StoreError):
    """The store has no such ability, or cannot hold such a name."""

    exit_code = 13
    sentence = "cannot do this"


class Corrupted(StoreError):
    """The bytes that arrived are not the bytes that were stored."""

    exit_code = 12
    sentence = "arrived damaged"


class DiskFull(StoreError):
    """The local disk cannot hold what is to arrive; what has arrived is kept."""

    exit_code = 16
    sentence = "does not fit on the disk"


class Unavailable(StoreError):
    """No usable answer: host unreachable, time out, throttled, or a failure of the service."""

    temporary = True
    exit_code = 9
    sentence = "is unavailable"

    def __init__(
        self,
        store: str,
        key: str | None = None,
        detail: str = "",
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(store, key, detail)
        self.retry_after_seconds = retry_after_seconds


class TransferFailed(DatastoresError):
    """Some files did not arrive; each is named with its cause, the others are complete."""

    exit_code = 10

    def __init__(
        self,
        done: int,
        failures: Sequence[tuple[str, BaseException]],
        summary: object | None = None,
        note: str = "",
    ) -> None:
        self.done, self.failures, self.summary = done, tuple(failures), summary
        listed = "".join(f"\n  {printable(name)}: {error}" for name, error in self.failures[:20])
        more = f"\n  and {len(self.failures) - 20} more" if len(self.failures) > 20 else ""
        total = done + len(self.failures)
        super().__init__(
            f"{len(self.failures)} of {total} files failed; run it again to move just those:"
            f"{listed}{more}{note and chr(10)}{note}"
        )


class RunRefused(DatastoresError):
    """A run is in no state for what was asked of it."""

    exit_code = 17

    def __init__(self, run_id: str, reason: str) -> None:
        self.run_id, self.reason = run_id, reason
        super().__init__(f'run "{run_id}" {reason}')


class RunFailed(DatastoresError):
    """A run ended without success, or nobody looks after it any more."""

    exit_code = 18

    def __init__(self, run_id: str, reason: str) -> None:
        self.run_id, self.reason = run_id, reason
        super().__init__(f'run "{run_id}" {reason}')


class WireError(DatastoresError):
    """A message between the two planes has a version or a field this side does not know."""

    exit_code = 15
