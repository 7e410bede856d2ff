"""A node of its own for one test: a daemon as a real process, a store, and jobs that attach."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from datastores.contract import LeaseSpec
from datastores.definitions import Definition, LocalFolder
from datastores.names import DatastoreName
from mount.agent.mounting import MountWish
from mount.daemon.client import Daemon
from mount.daemon.home import Home
from mount.daemon.orders import CacheWish, order_of
from mount.errors import DaemonUnreachable
from mount.fuse import device
from mount.fuse.mounts import parse_mountinfo
from mount.host.order import MountOrder
from mount.host.start import hosts

ROOT = Path(__file__).parents[3]
WAIT_SECONDS = 60.0

# A job: attaches as its owner, says so, and lives until it is told to end or is killed.
JOB = """
import sys
from pathlib import Path
from mount.daemon.client import Daemon, DaemonMounter
from mount.daemon.home import Home
from mount.host.order import order_from_json
daemon = Daemon(Home.at(Path(sys.argv[1])))
daemon.attach(order_from_json(sys.stdin.readline()), is_owned=True)
print("ready", flush=True)
sys.stdin.readline()
"""


@dataclass
class Node:
    """Folders, the daemon's environment, and every process the test started."""

    root: Path
    environment: dict[str, str]
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    @classmethod
    def make(cls, root: Path) -> Node:
        (root / "store").mkdir()
        (root / "run").mkdir()
        environment = {
            **os.environ,
            "XDG_RUNTIME_DIR": str(root / "run"),
            # Root would find this machine's own daemon, if there is one.
            "DATASTORES_AGENT_STATE": str(root / "run" / "datastores-agent"),
            "DATASTORES_CACHE": str(root / "cache"),
            "DATASTORES_SPOOL": str(root / "spool"),
            "PYTHONPATH": str(ROOT),
        }
        return cls(root, environment)

    @property
    def home(self) -> Home:
        return Home.at(self.root / "run" / "datastores-agent")

    @property
    def daemon(self) -> Daemon:
        return Daemon(self.home)

    @property
    def store(self) -> Path:
        return self.root / "store"

    def start(self, *options: str, before: Sequence[str] = ()) -> subprocess.Popen[str]:
        """A daemon that answers."""
        process = self.spawn("daemon", *options, before=before)
        assert process.stderr is not None
        assert self.line(process.stderr.fileno(), "serving"), "the daemon does not come up"
        return process

    def spawn(self, *arguments: str, before: Sequence[str] = ()) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*before, sys.executable, "-m", "mount.cli", *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def line(self, fd: int, word: str) -> bool:
        """Whether this word comes on a stream before its end, in time."""
        deadline, text = time.monotonic() + WAIT_SECONDS, b""
        while select.select([fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
            piece = os.read(fd, 1)
            if not piece:
                return False
            text = b"" if piece == b"\n" else text + piece
            if text.endswith(word.encode()):
                return True
        return False

    def job(self, order: MountOrder) -> subprocess.Popen[str]:
        """A process that has attached and lives on."""
        from mount.host.order import order_to_json

        process = subprocess.Popen(
            [sys.executable, "-c", JOB, str(self.home.path)],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(order_to_json(order) + "\n")
        process.stdin.flush()
        assert self.line(process.stdout.fileno(), "ready"), "the job does not get its mount"
        return process

    def order(
        self,
        name: str,
        *,
        place: str = "",
        definition: Definition | None = None,
        lease: LeaseSpec | None = None,
        is_writable: bool = False,
    ) -> MountOrder:
        """The node's store, or another, at the path `at/<name>`."""
        shown = definition or LocalFolder(DatastoreName("disk"), str(self.store))
        wish = MountWish(name, shown, place, self.path(name), is_writable, lease)
        return order_of(wish, CacheWish(self.root / "cache", 1 << 30))

    def path(self, name: str) -> Path:
        return self.root / "at" / name

    def mounts(self) -> list[str]:
        """What the kernel has mounted below this node's folder."""
        lines = parse_mountinfo(Path("/proc/self/mountinfo").read_text())
        return sorted(
            one.mountpoint.removeprefix(f"{self.root}/")
            for one in lines
            if one.mountpoint.startswith(f"{self.root}/")
        )

    def until(self, holds: object, wanted: object) -> None:
        """Wait until a call gives this; no event tells what other processes do."""
        deadline = time.monotonic() + WAIT_SECONDS
        assert callable(holds)
        while (found := holds()) != wanted:
            assert time.monotonic() < deadline, f"{found!r} and not {wanted!r}"
            time.sleep(0.02)

    def close(self) -> None:
        # Daemons that came by themselves are nobody's children here.
        with suppress(DaemonUnreachable):
            self.daemon.stop(keep_mounts=False)
            self.until(lambda: self.home.is_taken, False)
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            with process:
                process.wait(WAIT_SECONDS)
        with suppress(OSError):
            for host in hosts(self.home.path / "hosts"):
                host.release(5)
        for place in reversed(self.mounts()):
            device.unmount(str(self.root / place), lazy=True)
