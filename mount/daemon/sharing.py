"""Who uses which mount, and what that means for hosts and paths. Decides only, does nothing.

A mount is known by its share: everything that must agree before two jobs may use one mount.
A reference is known by its path: one path shows one thing.
Every command is answered by an event; commands about one path, or about one share, are obeyed in
the order they were given, and that is all the order there is. Every attach is answered by `Attached`
or `Refused`, every detach by `Detached`. A command may be given twice (after a crash between the
deed and the note of it, after a lost host), so whoever obeys makes "done already" a success.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from datastores.value import Value, field

# A host that is lost this often has a reason that another start does not cure.
MOST_LOSSES = 5


class Phase(enum.Enum):
    """How far a mount's host is."""

    STARTING = "starting"
    SERVING = "serving"
    RELEASING = "releasing"


class Step(enum.Enum):
    """How far a path is."""

    WAITING = "waiting"
    LINKING = "linking"
    LINKED = "linked"
    UNLINKING = "unlinking"


class Mount(Value):
    """One host; `leavers` are paths whose detach is answered when it is released."""

    phase: Phase
    losses: int = 0
    leavers: tuple[str, ...] = ()


class Attach(Value):
    """Somebody wants the share at a path; without an owner it stays until it is detached."""

    at: str
    share: str
    owner: str | None = None


class Reference(Value):
    """One path; `successor` wants it once the one who leaves has gone."""

    share: str
    owner: str | None
    step: Step
    is_leaving: bool = False
    # Its attach was answered; what happens later is nobody's request any more.
    is_answered: bool = False
    successor: Attach | None = None
    # It was answered, its host was lost, and somebody asked again.
    is_awaited: bool = False
    # Links that were ordered and not reported yet; the last report counts.
    links: int = 0


class State(Value):
    """Everything that has to be remembered."""

    mounts: Mapping[str, Mount] = field(default_factory=dict)
    references: Mapping[str, Reference] = field(default_factory=dict)
    is_stopping: bool = False


class Detach(Value):
    """A path is not needed any more."""

    at: str


class OwnerGone(Value):
    """A process ended without detaching."""

    owner: str


class HostStarted(Value):
    """The mount answers."""

    share: str


class HostFailed(Value):
    """The mount cannot be had, or had back."""

    share: str
    reason: str


class HostLost(Value):
    """The host ended without being asked to."""

    share: str


class HostReleased(Value):
    """The host is gone, as it was asked to."""

    share: str


class Linked(Value):
    """The path shows the mount."""

    at: str


class LinkFailed(Value):
    """The path cannot show the mount, and shows nothing of it."""

    at: str
    reason: str


class Unlinked(Value):
    """The path shows the mount no more."""

    at: str


class StopAsked(Value):
    """Everything is to be released; nothing new is attached."""


class Restarted(Value):
    """Another daemon takes over; `alive` are the shares whose hosts it found serving."""

    alive: frozenset[str]


class StartHost(Value):
    share: str


class ReleaseHost(Value):
    share: str


class Link(Value):
    at: str
    share: str


class Unlink(Value):
    at: str


class Attached(Value):
    """Answers the attach of this path."""

    at: str


class Refused(Value):
    """Answers the attach of this path by this owner."""

    at: str
    owner: str | None
    reason: str


class Detached(Value):
    """Answers every detach of this path."""

    at: str
    share: str


Event: TypeAlias = (
    Attach
    | Detach
    | OwnerGone
    | HostStarted
    | HostFailed
    | HostLost
    | HostReleased
    | Linked
    | LinkFailed
    | Unlinked
    | StopAsked
    | Restarted
)
Command: TypeAlias = StartHost | ReleaseHost | Link | Unlink | Attached | Refused | Detached


def advance(state: State, event: Event) -> tuple[State, list[Command]]:  # noqa: C901  # a line each
    """What an event means; events that come too late mean nothing."""
    book = _Book(dict(state.mounts), dict(state.references), state.is_stopping, [])
    match event:
        case Attach():
            book.attach(event)
        case Detach(at):
            book.detach(at)
        case OwnerGone(owner):
            book.owner_gone(owner)
        case HostStarted(share):
            book.started(share)
        case HostFailed(share, reason):
            book.failed(share, reason)
        case HostLost(share):
            book.lost(share)
        case HostReleased(share):
            book.released(share)
        case Linked(at):
            book.linked(at)
        case LinkFailed(at, reason):
            book.link_failed(at, reason)
        case Unlinked(at):
            book.unlinked(at)
        case StopAsked():
            book.stop()
        case Restarted(alive):
            book.restarted(alive)
    return State(book.mounts, book.references, book.is_stopping), book.commands


