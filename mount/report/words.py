"""Numbers as people read them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mount.report.report import Report

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def bytes_in_words(size: float) -> str:
    """12 B, 3.4 MiB, 120 GiB."""
    at = 0
    while size >= 1024 and at < len(_UNITS) - 1:
        size, at = size / 1024, at + 1
    return f"{size:.0f} {_UNITS[at]}" if at == 0 or size >= 100 else f"{size:.1f} {_UNITS[at]}"


def share_in_words(share: float | None) -> str:
    """71 %, or a dash where nothing was counted."""
    return "-" if share is None else f"{share * 100:.0f} %"


def in_words(report: Report) -> Iterator[str]:
    """The report as lines for a terminal."""
    yield (
        f"read {bytes_in_words(report.bytes_read)}, fetched {bytes_in_words(report.bytes_fetched)} "
        f"in {report.requests:,} requests, wrote {bytes_in_words(report.bytes_written)}"
    )
    yield (
        f"files in the cache when opened: {share_in_words(report.hit_rate)}; read by the kernel "
        f"itself: {share_in_words(report.passthrough_share)}; callers waited "
        f"{report.blocked_seconds:.1f} s"
    )
    yield (
        f"read ahead for nothing: {share_in_words(report.ahead_waste)}; not stored yet: "
        f"{bytes_in_words(report.dirty_bytes)}; host replaced {report.restarts:,} times"
    )
    for finding in report.findings:
        yield f"- {finding.what}" + (f"; {finding.advice}" if finding.advice else "")
