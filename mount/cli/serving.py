"""`daemon`: the owner of this node's mounts."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import click
from typing_extensions import override

from mount.cli.options import state_option
from mount.logs import line_formatter

_EPILOG = """
\b
Examples:
  datastores-agent daemon
  datastores-agent daemon --metrics 127.0.0.1:9464
  datastores-agent daemon --print-unit > /etc/systemd/system/datastores-agent.service

\b
Signals: TERM and INT release every mount and end (with --keep-mounts they go on without it);
HUP puts new code in place of this one while mounts and the socket go on.
After kill -9 just start it again: it takes over what is there.
"""


class _Address(click.ParamType):  # type: ignore[type-arg]  # generic only in newer clicks
    """HOST:PORT, or off."""

    name = "host:port|off"

    @override
    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int] | None:
        if isinstance(value, tuple):
            return value
        text = str(value)
        if text == "off":
            return None
        host, _, port = text.rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65535:
            self.fail(f'"{text}" is no HOST:PORT; write for instance 127.0.0.1:9464', param, ctx)
        return host.strip("[]"), int(port)


@click.command("daemon", epilog=_EPILOG)
@click.option(
    "--socket",
    "socket_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The control socket, if not in the folder of --state.",
)
@state_option
@click.option(
    "--metrics",
    type=_Address(),
    default="off",
    show_default=True,
    help="Where numbers for Prometheus are served besides the control socket's /metrics.",
)
@click.option("--keep-mounts", is_flag=True, help="At the end, leave the mounts as they are.")
@click.option(
    "--release-seconds",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    help="At the end, how long written data may take to its store.",
)
@click.option("--idle-exit", type=click.FloatRange(min=0), help="End after so long without mounts.")
@click.option("--print-unit", is_flag=True, help="Print a systemd unit and end.")
@click.option("--inherited", type=int, nargs=2, hidden=True)
@click.option("--rehearse", is_flag=True, hidden=True)
def daemon_command(
    socket_path: Path | None,
    state: Path | None,
    metrics: tuple[str, int] | None,
    keep_mounts: bool,
    release_seconds: float,
    idle_exit: float | None,
    print_unit: bool,
    inherited: tuple[int, int] | None,
    rehearse: bool,
) -> int:
    """Own this node's mounts: share them between jobs, keep them when jobs and daemons die.

    One per node and user. Jobs and "datastores-agent mount" find it by themselves; a mount that two
    jobs ask for is made once and fetched once.
    """
    from mount.daemon import memory
    from mount.daemon.home import Home, default_home
    from mount.daemon.serve import Inherited, Settings, serve
    from mount.daemon.systemd import unit
    from mount.places import spool_folder

    if print_unit:
        click.echo(unit(), nl=False)
        return 0
    path = (state or default_home()).absolute()
    home = Home.at(path, socket_path.absolute() if socket_path else None)
    if rehearse:
        memory.load(home.memory)
        return 0
    again = [sys.executable, "-P", "-m", "mount.cli", "daemon", "--state", str(path)]
    again += ["--socket", str(home.socket_path), "--release-seconds", str(release_seconds)]
    again += ["--metrics", f"{metrics[0]}:{metrics[1]}"] if metrics else []
    again += ["--keep-mounts"] if keep_mounts else []
    again += ["--idle-exit", str(idle_exit)] if idle_exit is not None else []
    settings = Settings(
        home, spool_folder(), tuple(again), metrics, keep_mounts, release_seconds, idle_exit
    )
    _speak()
    return serve(settings, Inherited(*inherited) if inherited else None)


def _speak() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(line_formatter("%(asctime)s %(levelname)s %(message)s"))
    top = logging.getLogger("mount")
    top.addHandler(handler)
    top.setLevel(logging.INFO)
