"""The daemon's work: what `sharing` decides is done here, remembered first and answered last."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from datastores.contract import LeaseSpec
from datastores.errors import DatastoresError
from datastores.value import Value
from mount.daemon import memory, paths
from mount.daemon.bounds import ATTACH_SECONDS, LAST_SECONDS, RELEASE_SECONDS
from mount.daemon.home import Home
from mount.daemon.joined import Joined, JoinedJobs
from mount.daemon.lease_source import LeaseSource
from mount.daemon.memory import Memory
from mount.daemon.processes import Watch, name_of
from mount.daemon.renewals import Renewals
from mount.daemon.shares import share_of, shared_order
from mount.daemon.sharing import (
    Attach,
    Attached,
    Command,
    Detach,
    Detached,
    Event,
    HostFailed,
    HostLost,
    HostReleased,
    HostStarted,
    Link,
    Linked,
    LinkFailed,
    OwnerGone,
    Phase,
    Refused,
    ReleaseHost,
    Restarted,
    StartHost,
    State,
    StopAsked,
    Unlink,
    Unlinked,
    advance,
)
from mount.daemon.spools import label_spool
from mount.daemon.strands import Strands
from mount.errors import DaemonUnreachable, MountError, MountRefused
from mount.host.host import Host
from mount.host.order import MountOrder
from mount.host.start import find_host, hosts, start_host

log = logging.getLogger(__name__)

_LOOKS_AT_ONCE = 16


class Meeting(Value):
    """What an attach found; `is_new` unless the path showed it already."""

    share: str
    is_new: bool


class Parting(Value):
    """What a detach found: counters of the mount, and what it did not store."""

    counters: Mapping[str, int | float]
    is_released: bool
    error: DatastoresError | None = None


class Engine:
    """Mounts, references and waiting callers; any thread may call. Made by `Engine.take_over`."""

    def __init__(self, home: Home, spools: Path, known: Memory) -> None:
        self.home = home
        self._spools = spools
        self._strands = Strands()
        self._watch = Watch.begin()
        self._renewals = Renewals(self._renew_now)
        self._joined = JoinedJobs(home)
        # All below: under the turn; it is also told of every change.
        self._turn = threading.Condition()
        self._state = known.state
        self._orders = dict(known.orders)
        self._sources = dict(known.sources)
        self._attaching: dict[tuple[str, str | None], list[Future[None]]] = {}
        self._detaching: dict[str, list[Future[Parting]]] = {}
        self._errors: dict[str, DatastoresError] = {}
        self._bounds: dict[str, float] = {}
        self._partings: dict[str, Parting] = {}
        self._supervisors: dict[str, str] = {}
        self._idle_since = time.monotonic()
        self.forgotten = 0

    @classmethod
    def take_over(cls, home: Home, spools: Path) -> Engine:
        """The engine of this folder, with the hosts and references that are still there."""
        known = memory.load(home.memory)
        engine = cls(home, spools, known)
        engine._tell(Restarted(frozenset(engine._find_alive())))
        engine._release_strays()
        for owner in {one.owner for one in known.state.references.values() if one.owner}:
            engine._watch.add(owner, partial(engine._tell, OwnerGone(owner)))
        for share in known.sources:
            engine._renewals.schedule(share, time.time())
        engine._renewals.start()
        return engine

    def attach(
        self, order: MountOrder, owner_pid: int | None, source: LeaseSource | None = None
    ) -> Meeting:
        """Show the order's mount at its path; the error otherwise."""
        share, at = share_of(order), str(order.at)
        owner = _owner(owner_pid, at)
        future: Future[None] = Future()
        with self._turn:
            is_new = at not in self._state.references
            self._know(share, order, source)
            self._attaching.setdefault((at, owner), []).append(future)
            self._apply(Attach(at, share, owner))
        if owner is not None:
            self._watch.add(owner, partial(self._tell, OwnerGone(owner)))
        try:
            future.result(ATTACH_SECONDS)
        except NotYet:
            self._tell(Detach(at))
            raise MountRefused(at, f"it was not ready within {ATTACH_SECONDS:.0f} s") from None
        return Meeting(share, is_new)

    def withdraw(self, at: str) -> None:
        """Whoever attached this has gone before he was told."""
        self._tell(Detach(at))

    def detach(self, at: str, bound_seconds: float) -> Parting:
        """Take the mount away from the path, and from the node if nobody else uses it."""
        future: Future[Parting] = Future()
        with self._turn:
            held = self._state.references.get(at)
            if held is None:
                raise _not_here(at)
            self._bounds[held.share] = bound_seconds
            self._detaching.setdefault(at, []).append(future)
            self._apply(Detach(at))
        try:
            return future.result(bound_seconds + LAST_SECONDS)
        except NotYet:
            raise DaemonUnreachable(
                f'"{at}" is still being released after {bound_seconds:.0f} s; look at it with '
                f'"datastores-agent status"'
            ) from None

    def renew(self, at: str, lease: LeaseSpec) -> None:
        """The mount at this path goes on with another credential."""
        with self._turn:
            share = self._share_at(at)
            self._orders[share] = replace(self._orders[share], lease=lease)
        self._host(share).renew(lease)

    def host_at(self, at: str) -> Host:
        """The host behind a path."""
        with self._turn:
            return self._host(self._share_at(at))

    def joined(self, at: str) -> Joined:
        """Which part of the notes of its mount is about the job of this path."""
        with self._turn:
            share = self._share_at(at)
        found = self._joined.find(share, at)
        if found is None:
            raise MountError(
                f'what is opened at "{at}" is not noted; attach it as a job, to a mount that can'
            )
        if not found.is_whole:
            raise MountError(
                f'what was opened at "{at}" is not all noted: its host was replaced; run again for it'
            )
        return found

    def mounts(self) -> list[dict[str, Any]]:
        """What is mounted, without asking the hosts."""
        with self._turn:
            state, orders, sources = self._state, dict(self._orders), dict(self._sources)
        return [
            {
                "share": share,
                "phase": one.phase.value,
                "losses": one.losses,
                "at": sorted(at for at, ref in state.references.items() if ref.share == share),
                "source": orders[share].definition.display,
                "datastore": str(orders[share].definition.name),
                "place": orders[share].place,
                "read_only": orders[share].read_only,
                "cache": str(orders[share].cache),
                "spool": str(orders[share].spool),
                "renewed_from": sources[share].place if share in sources else None,
                "renewal_trouble": self._renewals.trouble(share),
            }
            for share, one in sorted(state.mounts.items())
            if share in orders
        ]

    def serving(self) -> list[str]:
        """Shares whose hosts can be asked."""
        with self._turn:
            mounts = self._state.mounts.items()
            return [share for share, one in mounts if one.phase is Phase.SERVING]

    def host_of(self, share: str) -> Host:
        return self._host(share)

    def idle_seconds(self) -> float:
        """How long nothing has been mounted."""
        with self._turn:
            busy = self._state.mounts or self._state.references
            return 0.0 if busy else time.monotonic() - self._idle_since

    def release_all(self, bound_seconds: float) -> bool:
        """Release everything; whether all of it was gone within the bound, and a moment more."""
        with self._turn:
            for share in self._state.mounts:
                self._bounds[share] = bound_seconds
            self._apply(StopAsked())
            return self._turn.wait_for(
                lambda: not self._state.mounts and not self._state.references,
                bound_seconds + LAST_SECONDS,
            )

    def settle(self, seconds: float) -> bool:
        """Whether every deed that was begun has ended, within so many seconds."""
        return self._strands.wait_idle(seconds)

    def close(self) -> None:
        """Let go of everything but the mounts."""
        self._renewals.close()
        self._strands.close()
        self._watch.close()

    def _find_alive(self) -> list[str]:
        """The shares whose hosts answer; each is watched from now on."""

        def look(share: str) -> bool:
            host = find_host(self.home.host_folder(share))
            if host is None:
                return False
            try:
                self._watch_host(share, host)
            except DaemonUnreachable:
                return False
            return True

        shares = list(self._state.mounts)
        # A host that hangs must not hold up those that answer.
        with ThreadPoolExecutor(_LOOKS_AT_ONCE, thread_name_prefix="find") as pool:
            return [
                share for share, found in zip(shares, pool.map(look, shares), strict=True) if found
            ]

    def _know(self, share: str, order: MountOrder, source: LeaseSource | None) -> None:
        self.home.mountpoint(share).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        held = self._orders.get(share)
        if held is None:
            self._orders[share] = shared_order(order, self.home, self._spools)
        elif order.lease is not None:
            # The newcomer's proof is the younger one.
            self._orders[share] = replace(held, lease=order.lease)
            mount = self._state.mounts.get(share)
            if mount is not None and mount.phase is Phase.SERVING:
                lease = order.lease
                self._strands.run(share, lambda: self._host(share).renew(lease))
        if source is not None:
            self._sources[share] = source
            due = order.lease.renew_at if order.lease else None
            if due is not None:
                self._renewals.schedule(share, due)

    def _tell(self, event: Event) -> None:
        with self._turn:
            self._apply(event)

    def _apply(self, event: Event) -> None:
        """Decide, remember, and only then begin; under the turn."""
        self._state, commands = advance(self._state, event)
        for share in set(self._orders) - _wanted(self._state):
            del self._orders[share]
            self._sources.pop(share, None)
            self._bounds.pop(share, None)
            self._renewals.forget(share)
            self._idle_since = time.monotonic()
        self._remember()
        for command in commands:
            self._obey(command)
        self._turn.notify_all()

    def _remember(self) -> None:
        try:
            memory.save(self.home.memory, Memory(self._state, self._orders, self._sources))
        except OSError as error:
            # The mounts are worth more than the memory of them; the metrics tell.
            self.forgotten += 1
            log.warning("state is not saved, and a restart now would forget it: %s", error)

    def _obey(self, command: Command) -> None:
        match command:
            case StartHost(share):
                self._strands.run(share, partial(self._start, share, self._orders[share]))
            case ReleaseHost(share):
                bound = self._bounds.get(share, RELEASE_SECONDS)
                self._strands.run(share, partial(self._release, share, bound))
            case Link(at, share):
                self._strands.run(at, partial(self._link, at, share))
            case Unlink(at):
                share = self._state.references[at].share
                self._strands.run(at, partial(self._unlink, at, share))
            case Attached(at):
                self._answer_attach(at, self._state.references[at].owner, None)
            case Refused(at, owner, reason):
                error = self._errors.get(reason) or MountRefused(at, reason)
                self._answer_attach(at, owner, error)
            case Detached(at, share):
                self._answer_detach(at, share)

    def _start(self, share: str, order: MountOrder) -> None:
        folder = self.home.host_folder(share)
        try:
            host = find_host(folder)
            if host is None:
                # What a killed daemon began, or what does not answer, is in the way.
                Host(folder).release(0)
                self._forget_jobs(share)
                label_spool(order, self._sources.get(share))
                host = start_host(self._with_lease(share, order), folder)
            self._watch_host(share, host)
        except DatastoresError as error:
            reason = str(error)
            with self._turn:
                self._errors[reason] = error
                self._apply(HostFailed(share, reason))
                self._errors.pop(reason, None)
            return
        self._tell(HostStarted(share))

    def _forget_jobs(self, share: str) -> None:
        """What an earlier mount noted is nobody's, unless its users are still here."""
        with self._turn:
            mount = self._state.mounts.get(share)
        if mount is None or not mount.losses:
            self._joined.forget(share)

    def _with_lease(self, share: str, order: MountOrder) -> MountOrder:
        """After a restart of the daemon no lease is known: its source is asked again."""
        source = self._sources.get(share)
        if order.lease is not None or source is None:
            return order
        leased = source.fetch().lease
        if leased.renew_at is not None:
            self._renewals.schedule(share, leased.renew_at)
        return replace(order, lease=leased)

    def _watch_host(self, share: str, host: Host) -> None:
        name = name_of(host.status().pid) or "0.0"
        with self._turn:
            self._supervisors[share] = name
        self._watch.add(name, partial(self._host_ended, share, name))

    def _host_ended(self, share: str, name: str) -> None:
        with self._turn:
            if self._supervisors.get(share) == name:
                del self._supervisors[share]
                log.warning("the host of %s has ended by itself", share)
                self._apply(HostLost(share))

    def _release(self, share: str, bound_seconds: float) -> None:
        with self._turn:
            name = self._supervisors.pop(share, None)
        if name is not None:
            self._watch.remove(name)
        host, error = self._host(share), None
        counters = host.counters()
        self._unlink_rest(share)
        try:
            host.release(bound_seconds)
        except DatastoresError as failed:
            log.warning("%s", failed)
            error = failed
        self._joined.forget(share)
        with suppress(OSError):
            self.home.mountpoint(share).rmdir()
        with self._turn:
            self._partings[share] = Parting(counters, is_released=True, error=error)
            self._apply(HostReleased(share))
            self._partings.pop(share, None)

    def _unlink_rest(self, share: str) -> None:
        try:
            paths.unlink_all(self.home.mountpoint(share))
        except (DatastoresError, OSError) as error:
            # Then the release takes its whole bound, and cuts the connection.
            log.warning("%s is still shown elsewhere: %s", share, error)

    def _link(self, at: str, share: str) -> None:
        self._join(at, share)
        try:
            paths.link(Path(at), self.home.mountpoint(share))
        except DatastoresError as error:
            reason = str(error)
            with self._turn:
                self._errors[reason] = error
                self._apply(LinkFailed(at, reason))
                self._errors.pop(reason, None)
            return
        self._tell(Linked(at))

    def _join(self, at: str, share: str) -> None:
        """Before the path is shown, so that nothing is opened there that is not noted."""
        with self._turn:
            held, order = self._state.references.get(at), self._orders.get(share)
            owners = {one.owner for one in self._state.references.values() if one.share == share}
        if held is not None and order is not None and order.read_only:
            self._joined.join(share, at, held.owner, others=owners != {held.owner})

    def _unlink(self, at: str, share: str) -> None:
        try:
            paths.unlink(Path(at), self.home.mountpoint(share))
        except (DatastoresError, OSError) as error:
            # The host goes all the same, and whoever looks at the path then sees a dead mount.
            log.warning("%s still shows its mount: %s", at, error)
        self._joined.leave(share, at)
        self._tell(Unlinked(at))

    def _answer_attach(self, at: str, owner: str | None, error: DatastoresError | None) -> None:
        for future in self._attaching.pop((at, owner), ()):
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

    def _answer_detach(self, at: str, share: str) -> None:
        waiting = self._detaching.pop(at, ())
        parting = self._partings.get(share)
        if parting is not None or not waiting:
            for future in waiting:
                future.set_result(parting or Parting({}, is_released=True))
            return

        def tell() -> None:
            # Others use the mount still, so its counters are asked for; not under the turn.
            counters = self._host(share).counters()
            for future in waiting:
                future.set_result(Parting(counters, is_released=False))

        self._strands.run(f"counters of {at}", tell)

    def _renew_now(self, share: str) -> float | None:
        """Fetch a lease, give it to the host, and say when the next is due."""
        with self._turn:
            source = self._sources.get(share)
        if source is None:
            return None
        lease = source.fetch().lease
        with self._turn:
            if share not in self._orders:
                return None
            self._orders[share] = replace(self._orders[share], lease=lease)
        self._host(share).renew(lease)
        return lease.renew_at

    def _release_strays(self) -> None:
        """Hosts of this folder that nobody remembers would be there for ever."""
        with self._turn:
            known = set(self._state.mounts)
        for host in hosts(self.home.path / "hosts"):
            if host.folder.name not in known:
                log.warning("%s serves nobody and is released", host.folder.name)
                self._strands.run(host.folder.name, partial(self._release_stray, host))

    def _release_stray(self, host: Host) -> None:
        self._unlink_rest(host.folder.name)
        try:
            host.release(RELEASE_SECONDS)
        except DatastoresError as error:
            log.warning("%s", error)

    def _share_at(self, at: str) -> str:
        held = self._state.references.get(at)
        if held is None or held.share not in self._state.mounts:
            raise _not_here(at)
        return held.share

    def _host(self, share: str) -> Host:
        return Host(self.home.host_folder(share))

    @property
    def state(self) -> State:
        with self._turn:
            return self._state


def _wanted(state: State) -> set[str]:
    """The shares that somebody uses or waits for."""
    held = state.references.values()
    waiting = {one.successor.share for one in held if one.successor}
    return set(state.mounts) | {one.share for one in held} | waiting


def _owner(pid: int | None, at: str) -> str | None:
    if pid is None:
        return None
    name = name_of(pid) if pid else None
    if name is None:
        raise MountRefused(
            at,
            "the process that asks cannot be seen from the daemon; let them share a process "
            "namespace, or mount without an owner",
        )
    return name


def _not_here(at: str) -> MountError:
    return MountError(f'nothing is mounted at "{at}" by this daemon; see "datastores-agent status"')
