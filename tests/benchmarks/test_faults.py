"""Failures and delays as the web server is told of them."""

from __future__ import annotations

from benchmarks.delay import Delay, Means
from benchmarks.faults import Faults


def test_without_failures_nothing_is_doomed() -> None:
    """No share, no dice."""
    assert Faults().render() == "map $connection $doomed { default 0; }"


def test_fate_hangs_on_seed_connection_and_request() -> None:
    """Another seed dooms other requests; the share is what was asked for."""
    one, other = Faults(5.0, 1).render(), Faults(5.0, 2).render()

    assert one != other
    assert '"1/$connection/$connection_requests"' in one
    assert "5.0% 1;" in one


def test_a_new_connection_costs_a_second_round_trip() -> None:
    """The first request on a connection waits for the handshake as well."""
    delay = Delay(20, Means.SERVER)

    assert delay.render() == "map $connection_requests $wait { 1 0.04; default 0.02; }"
    assert delay.render_sleep() == "echo_sleep $wait;"


def test_where_the_kernel_delays_the_server_does_not() -> None:
    """Nobody waits twice."""
    assert [Delay(20, Means.KERNEL).render(), Delay(0).render(), Delay(0).render_sleep()] == [
        ""
    ] * 3
