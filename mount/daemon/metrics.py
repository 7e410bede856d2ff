"""The daemon's numbers in the text format that Prometheus reads. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from datastores.value import Value

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_PREFIX = "datastores_"


class Metric(Value):
    """One name with its values; labels are pairs."""

    name: str
    kind: str  # "counter" or "gauge"
    words: str
    values: Sequence[tuple[Mapping[str, str], float]]


# Counter of a host -> kind and what it means; a name that is not here is not shown.
_OF_MOUNT = {
    "opens": ("counter", "Files opened."),
    "backed_opens": ("counter", "Opens whose bytes the kernel reads by itself."),
    "cache_hits": ("counter", "Opened files that were in the cache."),
    "cache_misses": ("counter", "Opened files that were not in the cache."),
    "without_cache": ("counter", "Files that found no room in the cache."),
    "requests": ("counter", "Requests to the store."),
    "bytes_read": ("counter", "Bytes given to readers by the host itself."),
    "bytes_fetched": ("counter", "Bytes fetched from the store."),
    "bytes_ahead": ("counter", "Bytes read ahead."),
    "bytes_ahead_unused": ("counter", "Bytes read ahead and never asked for."),
    "bytes_written": ("counter", "Bytes written by callers."),
    "bytes_sent": ("counter", "Bytes sent to the store."),
    "failed_uploads": ("counter", "Uploads that failed."),
    "defects": ("counter", "Calls that failed because of an error of the agent itself."),
    "stale_reads": ("counter", "Reads refused because the object was replaced."),
    "blocked_seconds": ("counter", "Seconds that callers waited for the store."),
    "open_files": ("gauge", "Files open now."),
    "dirty_bytes": ("gauge", "Bytes written and not stored yet."),
    "memory_bytes": ("gauge", "Bytes of files held in memory."),
}


class MountFigures(Value):
    """One mount; `counters` is None when its host did not answer."""

    share: str
    datastore: str
    users: int
    restarts: int
    counters: Mapping[str, int | float] | None


def exposition(metrics: Iterable[Metric]) -> str:
    """The text of a scrape."""
    return "".join(line + "\n" for metric in metrics for line in _lines(metric))


def metrics_of(
    mounts: Sequence[MountFigures], *, version: str, since: float, forgotten: int
) -> list[Metric]:
    """All that the daemon tells, the same names whether or not anything is mounted."""
    labels = [{"share": one.share, "datastore": one.datastore} for one in mounts]
    pairs = list(zip(labels, mounts, strict=True))
    counted = [(label, one.counters) for label, one in pairs if one.counters is not None]
    return [
        Metric("agent_info", "gauge", "The daemon's version.", [({"version": version}, 1)]),
        Metric("agent_start_time_seconds", "gauge", "When the daemon began.", [({}, since)]),
        Metric("agent_mounts", "gauge", "Mounts.", [({}, len(mounts))]),
        Metric("agent_unsaved_states", "counter", "Changes not written down.", [({}, forgotten)]),
        Metric(
            "mount_up",
            "gauge",
            "Whether the mount's host answers.",
            [(label, float(one.counters is not None)) for label, one in pairs],
        ),
        Metric(
            "mount_users",
            "gauge",
            "Paths that show the mount.",
            [(label, one.users) for label, one in pairs],
        ),
        Metric(
            "mount_restarts_total",
            "counter",
            "Times the mount's process was replaced.",
            [(label, one.restarts) for label, one in pairs if one.counters is not None],
        ),
        *(
            Metric(
                _name(name, kind),
                kind,
                words,
                [(label, float(counters.get(name, 0))) for label, counters in counted],
            )
            for name, (kind, words) in _OF_MOUNT.items()
        ),
    ]


def _name(name: str, kind: str) -> str:
    return f"mount_{name}" + ("_total" if kind == "counter" else "")


def _lines(metric: Metric) -> Iterator[str]:
    name = _PREFIX + metric.name
    yield f"# HELP {name} {metric.words}"
    yield f"# TYPE {name} {metric.kind}"
    for labels, value in metric.values:
        inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        shown = repr(float(value)) if value != int(value) else str(int(value))
        yield f"{name}{{{inside}}} {shown}" if inside else f"{name} {shown}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
