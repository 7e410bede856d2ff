"""A daemon as a real process: jobs that share, die and stay, and a daemon that dies or changes."""

from __future__ import annotations

import json
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from datastores.errors import PermissionDenied
from mount.agent.mounting import MountWish
from mount.daemon.client import DaemonMounter, find_daemon
from mount.daemon.orders import CacheWish
from mount.errors import DaemonUnreachable, MountError, MountRefused
from mount.host.order import order_to_json
from tests.mount.daemon.conftest import Cloud
from tests.mount.daemon.node import Node
from tests.servers.fault_proxy import Kind

SHARED = "run/datastores-agent/mounts/"
# What a container without the device sees, in a mount namespace of its own.
WITHOUT_FUSE = (
    "unshare",
    "--mount",
    "sh",
    "-c",
    'mount --bind /dev/null /dev/fuse && exec "$@"',
    "sh",
)


def test_two_jobs_share_one_mount_and_fetch_each_object_once(node: Node, cloud: Cloud) -> None:
    """The second job's mount is the first one's, and its reads ask the store for nothing."""
    cloud.write("train/a.bin", b"alpha" * 1000)
    node.start()
    orders = [
        node.order(name, place="train", definition=cloud.definition, lease=cloud.lease)
        for name in ("one", "two")
    ]
    cloud.proxy.forget()

    jobs = [node.job(order) for order in orders]
    read = [(node.path(name) / "a.bin").read_bytes() for name in ("one", "two")]

    assert read == [b"alpha" * 1000] * 2
    assert [one.key.endswith("train/a.bin") for one in cloud.proxy.seen(Kind.GET)] == [True]
    assert len([one for one in node.mounts() if one.startswith(SHARED)]) == 1
    assert all(job.poll() is None for job in jobs)


def test_a_killed_job_leaves_no_mount(node: Node) -> None:
    """When the last job is killed without a word, its path and the mount go away."""
    node.start()
    jobs = [node.job(node.order("one")), node.job(node.order("two"))]

    jobs[0].send_signal(signal.SIGKILL)
    node.until(lambda: [one for one in node.mounts() if one.startswith("at/")], ["at/two"])
    jobs[1].send_signal(signal.SIGKILL)

    node.until(node.mounts, [])
    node.until(lambda: node.daemon.status()["mounts"], [])


def test_a_daemon_that_was_killed_is_followed_by_one_that_knows_everything(node: Node) -> None:
    """After kill -9 the mount goes on, and the next daemon has its hosts and its references."""
    (node.store / "a.txt").write_text("alpha")
    daemon = node.start()
    job = node.job(node.order("one"))
    node.daemon.attach(node.order("two"), is_owned=False)
    before = node.daemon.status()["mounts"][0]["host"]["pid"]

    daemon.kill()
    daemon.wait()
    assert (node.path("one") / "a.txt").read_text() == "alpha"
    node.start()

    found = node.daemon.status()["mounts"]
    assert [(one["at"], one["host"]["pid"]) for one in found] == [
        ([str(node.path("one")), str(node.path("two"))], before)
    ]
    node.daemon.detach(node.path("two"), 10)
    job.kill()
    node.until(node.mounts, [])


def test_a_job_that_died_while_no_daemon_ran_is_noticed_by_the_next(node: Node) -> None:
    """References of owners that ended meanwhile are dropped at the start."""
    daemon = node.start()
    job = node.job(node.order("one"))

    daemon.kill()
    daemon.wait()
    job.kill()
    job.wait()
    node.start()

    node.until(node.mounts, [])


def test_new_code_takes_over_while_a_reader_reads(node: Node) -> None:
    """During an upgrade no read fails, no request is refused, and the process stays the same."""
    (node.store / "a.txt").write_text("alpha")
    daemon = node.start()
    node.daemon.attach(node.order("one"), is_owned=False)
    since = node.daemon.health()["since"]
    over = threading.Event()

    def read() -> set[str]:
        seen = set()
        while not over.is_set():
            seen.add((node.path("one") / "a.txt").read_text())
            seen.add(str(node.daemon.health()["pid"]))
        return seen

    with ThreadPoolExecutor() as pool:
        reader = pool.submit(read)
        node.daemon.upgrade()
        node.until(lambda: node.daemon.health()["since"] > since, True)
        over.set()
        assert reader.result(60) == {"alpha", str(daemon.pid)}

    assert [one["at"] for one in node.daemon.status()["mounts"]] == [[str(node.path("one"))]]


def test_code_that_does_not_start_takes_nothing_over(node: Node) -> None:
    """An upgrade to a state that cannot be read is refused, and the old daemon goes on."""
    node.start()
    node.daemon.attach(node.order("one"), is_owned=False)
    since = node.daemon.health()["since"]
    text = node.home.memory.read_text()
    node.home.memory.write_text("{")

    node.daemon.upgrade()
    process = node.processes[0]
    assert process.stderr is not None

    assert node.line(process.stderr.fileno(), "no upgrade")
    assert node.daemon.health()["since"] == since
    node.home.memory.write_text(text)