@dataclass(slots=True)
class _Book:
    """A state on its way to the next one."""

    mounts: dict[str, Mount]
    references: dict[str, Reference]
    is_stopping: bool
    commands: list[Command]

    def attach(self, wish: Attach) -> None:
        held = self.references.get(wish.at)
        if self.is_stopping:
            self._refuse(wish, "the daemon is stopping")
        elif held is None:
            self._begin(wish)
        elif _is_leaving(held):
            if held.successor is not None and held.successor != wish:
                self._refuse(wish, "somebody else waits for this path already")
            else:
                self.references[wish.at] = replace(held, successor=wish)
        elif (held.share, held.owner) != (wish.share, wish.owner):
            self._refuse(wish, "something else is mounted there; unmount it first")
        elif held.step is Step.LINKED:
            self.commands.append(Attached(wish.at))
        else:
            self.references[wish.at] = replace(held, is_awaited=True)

    def detach(self, at: str) -> None:
        held = self.references.get(at)
        if held is None:
            return
        if held.successor is not None:
            self._refuse(held.successor, "it was detached before it was there")
            held = replace(held, successor=None)
            self.references[at] = held
        match held.step:
            case Step.WAITING:
                self._call_off(at, held)
            case Step.LINKING:
                self.references[at] = replace(held, is_leaving=True)
            case Step.LINKED:
                self._unlink(at, held)
            case Step.UNLINKING:
                pass

    def owner_gone(self, owner: str) -> None:
        for at, held in list(self.references.items()):
            if held.owner == owner and not _is_leaving(held):
                self.detach(at)
            elif held.successor is not None and held.successor.owner == owner:
                self._refuse(held.successor, "its owner has ended")
                self.references[at] = replace(held, successor=None)

    def started(self, share: str) -> None:
        mount = self.mounts.get(share)
        if mount is None or mount.phase is not Phase.STARTING:
            return
        self.mounts[share] = replace(mount, phase=Phase.SERVING)
        for at, held in list(self.references.items()):
            # One that was being linked when an earlier host was lost is linked again.
            if held.share == share and held.step in (Step.WAITING, Step.LINKING):
                self.references[at] = replace(held, step=Step.LINKING, links=held.links + 1)
                self.commands.append(Link(at, share))
        self._release_unused(share)

    def failed(self, share: str, reason: str) -> None:
        mount = self.mounts.get(share)
        if mount is None or mount.phase is not Phase.STARTING:
            return
        del self.mounts[share]
        for at, held in self._waiting(share):
            if held.is_answered:
                # It was there once: what is left at its path has to go.
                self._unlink(at, held)
            else:
                del self.references[at]
                self._refuse(Attach(at, share, held.owner), reason)

    def lost(self, share: str) -> None:
        mount = self.mounts.get(share)
        if mount is None or mount.phase is not Phase.SERVING:
            # Whoever starts or releases it reports what became of it.
            return
        self.mounts[share] = Mount(Phase.STARTING, mount.losses + 1)
        for at, held in self.references.items():
            if held.share == share and held.step is Step.LINKED:
                self.references[at] = replace(held, step=Step.WAITING)
        if mount.losses + 1 >= MOST_LOSSES:
            self.failed(share, f"its host ended {MOST_LOSSES} times")
        else:
            self.commands.append(StartHost(share))

    def released(self, share: str) -> None:
        mount = self.mounts.get(share)
        if mount is None or mount.phase is not Phase.RELEASING:
            return
        del self.mounts[share]
        for at in mount.leavers:
            self.commands.append(Detached(at, share))
        if self._waiting(share):
            self._start(share)

    def linked(self, at: str) -> None:
        held = self._reported(at)
        if held is None:
            return
        mount = self.mounts.get(held.share)
        if held.is_leaving or mount is None:
            self._unlink(at, held)
        elif mount.phase is Phase.STARTING:
            # The host was lost meanwhile: linked again when the next one serves.
            self.references[at] = replace(held, step=Step.WAITING)
        else:
            if _is_asked(held):
                self.commands.append(Attached(at))
            self.references[at] = replace(
                held, step=Step.LINKED, is_answered=True, is_awaited=False
            )

    def link_failed(self, at: str, reason: str) -> None:
        held = self._reported(at)
        if held is None:
            return
        mount = self.mounts.get(held.share)
        if mount is not None and mount.phase is Phase.STARTING and not held.is_leaving:
            self.references[at] = replace(held, step=Step.WAITING)
            return
        if _is_asked(held):
            self._refuse(Attach(at, held.share, held.owner), reason)
        self._gone(at, held)

    def unlinked(self, at: str) -> None:
        held = self.references.get(at)
        if held is not None and held.step is Step.UNLINKING:
            self._gone(at, held)

    def stop(self) -> None:
        self.is_stopping = True
        for at in list(self.references):
            self.detach(at)

    def restarted(self, alive: frozenset[str]) -> None:
        self.is_stopping = False
        for at, held in list(self.references.items()):
            self._resume(at, replace(held, successor=None, is_awaited=False, links=0))
        for share, before in list(self.mounts.items()):
            mount = self.mounts[share] = replace(before, leavers=())
            if mount.phase is Phase.RELEASING:
                self.commands.append(ReleaseHost(share))
            elif share in alive:
                self.mounts[share] = replace(mount, phase=Phase.STARTING)
                self.started(share)
            elif mount.phase is Phase.SERVING:
                self.lost(share)
            else:
                self.commands.append(StartHost(share))
        for share in list(self.mounts):
            self._release_unused(share)

    def _resume(self, at: str, held: Reference) -> None:
        """Whoever was not answered lost the connection with the daemon that ended."""
        self.references[at] = held
        if held.step is Step.WAITING and not held.is_answered:
            del self.references[at]
        elif held.step in (Step.LINKING, Step.UNLINKING) or held.is_leaving:
            if held.is_answered and not _is_leaving(held):
                self.references[at] = replace(held, step=Step.WAITING)
            else:
                self._unlink(at, held)

    def _begin(self, wish: Attach) -> None:
        mount = self.mounts.get(wish.share)
        is_serving = mount is not None and mount.phase is Phase.SERVING
        step = Step.LINKING if is_serving else Step.WAITING
        self.references[wish.at] = Reference(wish.share, wish.owner, step, links=int(is_serving))
        if is_serving:
            self.commands.append(Link(wish.at, wish.share))
        elif mount is None:
            self._start(wish.share)

    def _start(self, share: str) -> None:
        self.mounts[share] = Mount(Phase.STARTING)
        self.commands.append(StartHost(share))

    def _call_off(self, at: str, held: Reference) -> None:
        if held.is_answered:
            self._unlink(at, held)
            return
        del self.references[at]
        self._refuse(Attach(at, held.share, held.owner), "it was detached before it was there")
        self.commands.append(Detached(at, held.share))

    def _unlink(self, at: str, held: Reference) -> None:
        if _is_asked(held):
            self._refuse(Attach(at, held.share, held.owner), "it was detached before it was there")
        self.references[at] = replace(held, step=Step.UNLINKING, is_answered=True, is_awaited=False)
        self.commands.append(Unlink(at))

    def _gone(self, at: str, held: Reference) -> None:
        del self.references[at]
        mount = self.mounts.get(held.share)
        if mount is not None and mount.phase is Phase.SERVING and not self._users(held.share):
            self.mounts[held.share] = replace(mount, leavers=(*mount.leavers, at))
            self._release_unused(held.share)
        else:
            self.commands.append(Detached(at, held.share))
        if held.successor is not None:
            self.attach(held.successor)

    def _reported(self, at: str) -> Reference | None:
        """The path whose linking has ended; None while a later link is still to come."""
        held = self.references.get(at)
        if held is None or held.step is not Step.LINKING:
            return None
        held = self.references[at] = replace(held, links=held.links - 1)
        return None if held.links > 0 else held

    def _release_unused(self, share: str) -> None:
        mount = self.mounts.get(share)
        if mount is not None and mount.phase is Phase.SERVING and not self._users(share):
            self.mounts[share] = replace(mount, phase=Phase.RELEASING)
            self.commands.append(ReleaseHost(share))

    def _refuse(self, wish: Attach, reason: str) -> None:
        self.commands.append(Refused(wish.at, wish.owner, reason))

    def _users(self, share: str) -> bool:
        return any(held.share == share for held in self.references.values())

    def _waiting(self, share: str) -> list[tuple[str, Reference]]:
        return [
            (at, held)
            for at, held in self.references.items()
            if held.share == share and held.step is Step.WAITING
        ]


def _is_leaving(held: Reference) -> bool:
    return held.is_leaving or held.step is Step.UNLINKING


def _is_asked(held: Reference) -> bool:
    return held.is_awaited or not held.is_answered
