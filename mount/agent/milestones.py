"""What has changed between two moments of a job: for the journal, for people, for the report."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from mount.agent.journal import Journal
from mount.agent.report import ReferenceReport
from mount.lifecycle.job import Job

log = logging.getLogger(__name__)


def note(journal: Journal, before: Job, job: Job) -> None:
    """Write into the journal what a restarted agent must know."""
    if None in before.pending and None not in job.pending and job.ending is None:
        journal.note("source")
    for name in sorted(job.ready - before.ready):
        journal.note("ready", name=name)
    for name in sorted(job.fallen_back - before.fallen_back):
        journal.note("fell back", name=name)
    for name in sorted(job.sealed - before.sealed):
        journal.note("sealed", output=name)
    if job.ending is not None and job.ending is not before.ending:
        journal.note("ending", ending=job.ending.value)
    if job.exit_code is not None and job.exit_code != before.exit_code:
        journal.note("exited", code=job.exit_code)


def tell(reports: Mapping[str, ReferenceReport], before: Job, job: Job) -> None:
    """Say what a person wants to know, and keep the references' own reports."""
    for trouble in job.troubles[len(before.troubles) :]:
        log.error("%s", trouble.reason)
        _mark(reports, trouble.name, "failed", trouble.reason)
    for warning in job.warnings[len(before.warnings) :]:
        log.warning("%s", warning.reason)
        _mark(reports, warning.name, "missing" if warning.exit_code == 23 else None, warning.reason)
    for name in job.ready - before.ready:
        reports[name].state = "ready"
    for name in job.uploaded - before.uploaded:
        reports[name].state = "uploaded"
    for name in job.sealed - before.sealed:
        reports[name].state = "complete"
    if job.ending is not before.ending and job.ending is not None:
        log.warning("the run is ending early: %s", job.ending.value)


def _mark(
    reports: Mapping[str, ReferenceReport], name: str | None, state: str | None, reason: str
) -> None:
    if name is not None:
        report = reports[name]
        report.state, report.reason = state or report.state, reason
