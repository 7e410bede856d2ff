"""The pure parts, over everything Hypothesis can think of."""

from __future__ import annotations

import fnmatch
import heapq
import itertools
import math
import zlib
from pathlib import Path

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from datastores.transfer.checksum import ALGORITHMS
from datastores.transfer.globs import Globs
from datastores.transfer.hosts import HostBudget
from datastores.transfer.journal import Binding, opening_line, range_line, replay
from datastores.transfer.pace import Pace
from datastores.transfer.ranges import block_bytes, plan_ranges, range_bytes
from datastores.transfer.records import Record, Records

TIB = 1 << 40
quick = settings(print_blob=True, deadline=None)


class TestRanges:
    @quick
    @given(size=st.integers(1, 32 << 30))
    @example(TIB)
    def test_ranges_cover_an_object_exactly_once(self, size: int) -> None:
        """Ranges are in order, touch, and together are the object; a TiB needs at most 16,384."""
        at, count = 0, 0
        for piece in plan_ranges(size, range_bytes(size)):
            assert (piece.index, piece.start, piece.length > 0) == (count, at, True)
            at, count = at + piece.length, count + 1

        assert at == size
        assert count <= 16_384

    @quick
    @given(
        size=st.integers(1, 200 * TIB),
        largest=st.integers(1 << 20, 4000 << 20),
        most=st.integers(1, 50_000),
    )
    def test_blocks_respect_what_the_service_takes(
        self, size: int, largest: int, most: int
    ) -> None:
        """Blocks are few enough and small enough, or the answer is that it cannot be done."""
        length = block_bytes(size, largest, most)

        if length:
            assert length <= largest
            assert -(-size // length) <= most
        else:
            assert largest * most < size


class TestJournal:
    binding = Binding("origin", 100, "v1", 8, "xxh3")

    @quick
    @given(
        notes=st.lists(st.tuples(st.integers(0, 10**5), st.integers(0, 2**64 - 1)), max_size=30),
        cut=st.integers(0, 10**4),
    )
    def test_a_cut_journal_tells_a_prefix_of_the_truth(
        self, notes: list[tuple[int, int]], cut: int
    ) -> None:
        """Wherever a journal is torn, what it still proves is what its whole lines said."""
        lines = [opening_line(self.binding), *(range_line(*note) for note in notes)]
        text = b"".join(lines)
        cut = min(cut, len(text))

        known = replay(text[:cut])

        whole = 0
        while whole < len(lines) and len(b"".join(lines[: whole + 1])) <= cut:
            whole += 1
        assert known.length == len(b"".join(lines[:whole]))
        assert known.binding == (self.binding if whole else None)
        assert known.ranges == dict(notes[: max(0, whole - 1)])

    @quick
    @given(
        notes=st.lists(st.tuples(st.integers(0, 99), st.integers(0, 2**64 - 1)), min_size=1),
        at=st.integers(0, 10**4),
        flip=st.integers(1, 255),
    )
    def test_a_damaged_byte_never_invents_a_range(
        self, notes: list[tuple[int, int]], at: int, flip: int
    ) -> None:
        """With any byte changed, every range still claimed is one that was written."""
        text = bytearray(
            b"".join([opening_line(self.binding), *(range_line(*note) for note in notes)])
        )
        text[at % len(text)] ^= flip

        known = replay(bytes(text))

        assert set(known.ranges.items()) <= set(notes)
        assert known.binding in (None, self.binding)

    @quick
    @given(st.binary(max_size=200))
    def test_garbage_proves_nothing(self, garbage: bytes) -> None:
        """Bytes that are no journal are not read as one."""
        assert replay(garbage).binding is None


class TestChecksums:
    @quick
    @given(pieces=st.lists(st.binary(max_size=50), max_size=8))
    def test_sums_do_not_depend_on_how_the_bytes_came(self, pieces: list[bytes]) -> None:
        """Every algorithm gives for pieces what it gives for the whole, and tells a flip."""
        whole = b"".join(pieces)
        for begin in ALGORITHMS.values():
            by_piece, at_once, flipped = begin(), begin(), begin()
            for piece in pieces:
                by_piece.update(piece)
            at_once.update(whole)
            flipped.update(whole[:-1] + bytes([whole[-1] ^ 1]) if whole else b"x")

            assert by_piece.intdigest() == at_once.intdigest() != flipped.intdigest()

    def test_the_one_that_is_always_there_is_known(self) -> None:
        """Sums written where the fast algorithm is missing can be checked everywhere."""
        assert "crc32" in ALGORITHMS


class TestRecords:
    names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)

    @settings(quick, max_examples=30)
    @given(written=st.lists(st.tuples(names, st.integers(0, 2**50)), max_size=40))
    def test_the_latest_record_of_a_name_is_found(
        self, tmp_path_factory: object, written: list[tuple[str, int]]
    ) -> None:
        """After any sequence of records, each name finds its last one, and others find none."""
        folder = Path(tmp_path_factory.mktemp("records"))  # type: ignore[attr-defined]
        records = Records.open(folder)
        for name, size in written:
            records.add(Record(name, "o", size, "v", size, 8, (size % 2**32,)))
        records.close()

        again = Records.open(folder)
        found = {name: again.find(name) for name, _ in written}
        missing = again.find("never written" * 5)
        again.close()

        assert {name: record and record.size for name, record in found.items()} == dict(written)
        assert missing is None

    def test_names_that_share_one_crc_are_told_apart(self, tmp_path: Path) -> None:
        """Two names of equal length and equal CRC-32 each find their own record."""
        first, second = _names_with_one_crc()
        records = Records.open(tmp_path)
        for size, name in enumerate((first, second)):
            records.add(Record(name, "o", size, "v", 0))

        found = [records.find(name) for name in (first, second)]
        records.close()

        assert [record and record.name for record in found] == [first, second]


