"""Jobs that come, go and are killed while daemons are killed: in the end nothing is left."""

from __future__ import annotations

import random
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

from mount.errors import MountError
from tests.mount.daemon.node import Node

SEED = 20261121
ROUNDS = 4
PATHS = 6


def test_a_campaign_of_deaths_leaves_nothing(node: Node) -> None:
    """Whatever is killed when, living jobs read their files, and after the last one all is gone."""
    chance = random.Random(SEED)
    (node.store / "a.txt").write_text("alpha")
    (node.store / "sub").mkdir()
    (node.store / "sub" / "a.txt").write_text("beta")
    daemon = node.start()
    for _ in range(ROUNDS):
        orders = [
            node.order(f"p{number}", place=chance.choice(["", "sub"])) for number in range(PATHS)
        ]
        with ThreadPoolExecutor(PATHS) as pool:
            jobs = list(pool.map(node.job, orders))
        texts = [(order.at / "a.txt").read_text() for order in orders]
        assert texts == ["beta" if order.place else "alpha" for order in orders]

        victims = chance.sample(range(PATHS), PATHS // 2)
        for number in victims:
            jobs[number].send_signal(signal.SIGKILL)
        daemon.send_signal(signal.SIGKILL)
        daemon.wait()
        left = [order for number, order in enumerate(orders) if number not in victims]
        assert {(order.at / "a.txt").read_text() for order in left} <= {"alpha", "beta"}
        daemon = node.start()
        expected = sorted(str(order.at) for order in left)
        node.until(
            lambda: sorted(at for one in node.daemon.status()["mounts"] for at in one["at"]),
            expected,
        )
        for job in jobs:
            job.kill()
            job.wait()
        node.until(node.mounts, [])

    node.until(lambda: node.daemon.status()["mounts"], [])


def test_callers_that_race_are_all_answered(node: Node) -> None:
    """Threads that attach and detach the same few paths at once each get an answer."""
    (node.store / "a.txt").write_text("alpha")
    node.start()
    orders = [node.order(f"p{number}") for number in range(3)]
    answers, refusals, turn = [0], list[str](), threading.Lock()

    def race(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(12):
            order = chance.choice(orders)
            try:
                if chance.random() < 0.5:
                    node.daemon.attach(order, is_owned=False)
                else:
                    node.daemon.detach(order.at, 5)
            except MountError as error:
                with turn:
                    refusals.append(str(error))
            with turn:
                answers[0] += 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(race, range(8)))
    for order in orders:
        if node.daemon.mount_at(order.at):
            node.daemon.detach(order.at, 5)

    assert answers[0] == 8 * 12
    known = ("detached before", "somebody else waits", "nothing is mounted")
    assert [one for one in refusals if not any(words in one for words in known)] == []
    node.until(node.mounts, [])
    assert list((node.home.path / "mounts").iterdir()) == []