def test_a_notice_releases_everything(node: Node) -> None:
    """SIGTERM stores what was written, unmounts everything, and ends with exit code 0."""
    daemon = node.start()
    node.daemon.attach(node.order("one", is_writable=True), is_owned=False)
    with (node.path("one") / "model.bin").open("wb") as file:
        file.write(b"weights")

    daemon.terminate()

    assert daemon.wait(60) == 0
    assert (node.mounts(), (node.store / "model.bin").read_bytes()) == ([], b"weights")


def test_a_notice_can_leave_the_mounts(node: Node) -> None:
    """With --keep-mounts the end of the daemon is not the end of a mount."""
    daemon = node.start("--keep-mounts")
    node.daemon.attach(node.order("one"), is_owned=False)
    before = node.mounts()

    daemon.terminate()

    assert (daemon.wait(60), node.mounts()) == (0, before)


def test_a_second_daemon_is_refused(node: Node) -> None:
    """One folder has one daemon, and the refusal says how to ask it."""
    node.start()

    second = node.spawn("daemon")
    _, text = second.communicate(timeout=60)

    assert second.returncode == 20
    assert 'ask it with "datastores-agent status"' in text


def test_many_clients_at_once(node: Node) -> None:
    """64 clients that attach at once all have the one mount, and nothing is left after them."""
    (node.store / "a.txt").write_text("alpha")
    node.start()
    orders = [node.order(f"job-{number}") for number in range(64)]

    with ThreadPoolExecutor(64) as pool:
        shares = set(pool.map(lambda one: node.daemon.attach(one, is_owned=False), orders))
        texts = {(order.at / "a.txt").read_text() for order in orders}
        count = len([one for one in node.mounts() if one.startswith(SHARED)])
        left = list(pool.map(lambda one: node.daemon.detach(one.at, 10), orders))

    assert (len(shares), texts, count) == (1, {"alpha"}, 1)
    assert [one.is_released for one in left].count(True) >= 1
    assert (node.mounts(), node.daemon.status()["mounts"]) == ([], [])


def test_what_differs_is_not_shared(node: Node) -> None:
    """Another place, or writing, is another mount."""
    (node.store / "sub").mkdir()
    node.start()

    shares = [
        node.daemon.attach(order, is_owned=False)
        for order in (
            node.order("one"),
            node.order("two", place="sub"),
            node.order("three", is_writable=True),
            replace(node.order("four"), umask=0o077),
        )
    ]

    assert len(set(shares)) == 4


