"""What a run came to, in plain words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from datastores.cli.tables import counted, size_text

if TYPE_CHECKING:
    from datastores.history.records import RunRecord, UsedReference

_PHASES = (
    ("getting its data", ("staging",)),
    ("the script", ("running",)),
    ("sending results", ("flushing", "releasing", "sealing")),
)
_HOW = {
    "mount": "mounted",
    "download": "downloaded",
    "upload": "uploaded",
    "rows": "downloaded",
    "copy": "copied",
}


def print_outcome(record: RunRecord) -> None:
    """How it ended, where the time went, what moved, where the result is, what to do next."""
    for line in outcome_lines(record):
        click.echo(line, err=True)


def outcome_lines(record: RunRecord, *, with_next: bool = True) -> Iterator[str]:
    """The lines of it; `with_next` adds what to do next."""
    yield _headline(record)
    report = record.report or {}
    if record.error:
        yield f"  {click.style('reason', bold=True)}  {record.error}"
    yield from (
        f"  {click.style('note', bold=True)}    {one}" for one in report.get("warnings", ())
    )
    if "steps" in report:
        yield from _steps(report["steps"])
    used = {one.name: one for one in record.references}
    rows = [_row(one, used.get(one["name"])) for one in _references(report)]
    yield from _aligned(rows)
    for one in _references(report):
        yield from _findings(one)
    yield from _versions(report)
    if not with_next:
        return
    yield from _results(report, used)
    yield f"  again: datastores runs show {record.run_id}"
    yield f"         datastores runs logs {record.run_id}"
    if report.get("is_settled") is False:
        yield f"  to go on from where it stopped: datastores runs resume {record.run_id}"


def phases_text(report: Mapping[str, Any]) -> str:
    """Where the time went."""
    phases = report.get("phases", {})
    parts = (
        (words, sum(float(phases.get(name, 0.0)) for name in names)) for words, names in _PHASES
    )
    return ", ".join(f"{words} {seconds_text(spent)}" for words, spent in parts if spent)


def seconds_text(seconds: float) -> str:
    """A time as people read it."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds >= 0.1 else f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _headline(record: RunRecord) -> str:
    color = {"Completed": "green", "Canceled": "yellow"}.get(record.status, "red")
    said = click.style(str(record.status).lower(), fg=color, bold=True)
    report = record.report or {}
    total = float(report.get("seconds", 0.0))
    spent = f" in {seconds_text(total)}" if total else ""
    where = f" ({phases})" if (phases := phases_text(report)) else ""
    code = f", exit code {record.exit_code}" if record.exit_code else ""
    return f"run {record.run_id} {said}{code}{spent}{where}"


def _references(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [*report.get("inputs", ()), *report.get("outputs", ())]


def _row(one: Mapping[str, Any], used: UsedReference | None) -> tuple[str, str, str, str]:
    how = _HOW.get(one["how"], one["how"])
    if one["state"] in ("failed", "missing", "not kept", "waiting"):
        how = {"not kept": "not kept", "waiting": "not begun"}.get(one["state"], one["state"])
    where = f"{used.datastore}:{used.place}" if used else ""
    return one["name"], how, where, _amount(one)


def _amount(one: Mapping[str, Any]) -> str:
    counters = one.get("counters") or {}
    return _mounted(counters) if one["how"] == "mount" else _copied(one, counters)


def _copied(one: Mapping[str, Any], counters: Mapping[str, Any]) -> str:
    spent = f" in {seconds_text(one['seconds'])}" if one["seconds"] >= 0.01 else ""
    text = f"{counted(one['files'], 'file')}, {size_text(one['bytes'])}{spent}"
    return text + _from_cache(counters)


def _mounted(counters: Mapping[str, Any]) -> str:
    parts = [f"{counted(int(counters.get('opens', 0)), 'file')} opened"]
    for name, words in (
        ("bytes_fetched", "fetched"),
        ("bytes_read", "read through the mount"),
        ("bytes_sent", "sent"),
    ):
        if counters.get(name):
            parts.append(f"{size_text(int(counters[name]))} {words}")
    waited = float(counters.get("blocked_seconds", 0.0))
    spent = f", waited {seconds_text(waited)}" if waited >= 0.01 else ""
    return ", ".join(parts) + spent + _from_cache(counters)


def _from_cache(counters: Mapping[str, Any]) -> str:
    hits, misses = int(counters.get("cache_hits", 0)), int(counters.get("cache_misses", 0))
    return f", {hits} of {hits + misses} from the cache" if hits + misses else ""


def _findings(one: Mapping[str, Any]) -> Iterator[str]:
    """What the agent noticed, and what would have helped."""
    for found in (one.get("data") or {}).get("findings", ()):
        advice = f"; {found['advice']}" if found.get("advice") else ""
        yield f"  {click.style('hint', bold=True)}    {one['name']}: {found['what']}{advice}"


def _versions(report: Mapping[str, Any]) -> Iterator[str]:
    """What was read, by the beginning of its digest: two runs with one digest read the same."""
    for one in report.get("inputs", ()):
        versions = one.get("versions") or {}
        if versions.get("known"):
            kind, _, digest = versions["digest"].partition(":")
            label = click.style("read", bold=True)
            read = (
                f"{one['name']}: {kind} {digest[:12]} over {counted(versions['files'], 'version')}"
            )
            yield f"  {label}    {read}{_how_read(versions)}"
        elif versions:
            yield f"  {click.style('read', bold=True)}    {one['name']}: not known, {versions['why']}"


def _how_read(versions: Mapping[str, Any]) -> str:
    """What is different about a mount: its list has what was opened, by whomever."""
    if versions.get("how") != "opened":
        return ""
    return ", opened through the mount" + ", some by other jobs" * bool(versions.get("shared"))


def _aligned(rows: Sequence[tuple[str, str, str, str]]) -> Iterator[str]:
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    for name, how, where, amount in rows:
        label = click.style(f"{name:<{widths[0]}}", bold=True)
        yield f"  {label}  {how:<{widths[1]}}  {where:<{widths[2]}}  {amount}".rstrip()


def _results(report: Mapping[str, Any], used: Mapping[str, UsedReference]) -> Iterator[str]:
    for one in report.get("outputs", ()):
        if one["state"] in ("uploaded", "complete") and one["name"] in used:
            at = used[one["name"]]
            yield f"  result: datastores ls {at.datastore}:{at.place}"


def _steps(steps: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    width = max((len(one["name"]) for one in steps), default=0)
    for one in steps:
        spent = f"  {seconds_text(one['seconds'])}" if one["seconds"] else ""
        reason = f"  {one['reason']}" if one["reason"] else ""
        yield f"  {one['name']:<{width}}  {one['status'].lower()}{spent}{reason}"
