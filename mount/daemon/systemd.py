"""systemd: the unit, and the few words that Type=notify wants to hear."""

from __future__ import annotations

import os
import socket
import sys
import time

_UNIT = """\
# systemctl enable --now datastores-agent   (as root: /etc/systemd/system/datastores-agent.service;
# for one user: ~/.config/systemd/user/datastores-agent.service and systemctl --user)
[Unit]
Description=Mounts of datastores on this node
Documentation=man:fuse(4)
After=network-online.target
Wants=network-online.target

[Service]
Type=notify
ExecStart={command} daemon --keep-mounts
# New code under running mounts: they go on, and the socket stays open.
ExecReload=/bin/kill -HUP $MAINPID
# Hosts of mounts outlive the daemon, and the next one takes them over.
KillMode=process
Restart=always
RestartSec=1
RuntimeDirectory=datastores-agent
RuntimeDirectoryMode=0700
RuntimeDirectoryPreserve=yes
TimeoutStopSec=90
LimitNOFILE=524288

[Install]
WantedBy=multi-user.target
"""


def unit(command: str | None = None) -> str:
    """The text of a unit file that starts this very program."""
    return _UNIT.format(command=command or f"{sys.executable} -P -m mount.cli")


def notify(*words: str) -> None:
    """Tell systemd, if it is there to listen."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    where = "\0" + address[1:] if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.connect(where)
        sender.sendall("\n".join(words).encode())


def reloading() -> tuple[str, str]:
    """The words before an upgrade; READY=1 ends it."""
    return "RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}"