def test_a_stranger_is_refused(node: Node) -> None:
    """Even where the socket's permissions let him connect, another user is told no."""
    node.start()
    for path in (node.root, *node.root.parents[:-2], node.root / "run", node.home.path):
        path.chmod(0o711 if path != node.home.path else 0o755)
    node.home.socket_path.chmod(0o666)

    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgid(65534)
            os.setuid(65534)
            node.daemon.status()
            os.write(theirs, b"answered")
        except PermissionDenied as error:
            os.write(theirs, str(error).encode())
        except BaseException as error:  # noqa: BLE001  # the child ends here, whatever happens
            os.write(theirs, repr(error).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    said = os.read(ours, 4096).decode()
    os.close(ours)
    os.close(theirs)

    assert "user 65534 does not own it" in said


def test_the_socket_is_for_its_owner(node: Node) -> None:
    """Socket and folder have no permissions for anybody else."""
    node.start()

    modes = [path.stat().st_mode & 0o777 for path in (node.home.socket_path, node.home.path)]
    assert modes == [0o600, 0o700]


def test_a_host_that_is_gone_for_good_comes_back_at_its_paths(node: Node) -> None:
    """When a supervisor is killed with its worker, the paths work again with a new host."""
    (node.store / "a.txt").write_text("alpha")
    node.start()
    node.daemon.attach(node.order("one"), is_owned=False)
    host = node.daemon.status()["mounts"][0]["host"]

    os.kill(host["pid"], signal.SIGKILL)
    os.kill(host["worker"], signal.SIGKILL)

    def is_back() -> bool:
        found = node.daemon.status()["mounts"]
        return bool(found and found[0]["host"] and found[0]["host"]["pid"] != host["pid"])

    node.until(is_back, True)
    node.until(lambda: node.daemon.mount_at(node.path("one"))["phase"], "serving")  # type: ignore[index]  # it is there

    def read() -> str:
        try:
            return (node.path("one") / "a.txt").read_text()
        except OSError as error:
            return str(error)

    node.until(read, "alpha")
    node.daemon.detach(node.path("one"), 10)
    assert node.mounts() == []


def test_a_host_that_nobody_remembers_is_released(node: Node) -> None:
    """When the state is lost, the next daemon releases the hosts it finds and does not know."""
    daemon = node.start()
    node.daemon.attach(node.order("one"), is_owned=False)
    daemon.kill()
    daemon.wait()
    node.home.memory.unlink()

    node.start()

    node.until(node.mounts, [])


def test_what_cannot_be_mounted_says_why(node: Node) -> None:
    """The host's own error reaches the caller, and nothing is left of the attempt."""
    (node.store / "a.txt").write_text("alpha")
    node.start()

    with pytest.raises(MountRefused, match="it is a single file"):
        node.daemon.attach(node.order("one", place="a.txt"), is_owned=False)

    node.until(lambda: node.daemon.status()["mounts"], [])
    assert node.mounts() == []


def test_a_path_that_is_taken_is_refused(node: Node) -> None:
    """Another mount at a path in use is refused, and the first goes on."""
    (node.store / "sub").mkdir()
    node.start()
    node.daemon.attach(node.order("one"), is_owned=False)

    with pytest.raises(MountRefused, match="something else is mounted there"):
        node.daemon.attach(replace(node.order("one", place="sub")), is_owned=False)

    assert (node.path("one") / "sub").is_dir()


def test_the_agent_mounts_through_the_daemon(
    node: Node, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wish becomes a path; counters, renewal and release work on it, and twice is fine."""
    cloud.write("a.txt", b"alpha")
    node.start()
    mounter = find_daemon(node.home, CacheWish(node.root / "cache", 1 << 30))
    assert mounter is not None
    assert mounter.refusal() is None

    made = mounter.mount(MountWish("in", cloud.definition, "", node.path("in"), True, cloud.lease))
    read = (node.path("in") / "a.txt").read_bytes()
    (node.path("in") / "b.txt").write_bytes(b"beta")
    made.renew(cloud.lease)
    fetched = made.counters()["bytes_fetched"]
    made.release(20)
    made.release(20)

    assert (read, cloud.read("b.txt"), fetched) == (b"alpha", b"beta", 5)
    assert (made.trouble(), made.counters()["opens"]) == (None, 2)
    assert node.mounts() == []


def test_a_job_can_release_what_a_dead_daemon_mounted(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the daemon is gone at the end of a job, its successor releases the job's mount."""
    for name, value in node.environment.items():
        monkeypatch.setenv(name, value)
    daemon = node.start()
    made = DaemonMounter(node.daemon).mount(
        MountWish("in", node.order("in").definition, "", node.path("in"), False)
    )
    daemon.kill()
    daemon.wait()

    made.release(20)

    assert node.mounts() == []


def test_an_attach_whose_caller_has_gone_is_taken_back(node: Node) -> None:
    """A command that is interrupted while it mounts leaves no mount behind."""
    node.start()
    connection = node.home.connect(10)
    body = json.dumps(
        {"order": order_to_json(node.order("one")), "owned": False, "source": None}
    ).encode()
    head = f"POST /attach HTTP/1.0\r\nContent-Length: {len(body)}\r\n\r\n".encode()

    connection.sendall(head + body)
    connection.close()

    process = node.processes[0]
    assert process.stderr is not None
    assert node.line(process.stderr.fileno(), "its caller has gone")
    node.until(node.mounts, [])
    node.until(lambda: node.daemon.status()["mounts"], [])


def test_without_a_daemon_none_is_found(node: Node) -> None:
    """Where nothing listens, none is found, and asking says how to start one."""
    assert find_daemon(node.home) is None
    with pytest.raises(DaemonUnreachable, match="datastores-agent daemon"):
        node.daemon.status()
    assert DaemonMounter(node.daemon).refusal() is not None


def test_a_daemon_without_the_device_says_so(node: Node) -> None:
    """Without FUSE the daemon lives, and tells the agent to download instead."""
    node.start(before=WITHOUT_FUSE)
    mounter = find_daemon(node.home)
    assert mounter is not None

    refusal = mounter.refusal()

    assert refusal is not None
    assert refusal.endswith("download instead")


def test_numbers_for_prometheus(node: Node) -> None:
    """The metrics name each mount and count what was done; on TCP only what was asked for."""
    (node.store / "a.txt").write_text("alpha")
    node.start()
    node.daemon.attach(node.order("one"), is_owned=False)
    (node.path("one") / "a.txt").read_text()
    share = node.daemon.status()["mounts"][0]["share"]

    lines = node.daemon.metrics().splitlines()

    label = f'{{share="{share}",datastore="disk"}}'
    assert f"datastores_mount_up{label} 1" in lines
    assert f"datastores_mount_opens_total{label} 1" in lines
    assert "# TYPE datastores_mount_opens_total counter" in lines


def test_what_is_unknown_is_refused_with_what_is_known(node: Node) -> None:
    """A path that is not mounted is an error that names it."""
    node.start()

    with pytest.raises(MountError, match="nothing is mounted at"):
        node.daemon.detach(Path("/nowhere"), 1)