def _names_with_one_crc() -> tuple[str, str]:
    seen: dict[int, str] = {}
    for number in itertools.count():
        name = f"train/{number:07d}.jpg"
        if (other := seen.setdefault(zlib.crc32(name.encode()), name)) != name:
            return other, name
    raise AssertionError("there is always another number")


class TestGlobs:
    segment = st.text("ab.[]-!*?^&|~", min_size=1, max_size=5)

    @quick
    @given(pattern=segment, name=st.text("ab.-[]!", min_size=1, max_size=5))
    def test_one_segment_patterns_mean_what_fnmatch_means(self, pattern: str, name: str) -> None:
        """Without slashes, stars and sets agree with the standard library's reading."""
        # `**` and `./` are ours; `^` negates here as it does in a shell, which fnmatch does not do.
        assume("**" not in pattern and "^" not in pattern and not pattern.startswith("./"))
        # fnmatch drops a backward range, we take its characters; and an empty set differs.
        assume("-" not in pattern or "[" not in pattern)

        admitted = Globs.compile((pattern,), ()).admits(name)

        assert admitted == fnmatch.fnmatchcase(name, pattern)

    @quick
    @given(
        pattern=st.text("ab/*?[]-!^.~&|", min_size=1, max_size=12), name=st.text("ab/", max_size=9)
    )
    def test_every_pattern_has_a_meaning(self, pattern: str, name: str) -> None:
        """Any text is a pattern; including it and excluding it admit nothing."""
        assert not Globs.compile((pattern,), (pattern,)).admits(name)

    def test_the_examples_of_the_documentation(self) -> None:
        """`*` stays in a folder, `**` crosses, a folder's name means what is in it."""
        cases = {
            ("*.txt", "a.txt"): True,
            ("*.txt", "d/a.txt"): True,
            ("d/*.txt", "d/a.txt"): True,
            ("d/*.txt", "d/e/a.txt"): False,
            ("d/**/*.txt", "d/e/f/a.txt"): True,
            ("d/**/*.txt", "d/a.txt"): True,
            ("d/", "d/e/a"): True,
            ("d", "x/d/a"): True,
            ("/d", "d/a"): True,
            ("d/e", "x/d/e"): False,
            ("[ab]", "a"): True,
            ("[!ab]", "a"): False,
        }

        got = {case: Globs.compile((case[0],), ()).admits(case[1]) for case in cases}

        assert got == cases


class Network:
    """A service with a round trip, a bandwidth and a number of requests it answers at once."""

    def __init__(self, round_trip: float, most_at_once: int) -> None:
        self.round_trip = round_trip
        self.most_at_once = most_at_once

    def rate(self, streams: int) -> float:
        """Requests per second with so many under way."""
        return min(streams, self.most_at_once) / self.round_trip


def drive(
    pace: Pace, network: Network, seconds: float, now: float = 0.0, *, cores: float = 0.1
) -> float:
    """Let the pace steer a simulated transfer that keeps so many cores busy; the clock afterwards."""
    end = now + seconds
    while now < end:
        now += 1 / network.rate(pace.allowed)
        pace.done(now, 100_000, pace.allowed, now * cores)
    return now


def drive_connections(pace: Pace, round_trip: float, seconds: float) -> None:
    """Let the pace steer streams that make a connection before their first request."""
    ends: list[float] = []
    connections, now = 0, 0.0
    while now < seconds:
        while len(ends) < pace.allowed:
            is_new = connections <= len(ends)
            connections += is_new
            heapq.heappush(ends, now + round_trip * (1 + is_new))
        now = heapq.heappop(ends)
        pace.done(now, 100_000, len(ends) + 1, now * 0.1)


