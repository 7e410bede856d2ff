"""A run on this node, from its spec or from where an earlier agent left off."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from typing_extensions import override

from datastores.contract import JobSpec, Script, lay_out
from mount.agent import lease_keep, process
from mount.agent.agent import Agent
from mount.agent.claims import refuse_shared_places
from mount.agent.control import listening
from mount.agent.environment import command_line, refuse_unnameable
from mount.agent.journal import Journal
from mount.agent.loop import signals_into
from mount.agent.planning import history_of, mounted_names, plan_of
from mount.agent.report import RunReport, load_report
from mount.agent.run_folder import RunFolder, load_spec, open_folder, save_spec, take
from mount.agent.settings import MountFallback, Settings
from mount.agent.source import refuse_missing
from mount.errors import MountRefused, SpecRejected
from mount.leases.table import LeaseTable
from mount.lifecycle.advance import begin
from mount.logs import line_formatter

log = logging.getLogger(__name__)


def run(spec: JobSpec, root: Path, settings: Settings | None = None) -> RunReport:
    """Everything the spec asks for, in the folder of the run.

    Where an earlier agent has begun with the same spec, this one goes on: what is there is not
    fetched again, what is in its store is not sent again, and the script never runs twice.
    """
    # Checked first: what is refused leaves no folder behind.
    _check(spec, PurePosixPath("/"))
    folder = open_folder(root)
    lock = take(folder)
    try:
        _refuse_other(folder, spec)
        try:
            save_spec(folder, spec)
        except OSError as error:
            from datastores.transfer.disk import explain

            raise explain(error, str(folder.root), folder.spec.name) from error
        return _work(spec, folder, settings or Settings())
    finally:
        os.close(lock)


def resume(root: Path, settings: Settings | None = None) -> RunReport:
    """Go on where an agent was killed, or could not deliver everything."""
    if not (root / "spec.json").is_file():
        raise SpecRejected(
            f'"{root}" is not the folder of a run: it has no spec.json; '
            f"name the folder that was given to run"
        )
    folder = open_folder(root)
    lock = take(folder)
    try:
        return _work(load_spec(folder), folder, settings or Settings())
    finally:
        os.close(lock)


def _work(spec: JobSpec, folder: RunFolder, settings: Settings) -> RunReport:
    paths = _check(spec, PurePosixPath(folder.work))
    with _log_into(folder.agent_log):
        journal, lines = Journal.open(folder.journal)
        try:
            history = history_of(lines)
            if history.is_settled and (report := load_report(folder.report)) is not None:
                log.info("the run has ended already")
                return report
            if history.process is not None:
                process.end_leftovers(history.process)
            refusal = _refusal(spec, settings)
            plan = plan_of(spec, can_mount=refusal is None)
            leases = LeaseTable(spec, late_seconds=settings.late_seconds)
            agent = Agent(spec, folder, journal, history, paths, leases, settings)
            with listening(folder.root, agent), signals_into(agent.put):
                report = agent.work(begin(plan, history.past))
        finally:
            journal.close()
        if refusal is not None:
            report.warnings.append(refusal)
    try:
        report.save(folder.report)
    except OSError as error:
        log.warning("the report is not in the run's folder: %s", error.strerror)
    if report.is_settled:
        lease_keep.forget(folder.root)
    return report


def _check(spec: JobSpec, working: PurePosixPath) -> dict[str, PurePosixPath]:
    """The paths of all references; what cannot work is refused before anything is fetched."""
    refuse_unnameable(spec)
    refuse_shared_places(spec.outputs)
    refuse_missing(spec.source, spec.work.path if isinstance(spec.work, Script) else "")
    paths = lay_out(spec.references, working, absolute_paths=spec.absolute_paths)
    command_line(spec, paths)
    return paths


def _refuse_other(folder: RunFolder, spec: JobSpec) -> None:
    if folder.spec.exists() and load_spec_without_leases(folder) != lease_keep.without_leases(spec):
        raise SpecRejected(
            f'"{folder.root}" holds another run; give this one a folder of its own with --folder'
        )


def load_spec_without_leases(folder: RunFolder) -> JobSpec:
    """The spec of the run that was started here, for comparison."""
    return lease_keep.without_leases(load_spec(folder))


def _refusal(spec: JobSpec, settings: Settings) -> str | None:
    """Why mounts become copies, said once for all of them; None when they are tried."""
    names = mounted_names(spec)
    reason = settings.mounter.refusal() if names else None
    if reason is None:
        return None
    if settings.mount_fallback is MountFallback.ERROR:
        raise MountRefused(names[0], f"{reason}; use download and upload, or allow the fallback")
    listed = ", ".join(f'"{name}"' for name in names)
    warning = (
        f"mounting is not possible here: {reason}; copying at the same paths instead: {listed}"
    )
    log.warning("%s", warning)
    return warning


@contextmanager
def _log_into(path: Path) -> Iterator[None]:
    """What the agent says, also in a file of the run's folder."""
    handler = _RunLog(path)
    handler.setFormatter(line_formatter("%(asctime)s %(levelname)s %(message)s"))
    handler.setLevel(logging.INFO)
    top = logging.getLogger("mount")
    top.addHandler(handler)
    try:
        yield
    finally:
        top.removeHandler(handler)
        handler.close()


class _RunLog(logging.Handler):
    """Appends masked lines. Everything is on stderr too, so a full disk only costs the file."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    @override
    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record) + "\n"
        with contextlib.suppress(OSError):
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                os.write(fd, line.encode())
            finally:
                os.close(fd)
