"""Where leases come from: a `datastores` process, because a node's agent opens no registry."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from datastores.contract import LeaseSpec
from datastores.contract.leases import lease_of_wire
from datastores.definitions import Definition, from_wire
from datastores.errors import WireError
from datastores.secret import redact
from datastores.value import Value, field
from mount.errors import MountError

VERSION = 1
# A token service that is asked twice, and the start of an interpreter.
PATIENCE_SECONDS = 120.0
# What decides which workspace a name means.
_ENVIRONMENT = ("DATASTORES_HOME", "DATASTORES_WORKSPACE", "HOME", "PATH", "PYTHONPATH")


class LeaseSource(Value):
    """A place as its owner wrote it, and where he stood when he did."""

    place: str
    is_writable: bool
    workspace: str | None
    folder: str
    environment: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def here(cls, place: str, *, is_writable: bool, workspace: str | None) -> LeaseSource:
        """The source as this process sees it."""
        known = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        return cls(place, is_writable, workspace, str(Path.cwd()), known)

    def fetch(self) -> Leased:
        """A fresh lease, from a process of its own; its error is ours."""
        command = [sys.executable, "-P", "-m", "datastores", "lease", "--json"]
        command += ["--write"] if self.is_writable else []
        command += ["--workspace", self.workspace] if self.workspace else []
        try:
            ran = subprocess.run(  # noqa: S603  # our own module; the place is one argument
                [*command, "--", self.place],
                capture_output=True,
                stdin=subprocess.DEVNULL,
                cwd=self.folder,
                env={**os.environ, **self.environment},
                timeout=PATIENCE_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            reason = redact(str(error))
            raise MountError(f'no lease for "{self.place}": {reason}; try again') from None
        if ran.returncode:
            raise _error_of(self.place, ran.stderr.decode("utf-8", "replace"))
        return _leased(self.place, ran.stdout)

    def to_wire(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of_wire(cls, raw: Mapping[str, Any]) -> LeaseSource:
        return cls(**raw)


class Leased(Value):
    """What the control plane said about a place."""

    definition: Definition
    place: str
    lease: LeaseSpec
    note: str = ""


def _leased(place: str, text: bytes) -> Leased:
    try:
        raw = json.loads(text)
        if raw["version"] != VERSION:
            raise WireError(f"version {raw['version']} of leases is not read here; upgrade both")
        lease = lease_of_wire(**raw["lease"])
        return Leased(from_wire(raw["definition"]), raw["place"], lease, raw["note"])
    except (KeyError, TypeError, ValueError):
        # From None: the cause's frames hold the secrets.
        raise WireError(
            f'the lease for "{place}" cannot be read; use one version of this package'
        ) from None


def _error_of(place: str, stderr: str) -> MountError:
    """The sentence and the exit code of the other process."""
    lines = [line for line in stderr.splitlines() if line.strip()]
    try:
        told = json.loads(lines[-1]) if lines else {}
        message, code = str(told["message"]), int(told["exit_code"])
    except (ValueError, KeyError, TypeError):
        last = redact(lines[-1].removeprefix("Error: ")) if lines else "it said nothing"
        return MountError(f'no lease for "{place}": {last}; see "datastores list"')
    error = MountError(message)
    # The other plane's kinds of trouble keep their codes.
    error.exit_code = code  # type: ignore[misc]  # of this one error
    return error
