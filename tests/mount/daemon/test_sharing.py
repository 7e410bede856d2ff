"""Every order in which jobs come, leave, die and wait, with hosts that fail, and daemons too."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

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
    Mount,
    OwnerGone,
    Phase,
    Reference,
    Refused,
    ReleaseHost,
    Restarted,
    StartHost,
    State,
    Step,
    StopAsked,
    Unlink,
    Unlinked,
    advance,
)

PATHS = st.sampled_from(["/a", "/b", "/c"])
SHARES = st.sampled_from(["images", "labels"])
OWNERS = st.sampled_from(["1", "2", None])


def play(*events: Event) -> tuple[State, list[Command]]:
    """The state after these events, and the commands of the last one."""
    state = State()
    commands: list[Command] = []
    for event in events:
        state, commands = advance(state, event)
    return state, commands


def test_the_second_job_gets_the_mount_that_is_there() -> None:
    """A second job with the same share starts no second host."""
    state, commands = play(
        Attach("/a", "images", "1"),
        HostStarted("images"),
        Linked("/a"),
        Attach("/b", "images", "2"),
    )

    assert commands == [Link("/b", "images")]
    assert state.mounts == {"images": Mount(Phase.SERVING)}


def test_the_last_one_to_leave_releases_the_mount() -> None:
    """The host is released when the last path is gone, and only then."""
    both = (
        Attach("/a", "images", "1"),
        Attach("/b", "images", "2"),
        HostStarted("images"),
        Linked("/a"),
        Linked("/b"),
        Detach("/a"),
        Unlinked("/a"),
    )

    assert play(*both)[1] == [Detached("/a", "images")]
    assert play(*both, Detach("/b"), Unlinked("/b"))[1] == [ReleaseHost("images")]
    assert play(*both, Detach("/b"), Unlinked("/b"), HostReleased("images")) == (
        State(),
        [Detached("/b", "images")],
    )


def test_who_comes_while_a_mount_goes_gets_the_next_one() -> None:
    """An attach during a release waits for its end and then starts a host."""
    going = (
        Attach("/a", "images", "1"),
        HostStarted("images"),
        Linked("/a"),
        Detach("/a"),
        Unlinked("/a"),
        Attach("/b", "images", "2"),
    )

    assert play(*going)[1] == []
    assert play(*going, HostReleased("images"))[1] == [
        Detached("/a", "images"),
        StartHost("images"),
    ]


def test_a_path_is_handed_on_when_its_last_user_has_left() -> None:
    """A job whose path a dead job still leaves gets it afterwards."""
    _, commands = play(
        Attach("/a", "images", "1"),
        HostStarted("images"),
        Linked("/a"),
        OwnerGone("1"),
        Attach("/a", "labels", "2"),
        Unlinked("/a"),
    )

    assert commands == [ReleaseHost("images"), StartHost("labels")]


def test_a_path_shows_one_thing() -> None:
    """Another job, or another share, at a path in use is refused, and the first one stays."""
    first = (Attach("/a", "images", "1"), HostStarted("images"), Linked("/a"))
    reason = "something else is mounted there; unmount it first"

    assert play(*first, Attach("/a", "labels", "1"))[1] == [Refused("/a", "1", reason)]
    assert play(*first, Attach("/a", "images", "2"))[1] == [Refused("/a", "2", reason)]
    assert play(*first, Attach("/a", "images", "1"))[1] == [Attached("/a")]


def test_a_lost_host_comes_back_at_its_paths() -> None:
    """Paths of a host that died are linked again to its successor, without another answer."""
    _, commands = play(
        Attach("/a", "images", "1"),
        HostStarted("images"),
        Linked("/a"),
        HostLost("images"),
        HostStarted("images"),
    )
    assert commands == [Link("/a", "images")]


def test_a_host_that_is_lost_and_cannot_come_back_refuses_who_was_being_linked() -> None:
    """A path whose mount failed while it was linked is unlinked again and its attach refused."""
    _, commands = play(
        Attach("/a", "images", "1"),
        HostStarted("images"),
        HostLost("images"),
        HostFailed("images", "gone"),
        Linked("/a"),
    )

    assert commands == [Refused("/a", "1", "it was detached before it was there"), Unlink("/a")]


def test_asking_again_while_a_host_is_lost_waits_for_the_next_one() -> None:
    """A repeated attach is answered when the path is there again, not before."""
    lost = (
        Attach("/a", "images", "1"),
        HostStarted("images"),
        Linked("/a"),
        HostLost("images"),
        Attach("/a", "images", "1"),
    )

    assert play(*lost)[1] == []
    assert play(*lost, HostStarted("images"), Linked("/a"))[1] == [Attached("/a")]


def test_the_last_of_several_links_counts() -> None:
    """What an earlier link of the same path reports says nothing about the one that comes."""
    twice = (
        Attach("/a", "images", "1"),
        HostStarted("images"),
        HostLost("images"),
        HostStarted("images"),
        LinkFailed("/a", "its mount has gone"),
    )

    assert play(*twice)[1] == []
    assert play(*twice, Linked("/a"))[1] == [Attached("/a")]


def test_the_next_daemon_keeps_what_it_finds() -> None:
    """After a restart living hosts keep their references; what was half done is undone."""
    linked = Reference("images", "1", Step.LINKED, is_answered=True)
    before = State(
        {
            "images": Mount(Phase.SERVING),
            "labels": Mount(Phase.STARTING),
            "models": Mount(Phase.RELEASING, leavers=("/z",)),
        },
        {
            "/a": linked,
            "/b": Reference("images", "2", Step.LINKING),
            "/c": Reference("labels", "2", Step.WAITING),
        },
    )

    after, commands = advance(before, Restarted(frozenset({"images"})))

    gone = "it was detached before it was there"
    assert after == State(
        {
            "images": Mount(Phase.SERVING),
            "labels": Mount(Phase.STARTING),
            "models": Mount(Phase.RELEASING),
        },
        {"/a": linked, "/b": Reference("images", "2", Step.UNLINKING, is_answered=True)},
    )
    assert commands == [
        Refused("/b", "2", gone),
        Unlink("/b"),
        StartHost("labels"),
        ReleaseHost("models"),
    ]


@dataclass
class World:
    """Hosts and paths as they really are, and the commands nobody has carried out yet."""

    state: State = field(default_factory=State)
    hosts: set[str] = field(default_factory=set)
    paths: dict[str, str] = field(default_factory=dict)
    # Commands about one thing are carried out in the order they were given.
    waiting: dict[str, deque[Command]] = field(default_factory=dict)
    asked: dict[tuple[str, str | None], int] = field(default_factory=dict)
    leaving: set[str] = field(default_factory=set)

    def tell(self, event: Event) -> None:
        self.state, commands = advance(self.state, event)
        for command in commands:
            match command:
                case Attached(at):
                    assert self.paths.get(at) in self.hosts, "told before it was there"
                    self.answer(at, self.state.references[at].owner)
                case Refused(at, owner, _):
                    self.answer(at, owner)
                case Detached(at):
                    self.leaving.discard(at)
                case StartHost(share) | ReleaseHost(share):
                    self.waiting.setdefault(share, deque()).append(command)
                case Link(at, _) | Unlink(at):
                    self.waiting.setdefault(at, deque()).append(command)

    def answer(self, at: str, owner: str | None) -> None:
        self.asked.pop((at, owner), None)

    def obey(self, thing: str, works: bool) -> None:
        """Carry out the oldest command about one thing; starting and linking may fail."""
        command = self.deed(thing, works)
        match command:
            case StartHost(share) if works:
                self.tell(HostStarted(share))
            case StartHost(share):
                self.tell(HostFailed(share, "no such store"))
            case ReleaseHost(share):
                self.tell(HostReleased(share))
            case Link(at, share) if self.paths.get(at) == share:
                self.tell(Linked(at))
            case Link(at):
                self.tell(LinkFailed(at, "no such folder"))
            case Unlink(at):
                self.tell(Unlinked(at))

    def deed(self, thing: str, works: bool) -> Command:
        """What a command does to the world, without the note of it."""
        queue = self.waiting[thing]
        command = queue.popleft()
        if not queue:
            del self.waiting[thing]
        match command:
            case StartHost(share) if works:
                self.hosts.add(share)
            case ReleaseHost(share):
                users = [at for at, shown in self.paths.items() if shown == share]
                assert users == [], "released while in use"
                self.hosts.discard(share)
            case Link(at, share) if works and share in self.hosts:
                self.paths[at] = share
            case Unlink(at):
                self.paths.pop(at, None)
            case _:
                pass
        return command


class Sharing(RuleBasedStateMachine):
    """Jobs, hosts and daemons that come and go in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    @rule(at=PATHS, share=SHARES, owner=OWNERS)
    def attach(self, at: str, share: str, owner: str | None) -> None:
        self.world.asked[at, owner] = 1
        self.world.tell(Attach(at, share, owner))

    @rule(at=PATHS)
    def detach(self, at: str) -> None:
        if at in self.world.state.references:
            self.world.leaving.add(at)
        self.world.tell(Detach(at))

    @rule(owner=st.sampled_from(["1", "2"]))
    def die(self, owner: str) -> None:
        self.world.tell(OwnerGone(owner))

    @precondition(lambda self: self.world.waiting)
    @rule(data=st.data(), works=st.booleans())
    def obey(self, data: st.DataObject, works: bool) -> None:
        self.world.obey(data.draw(st.sampled_from(sorted(self.world.waiting))), works)

    @precondition(lambda self: self.world.hosts)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        share = data.draw(st.sampled_from(sorted(self.world.hosts)))
        mount = self.world.state.mounts.get(share)
        self.world.hosts.discard(share)
        # What shows a dead host is replaced, or taken away, by the next link or unlink.
        for at in [at for at, shown in self.world.paths.items() if shown == share]:
            del self.world.paths[at]
        if mount is not None:
            self.world.tell(HostLost(share))

    @precondition(lambda self: self.world.waiting)
    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        """The daemon is killed: some deeds were done, none was noted, nobody is answered."""
        world = self.world
        for thing in sorted(world.waiting):
            for _ in range(data.draw(st.integers(0, len(world.waiting[thing])))):
                world.deed(thing, works=True)
        world.waiting.clear()
        world.asked.clear()
        world.leaving.clear()
        world.tell(Restarted(frozenset(world.hosts)))

    @rule()
    def stop(self) -> None:
        for at in self.world.state.references:
            self.world.leaving.add(at)
        self.world.tell(StopAsked())

    @invariant()
    def nothing_serves_nobody(self) -> None:
        state = self.world.state
        used = {held.share for held in state.references.values()}
        idle = {share for share, one in state.mounts.items() if one.phase is Phase.SERVING} - used
        assert idle == set(), "a mount nobody uses is kept"
        needed = {
            held.share
            for held in state.references.values()
            # One that is being linked is answered by the end of that.
            if held.step in (Step.WAITING, Step.LINKED)
        }
        assert needed <= set(state.mounts), "a path waits for a mount that nobody starts"
        stuck = [
            at
            for at, held in state.references.items()
            if held.is_leaving and held.step is Step.LINKED
        ]
        assert stuck == [], "a path that was left stays"

    def teardown(self) -> None:
        """However it went: once all is carried out and stopped, nothing is left of anything."""
        world = self.world
        self._drain()
        world.tell(StopAsked())
        self._drain()
        assert world.state == State(is_stopping=True)
        assert (world.hosts, world.paths) == (set(), {})
        assert world.asked == {}, "an attach was never answered"
        assert world.leaving == set(), "a detach was never answered"

    def _drain(self) -> None:
        for _ in range(200):
            if not self.world.waiting:
                return
            self.world.obey(min(self.world.waiting), works=True)
        raise AssertionError("it never comes to rest")


TestSharing = Sharing.TestCase
TestSharing.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)


@given(jobs=st.lists(st.tuples(st.integers(0, 63), SHARES), min_size=1, max_size=64))
@settings(max_examples=50, deadline=None)
def test_any_number_of_jobs_share_as_many_hosts_as_there_are_shares(
    jobs: list[tuple[int, str]],
) -> None:
    """However many attach before the host is up, each share starts one host."""
    state, starts = State(), []
    for number, (at, share) in enumerate(jobs):
        state, commands = advance(state, Attach(f"/{at}", share, str(number)))
        starts += [one.share for one in commands if isinstance(one, StartHost)]

    assert sorted(starts) == sorted({held.share for held in state.references.values()})
