"""Databases and logs: SQLite, TensorBoard's event files, Python's logging."""

from __future__ import annotations

import logging.handlers
import os
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tests.mount.frameworks.working import Places, names

COUNT = "select count(*), sum(length(b)) from t"
WRITE_ROWS = """
import sqlite3, sys
with sqlite3.connect(sys.argv[1], timeout=60) as db:
    for _ in range(20):
        db.execute("insert into t(b) values ('other')")
        db.commit()
db.close()
"""
READ_EVENTS = """
import sys
from tests.mount.frameworks.work.logs import follow
with open(sys.argv[1], "rb") as file:
    for _ in sys.stdin:
        print([event.decode() for event in follow(file)], flush=True)
"""


def sqlite_journals(places: Places) -> None:
    """Commit, roll back, read and check with every rollback journal."""
    for mode in ("delete", "truncate", "persist", "memory"):
        path = places.here / f"{mode}.db"
        with_rows(path, mode)
        assert checked(places.there / path.name) == ((500, 100_000), "ok")


def sqlite_two_programs(places: Places) -> None:
    """Two programs of one machine write in turns, and no row is lost."""
    path = places.here / "shared.db"
    db = sqlite3.connect(path, timeout=60)
    db.execute("create table t(a integer primary key, b)")
    db.commit()
    with subprocess.Popen([sys.executable, "-c", WRITE_ROWS, str(path)]) as other:
        for _ in range(20):
            db.execute("insert into t(b) values ('this.')")
            db.commit()
        assert other.wait(60) == 0
    db.close()
    assert checked(places.there / "shared.db") == ((40, 200), "ok")


def sqlite_wal(places: Places) -> None:
    """The write-ahead log works for programs of one machine; closing folds it into the file."""
    with_rows(places.here / "wal.db", "wal")
    assert names(places.there) == ["wal.db"]
    assert checked(places.there / "wal.db") == ((500, 100_000), "ok")


def with_rows(path: Path, mode: str) -> None:
    db = sqlite3.connect(path)
    assert db.execute(f"pragma journal_mode={mode}").fetchone()[0] == mode
    db.execute("create table t(a integer primary key, b)")
    db.commit()
    for _ in range(5):
        db.executemany("insert into t(b) values (?)", [("x" * 200,)] * 200)
        db.commit()
    db.execute("delete from t where a % 2")
    db.commit()
    db.execute("update t set b = 1")
    db.rollback()
    second = sqlite3.connect(path)
    assert second.execute(COUNT).fetchone() == (500, 100_000)
    second.close()
    db.close()


def checked(path: Path) -> tuple[tuple[int, int], str]:
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return db.execute(COUNT).fetchone(), db.execute("pragma integrity_check").fetchone()[0]
    finally:
        db.close()


def tensorboard_events(places: Places) -> None:
    """Event records are followed by a reader while they are appended, and all arrive."""
    path = places.here / "logs" / "events.out.tfevents.1.host"
    path.parent.mkdir()
    command = [sys.executable, "-c", READ_EVENTS, str(path)]
    with path.open("wb") as file:
        append(file, b"first")
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        ) as reader:
            assert reader.stdin
            assert reader.stdout
            for step in range(5):
                append(file, b"step %d" % step)
                reader.stdin.write("look\n")
                reader.stdin.flush()
                want = [f"step {step}"] if step else ["first", "step 0"]
                assert reader.stdout.readline() == f"{want}\n"
            reader.stdin.close()
            assert reader.wait(20) == 0
        os.fsync(file.fileno())
        assert len(events(places.there / "logs" / path.name)) == 6
        append(file, b"last")
    with path.open("ab") as file:
        append(file, b"resumed")
    want_all = [b"first", *(b"step %d" % step for step in range(5)), b"last", b"resumed"]
    assert events(path) == want_all


def events(path: Path) -> list[bytes]:
    with path.open("rb") as file:
        return list(follow(file))


def append(file: BinaryIO, event: bytes) -> None:
    """One record as TensorBoard's writer frames it: length, its check sum, bytes, theirs."""
    length = struct.pack("<Q", len(event))
    file.write(length + masked(length) + event + masked(event))
    file.flush()


def follow(file: BinaryIO) -> Iterator[bytes]:
    """The whole records from here on; the file stands behind the last of them."""
    while True:
        start = file.tell()
        head = file.read(12)
        if len(head) == 12:
            (length,) = struct.unpack_from("<Q", head)
            assert masked(head[:8]) == head[8:]
            body = file.read(length + 4)
            if len(body) == length + 4:
                assert masked(body[:length]) == body[length:]
                yield body[:length]
                continue
        file.seek(start)
        return


def masked(data: bytes) -> bytes:
    """TFRecord's check sum: CRC-32C, turned and shifted."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def rotating_logs(places: Places) -> None:
    """Python's rotating log handler renames full logs and goes on."""
    handler = logging.handlers.RotatingFileHandler(
        places.here / "run.log", maxBytes=2000, backupCount=3
    )
    log = logging.getLogger("rotating")
    log.propagate = False
    log.addHandler(handler)
    for number in range(150):
        log.warning("line %d of a log that is long enough to be turned over", number)
    handler.close()
    logs = ["run.log", "run.log.1", "run.log.2", "run.log.3"]
    assert names(places.there) == logs
    lines = [
        line for name in reversed(logs) for line in (places.there / name).read_text().splitlines()
    ]
    assert lines[-1] == "line 149 of a log that is long enough to be turned over"
    assert len(lines) > 100
