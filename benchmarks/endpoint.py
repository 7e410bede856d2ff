"""An Azure Blob endpoint that is faster than anything it serves.

nginx moves the bytes in both directions; a small process behind it, the desk, answers what needs
thought. One endpoint is started for every run, so that every run meets the same connection numbers
(see `faults`) and leaves its own log, from which requests and bytes are counted.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.address import Address
from benchmarks.delay import Delay
from benchmarks.faults import Faults
from benchmarks.listing import ETAG
from benchmarks.sink import Sink
from benchmarks.tools import Tools
from benchmarks.workloads import MODIFIED_TEXT

_REPOSITORY = Path(__file__).resolve().parent.parent
_START_SECONDS = 10.0
_BROKEN = ("500", "502", "504")
_MISSING = (
    '<?xml version="1.0" encoding="utf-8"?><Error><Code>BlobNotFound</Code>'
    "<Message>The specified blob does not exist.</Message></Error>"
)
_CONFIGURATION = """
{modules}
user root;
daemon off;
worker_processes {workers};
pid {run}/nginx.pid;
error_log {run}/error.log warn;
events {{ worker_connections 4096; }}
http {{
  log_format counts '$route $status $request_length $content_length $body_bytes_sent';
  access_log {run}/access.log counts buffer=256k;
  client_body_temp_path {spool};
  client_max_body_size 0;
  client_body_buffer_size 256k;
  large_client_header_buffers 8 64k;
  proxy_temp_path {run}/proxy;
  fastcgi_temp_path {run}/fastcgi;
  uwsgi_temp_path {run}/uwsgi;
  scgi_temp_path {run}/scgi;
  default_type application/octet-stream;
  server_tokens off;
  etag off;
  sendfile on;
  sendfile_max_chunk 2m;
  keepalive_requests 100000000;
  keepalive_timeout 600s;
  open_file_cache max=1000 inactive=60s;
  map $http_x_ms_range $wanted {{ "" $http_range; default $http_x_ms_range; }}
  map "$doomed $request_method $arg_comp $arg_restype" $route {{
    "~^1 " @busy;
    "~^0 {reads}  $" @blob;
    "~^0 PUT  $" @whole;
    "~^0 PUT block $" @block;
    default @desk;
  }}
  {faults}
  {delay}
  upstream desk {{ server unix:{run}/desk.sock; keepalive 32; }}
  server {{
    listen 127.0.0.1:{port} reuseport backlog=4096;
    more_clear_input_headers If-Match If-None-Match If-Unmodified-Since If-Modified-Since;
    more_set_input_headers "Range: $wanted";
    more_set_headers 'ETag: "{etag}"' 'Last-Modified: {modified}' 'x-ms-version: 2021-12-02'
      'x-ms-request-id: $request_id' 'x-ms-client-request-id: $http_x_ms_client_request_id'
      'x-ms-blob-type: BlockBlob' 'x-ms-creation-time: {modified}' 'x-ms-lease-status: unlocked'
      'x-ms-lease-state: available' 'x-ms-server-encrypted: true'
      'x-ms-request-server-encrypted: true';
    location / {{ {sleep} echo_exec $route; }}
    location @blob {{
      root {blobs};
      rewrite ^/[^/]+(/.*)$ $1 break;
      try_files $uri =404;
      error_page 404 @missing;
    }}
    location @whole {{
      root {blobs};
      rewrite ^/[^/]+(/.*)$ $1 break;
      dav_methods PUT;
      create_full_put_path on;
    }}
    location @block {{
      root {blocks};
      rewrite ^/[^/]+(/.*)$ $1/$arg_blockid break;
      dav_methods PUT;
      create_full_put_path on;
    }}
    location @desk {{
      proxy_pass http://desk;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffers 16 256k;
      proxy_buffer_size 256k;
      proxy_busy_buffers_size 512k;
    }}
    location @missing {{
      more_set_headers 'Content-Type: application/xml' 'x-ms-error-code: BlobNotFound';
      return 404 '{missing}';
    }}
    location @busy {{ {busy} }}
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What one run asked for and got, as the endpoint counted it."""

    requests: int
    refused: int
    # Answers with which the endpoint confesses a fault of its own.
    broken: int
    bytes_out: int
    bytes_in: int
    cpu_seconds: float
    errors: Sequence[str]


class Endpoint:
    """The endpoint for one run; a context manager that leaves no process behind."""

    def __init__(
        self,
        tools: Tools,
        sink: Sink,
        run: Path,
        *,
        frozen: bool,
        delay: Delay | None = None,
        faults: Faults | None = None,
    ) -> None:
        self.address = Address(free_port())
        self.delay = delay or Delay()
        self._faults = faults or Faults()
        self._tools, self._sink, self._run, self._frozen = tools, sink, run, frozen
        self._processes: list[subprocess.Popen[bytes]] = []
        self._cpu_seconds = 0.0

    def __enter__(self) -> Self:
        shutil.rmtree(self._run, ignore_errors=True)
        self._run.mkdir(parents=True)
        spool = self._sink.folder / "spool"
        spool.mkdir(parents=True, exist_ok=True)
        self._sink.prepare(self.address.container)
        configuration = self._run / "nginx.conf"
        configuration.write_text(self._render(spool))
        mode = "frozen" if self._frozen else "filling"
        folder, desk = str(self._sink.folder), str(self._run / "desk.sock")
        try:
            self._start([sys.executable, "-m", "benchmarks.desk", desk, folder, mode])
            self._start(
                [
                    *(str(self._tools.nginx), "-p", str(self._run), "-c", str(configuration)),
                    *("-e", str(self._run / "error.log")),
                ],
                self._tools.environment,
            )
            self._await_answer()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def _render(self, spool: Path) -> str:
        modules = ("ngx_http_headers_more_filter_module.so", "ngx_http_echo_module.so")
        folder = self._tools.nginx_modules
        return _CONFIGURATION.format(
            modules="\n".join(f"load_module {folder}/{module};" for module in modules),
            workers=os.cpu_count(),
            run=self._run,
            spool=spool,
            # Blobs made of blocks are known by size only (see `sink`); whoever reads one is refused.
            reads="(GET|HEAD)" if self._frozen else "HEAD",
            faults=self._faults.render(),
            busy=self._faults.render_answer(),
            delay=self.delay.render(),
            sleep=self.delay.render_sleep(),
            port=self.address.port,
            etag=ETAG,
            modified=MODIFIED_TEXT,
            blobs=self._sink.blobs,
            blocks=self._sink.blocks,
            missing=_MISSING,
        )

    def _start(self, command: list[str], environment: dict[str, str] | None = None) -> None:
        # The desk must be reachable before nginx starts, but nginx connects lazily: no order needed.
        log = (self._run / "output.log").open("ab")
        with log:
            self._processes.append(
                subprocess.Popen(
                    [*self.delay.prefix, *command],
                    cwd=_REPOSITORY,
                    env={**os.environ, **(environment or {})},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            )

    def _await_answer(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        # The pid file appears once nginx listens; asking over the network would number a connection.
        while not ((self._run / "nginx.pid").exists() and (self._run / "desk.sock").exists()):
            dead = any(process.poll() is not None for process in self._processes)
            if dead or time.monotonic() > deadline:
                raise SystemExit(f"the endpoint did not start:\n{self._words()}")
            time.sleep(0.005)

    def _errors(self) -> list[str]:
        """What it complained of, missing files aside: asking for those is a client's right."""
        lines = self._words().splitlines()
        return [line for line in lines if "No such file or directory" not in line]

    def _words(self) -> str:
        logs = (self._run / name for name in ("output.log", "error.log"))
        return "".join(log.read_text(errors="replace") for log in logs if log.exists())

    def _stop(self) -> None:
        for process in reversed(self._processes):
            if process.returncode is None:
                # `terminate` would reap one that has ended by itself, and its CPU time with it.
                os.kill(process.pid, signal.SIGTERM)
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
                self._cpu_seconds += usage.ru_utime + usage.ru_stime

    def count_traffic(self) -> Traffic:
        """What went through; complete once the endpoint has stopped."""
        requests = refused = broken = bytes_out = bytes_in = 0
        with (self._run / "access.log").open() as log:
            for line in log:
                route, status, length, declared, body = line.split()
                requests += 1
                broken += status in _BROKEN
                if not status.startswith("2"):
                    refused += 1
                elif route in ("@whole", "@block"):
                    # A chunked request declares no length; then its headers are counted with it.
                    bytes_in += int(length if declared == "-" else declared)
                elif route == "@blob":
                    bytes_out += int(body)
        return Traffic(
            requests, refused, broken, bytes_out, bytes_in, self._cpu_seconds, self._errors()
        )


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port
