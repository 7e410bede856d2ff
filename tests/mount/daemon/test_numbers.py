"""What a mount did is told whole, also when the process that serves it was killed meanwhile."""

from __future__ import annotations

import os
import signal
from typing import Any

from mount.report import summarise
from tests.mount.daemon.node import Node

HEALED = "the mount's process was replaced 1 time, and callers noticed a pause"


def test_metrics_and_the_report_outlive_a_killed_worker(node: Node) -> None:
    """Prometheus and the report at the unmount count what was done before and after a kill."""
    for name in ("before", "after"):
        (node.store / name).write_text("alpha")
    node.start()
    node.daemon.attach(node.order("one"), is_owned=False)
    assert (node.path("one") / "before").read_text() == "alpha"
    node.until(lambda: _totals(node), [1.0, 1.0, 5.0, 0.0])
    worker = _host(node)["worker"]

    os.kill(worker, signal.SIGKILL)
    node.until(lambda: _host(node).get("worker") not in {worker, None}, True)
    assert _totals(node) == [1.0, 1.0, 5.0, 1.0]
    assert (node.path("one") / "after").read_text() == "alpha"

    node.until(lambda: _totals(node), [2.0, 2.0, 10.0, 1.0])
    report = summarise(node.daemon.detach(node.path("one"), 20).counters)
    assert (report.opens, report.bytes_fetched, report.restarts) == (2, 10, 1)
    assert [one.what for one in report.findings] == [HEALED]
    node.until(node.mounts, [])


def _host(node: Node) -> dict[str, Any]:
    """What the host says; nothing while no worker answers."""
    found: dict[str, Any] | None = node.daemon.status()["mounts"][0]["host"]
    return found or {}


def _totals(node: Node) -> list[float]:
    """Opens, files not found in the cache, bytes fetched, and workers replaced."""
    shown = {
        line.partition("{")[0]: line.rpartition(" ")[2]
        for line in node.daemon.metrics().splitlines()
        if "{share=" in line
    }
    names = ("opens", "cache_misses", "bytes_fetched", "restarts")
    return [float(shown.get(f"datastores_mount_{name}_total", -1)) for name in names]
