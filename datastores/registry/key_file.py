"""Keys in a file that only its owner may read."""

from __future__ import annotations

import os
import stat
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from datastores.errors import VaultLocked
from datastores.registry.keys import KeyRing
from datastores.secret import Secret
from datastores.value import Value

# Rings have two or three keys of 45 bytes.
_MOST_BYTES = 65536


class KeyFile(Value):
    """`file:<path>`: mode 0600, in a folder where nobody else can replace it."""

    saves: ClassVar[bool] = True

    path: Path
    registry: str

    def load(self) -> KeyRing | None:
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._locked(
                f"cannot be read ({error.strerror}); run as the user who owns it"
            ) from error
        try:
            self._refuse_shared(os.fstat(descriptor))
            return KeyRing.parse(Secret(os.read(descriptor, _MOST_BYTES).decode("ascii") or " "))
        except UnicodeDecodeError:
            reason = "it is not a text"
        except ValueError as error:
            reason = str(error)
        except OSError as error:
            raise self._locked(f"cannot be read ({error.strerror}); restore it") from error
        finally:
            os.close(descriptor)
        # Out of the handler: a decoding error carries the bytes it stumbled over.
        raise self._locked(f"is damaged: {reason}; restore it from a backup")

    def start(self) -> KeyRing:
        ring = KeyRing.generate()
        try:
            # A link is refused where the name is taken, and appears with all its bytes.
            self._put(ring, os.link)
        except FileExistsError:
            return self.load() or self.start()
        return ring

    def save(self, ring: KeyRing) -> None:
        """Write aside, make it durable, move it into place."""
        self._put(ring, os.replace)

    def _put(self, ring: KeyRing, place: Callable[[Path, Path], None]) -> None:
        folder = self.path.parent
        aside = folder / f".{self.path.name}.{uuid.uuid4().hex}"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._refuse_folder(folder.stat())
            try:
                _write_new(aside, ring.text("\n"))
                place(aside, self.path)
            finally:
                aside.unlink(missing_ok=True)
            _sync_folder(folder)
        except FileExistsError:
            raise
        except OSError as error:
            raise self._locked(
                f"cannot be written ({error.strerror}); make its folder writable for its owner"
            ) from error

    def describe(self) -> str:
        return f"file:{self.path}"

    def _refuse_shared(self, found: os.stat_result) -> None:
        if not stat.S_ISREG(found.st_mode):
            raise self._locked("is not a file; name a file")
        if found.st_uid != os.geteuid():
            raise self._locked("belongs to another user; run as its owner, or chown it")
        if found.st_mode & 0o077:
            raise self._locked(f'can be read by others; run: chmod 600 "{self.path}"')
        self._refuse_folder(self.path.resolve().parent.stat())

    def _refuse_folder(self, found: os.stat_result) -> None:
        is_ours = found.st_uid in (os.geteuid(), 0)
        # In a sticky folder only a file's owner may replace it.
        is_shared = found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX
        if not is_ours or is_shared:
            raise self._locked(
                f'can be replaced by others; run: chmod go-w "{self.path.parent}", '
                "and own that folder"
            )

    def _locked(self, reason: str) -> VaultLocked:
        return VaultLocked(self.registry, f'key source "{self.describe()}" {reason}')


def _write_new(path: Path, text: Secret) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, text.reveal().encode() + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
