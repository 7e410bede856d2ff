"""What a run came to, from its agent's report and exit. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from datastores.history.records import UsedReference
from datastores.history.status import Status
from datastores.submission.agent_process import AgentEnd
from datastores.value import Value

_CANCELED_CODE = 130
_SIGNAL_BASE = 128

_ENDINGS = {
    "timed out": "its time limit passed",
    "interrupted": "its agent was killed while the script ran",
    "terminated": "the machine was taken away",
}


class Ending(Value):
    """The last page of a run's record."""

    status: Status
    exit_code: int
    error: str | None = None
    report: Mapping[str, Any] | None = None

    @property
    def is_settled(self) -> bool:
        """Whether a resume would find nothing left to do."""
        return self.report is None or bool(self.report.get("is_settled", True))


def ending_of(report: Mapping[str, Any] | None, end: AgentEnd, *, was_canceled: bool) -> Ending:
    """How the run ended; without a report the agent's exit code and last sentence tell."""
    if report is not None:
        return ending_of_report(report)
    code = end.exit_code if end.exit_code >= 0 else _SIGNAL_BASE - end.exit_code
    if was_canceled and code in (_CANCELED_CODE, 0):
        return Ending(Status.CANCELED, _CANCELED_CODE)
    said = end.last_words or f"the agent left without a report (exit code {code})"
    return Ending(Status.FAILED, code or 1, said)


def ending_of_report(report: Mapping[str, Any]) -> Ending:
    """How the agent says that the run ended."""
    status = Status(report["status"])
    code = int(report["exit_code"])
    error = None if status is Status.COMPLETED else _sentence(report, code)
    return Ending(status, code, error, report)


def with_versions(
    references: Sequence[UsedReference], report: Mapping[str, Any]
) -> tuple[UsedReference, ...]:
    """The references with what the agent says of the versions that were read."""
    told = {one["name"]: one.get("versions") or {} for one in report.get("inputs", ())}
    return tuple(_told(one, told.get(one.name, {})) for one in references)


def _told(one: UsedReference, versions: Mapping[str, Any]) -> UsedReference:
    if not versions:
        return one
    if versions["known"]:
        said = {name: str(versions[name]) for name in ("files", "bytes", "digest", "list")}
        if "how" in versions:
            said |= {"how": versions["how"], "shared": "yes" if versions["shared"] else "no"}
    else:
        said = {"unknown": str(versions["why"])}
    return replace(one, versions={"registration": one.versions.get("registration", ""), **said})


def _sentence(report: Mapping[str, Any], code: int) -> str | None:
    failures = [str(one) for one in report.get("failures", ())]
    if failures:
        more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
        return failures[0] + more
    ending = report.get("ending")
    if ending == "canceled":
        return None
    if ending in _ENDINGS:
        return f"{_ENDINGS[ending]}; what it wrote until then is kept where it was asked to be"
    if code > _SIGNAL_BASE:
        return (
            f"the script was ended by signal {code - _SIGNAL_BASE}; its log shows how far it came"
        )
    return f"the script failed with exit code {code}; its log ends with the reason"