class TestPace:
    @settings(quick, max_examples=15)
    @given(
        round_trip=st.floats(0.02, 0.2),
        most_at_once=st.integers(4, 160),
    )
    def test_it_finds_most_of_what_the_network_can_do(
        self, round_trip: float, most_at_once: int
    ) -> None:
        """After half a minute the rate is at least 70 % of the best there is."""
        pace, network = Pace(), Network(round_trip, most_at_once)

        drive(pace, network, 30)

        assert network.rate(pace.allowed) >= 0.7 * network.rate(pace.most)

    @quick
    @given(
        events=st.lists(
            st.one_of(
                st.tuples(st.just("done"), st.floats(0, 2), st.integers(0, 10**9)),
                st.tuples(st.just("throttled"), st.floats(0, 2), st.integers(0, 30)),
            ),
            max_size=200,
        )
    )
    def test_it_stays_within_its_bounds(self, events: list[tuple[str, float, int]]) -> None:
        """Whatever happens, between `least` and `most` requests are allowed."""
        pace, now = Pace(), 0.0
        for kind, elapsed, value in events:
            now += elapsed
            if kind == "done":
                pace.done(now, value, pace.allowed)
            else:
                pace.throttled(now, float(value))

            assert pace.least <= pace.allowed <= pace.most

    @settings(quick, max_examples=15)
    @given(retry_after=st.floats(0.5, 60), limit=st.floats(8, 100))
    def test_throttling_halves_once_and_forbids_growth(
        self, retry_after: float, limit: float
    ) -> None:
        """A burst of refusals halves the pace once, and nothing grows until the pause is over."""
        pace, network = Pace(limit=limit), Network(0.01, 500)
        for _ in range(20):
            pace.throttled(0.0, retry_after)
        halved = pace.allowed

        drive(pace, network, min(retry_after, 5.0) - 0.1)

        assert (halved, pace.allowed) == (max(2, int(limit / 2)), halved)

    def test_it_recovers_after_throttling(self) -> None:
        """Some time after a refusal the pace is back where the network is used well."""
        pace, network = Pace(limit=64), Network(0.02, 64)
        pace.throttled(0.0, 1.0)

        drive(pace, network, 60)

        assert network.rate(pace.allowed) >= 0.7 * network.rate(64)

    def test_more_streams_that_bring_nothing_are_given_up(self) -> None:
        """Where eight do all there is to do, the pace does not wander off to the maximum."""
        pace, network = Pace(), Network(0.01, 8)

        drive(pace, network, 60)

        assert pace.allowed <= 16

    def test_a_busy_processor_needs_few_streams(self) -> None:
        """Where the processor is the limit and four do as well, it is four within a third of a second."""
        pace = Pace()

        drive(pace, Network(0.001, 4), 0.35, cores=0.9)

        assert pace.allowed <= 4

    def test_a_busy_processor_that_can_do_more_is_used(self) -> None:
        """Where fewer streams move less, a busy processor does not reduce them."""
        pace, network = Pace(), Network(0.005, 100)

        drive(pace, network, 60, cores=0.9)

        assert network.rate(pace.allowed) >= 0.7 * network.rate(100)

    def test_what_is_far_away_gets_many_streams_soon(self) -> None:
        """From a host 100 ms away, 200 ms on a new connection, 128 requests are made within 2 s."""
        pace = Pace()

        drive_connections(pace, 0.1, 2.0)

        assert pace.allowed >= 128

    def test_a_change_of_hands_is_not_taken_for_the_effect_of_more_streams(self) -> None:
        """While all connections are made anew, what was under trial is not judged, but tried again."""
        pace = Pace(limit=32.0)
        drive_connections(pace, 0.1, 0.5)
        tried = pace.allowed

        pace.disturb()
        drive_connections(pace, 0.1, 1.5)

        assert tried < pace.allowed == pace.most

    def test_no_more_streams_than_requests_can_be_made_meanwhile(self) -> None:
        """Other processes begin with what the quickest request leaves room for, near and far."""
        near, far, unknown = HostBudget(Pace()), HostBudget(Pace()), HostBudget(Pace())

        near.share(2, 0.001)
        far.share(2, 0.1)
        unknown.share(2, math.inf)

        assert [one.allowed for one in (near, far, unknown)] == [6, 16, 16]

    def test_a_start_does_not_lead_to_many_streams(self) -> None:
        """While every window is better than the last one anyway, a busy processor is not filled."""
        pace, now = Pace(), 0.0
        while now < 3.0:
            # Half a second of beginning, then what a busy processor can do, with however many.
            now += 1 / (200 + 3800 * min(1.0, now / 0.5))
            pace.done(now, 100_000, pace.allowed, now * 0.7)

        assert pace.allowed <= 16

    def test_a_busy_start_does_not_slow_down_what_is_far_away(self) -> None:
        """A processor that is busy with the start alone does not take requests from a slow network."""
        pace, network = Pace(), Network(0.1, 200)
        least, now = pace.allowed, 0.0
        while now < 5.0:
            now += 1 / network.rate(pace.allowed)
            pace.done(now, 100_000, pace.allowed, min(now, 0.5))
            least = min(least, pace.allowed)

        assert least == 16
        assert network.rate(pace.allowed) >= 0.7 * network.rate(200)

    def test_a_share_of_the_work_never_becomes_less(self) -> None:
        """When more processes join, the processor time of each goes on from where it was."""
        told: list[float] = []

        class Noting(Pace):
            def done(
                self, now: float, moved: int, busy: int, spent: float = 0.0, requests: int = 1
            ) -> None:
                told.append(spent)

        spent = 4.0
        budget = HostBudget(Noting(), clock=lambda: 0.0, spent=lambda: spent)
        budget.done(1)
        budget.share(2, 0.1)
        budget.done(1)
        budget.helped(1.0, 0)
        budget.done(1)

        assert told == [4.0, 4.0, 4.5]
