"""The source folder's files in the working folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path

from datastores import keys
from datastores.contract import FolderSource, SnapshotSource
from datastores.contract.ignoring import load_rules, refuse_left_out, stays
from datastores.contract.job import Source
from datastores.storage.contract import Patience
from mount.agent.leash import Leash
from mount.agent.opening import opened
from mount.agent.run_folder import RunFolder
from mount.errors import SpecRejected
from mount.leases import RenewableLease


def stage_source(
    source: Source,
    lease: RenewableLease,
    folder: RunFolder,
    leash: Leash,
    patience: Patience,
) -> None:
    """Copy or fetch the files; what is there from an earlier attempt is replaced."""
    match source:
        case FolderSource(path=path):
            _copy(Path(path), folder, leash)
        case SnapshotSource(definition=definition, place=given):
            from datastores.transfer import Options, Overwrite, download
            from datastores.transfer.lines import Lines

            place, watcher = keys.parse_place(given), Lines("source")
            options = Options(overwrite=Overwrite.ALWAYS, records=folder.root / "transfers")
            with opened(definition, lease, leash, patience) as store:
                download(store, place, folder.work, strip=place, options=options, watcher=watcher)


def refuse_missing(source: Source | None, script: str) -> None:
    """`SpecRejected` when it can be seen beforehand that the entry script is not there."""
    if isinstance(source, FolderSource):
        if not Path(source.path).is_dir():
            raise SpecRejected(f'the source folder "{source.path}" does not exist; check the path')
        if script and not (Path(source.path) / script).is_file():
            raise SpecRejected(
                f'the entry script "{script}" is not in "{source.path}"; name it relative to that'
            )
        if script:
            refuse_left_out(Path(source.path), script)


def _copy(source: Path, folder: RunFolder, leash: Leash) -> None:
    source = source.resolve()
    own = {folder.root, folder.root.parent} - {source, *source.parents}
    rules = load_rules(source)

    def skip(where: str, names: Sequence[str]) -> Collection[str]:
        leash.check()
        here = Path(where)
        # Runs that live inside the source folder are no source.
        return [name for name in names if here / name in own or stays_at_home(here / name)]

    def stays_at_home(path: Path) -> bool:
        name = path.relative_to(source).as_posix()
        return bool(rules) and stays(rules, name, is_folder=path.is_dir())

    def copy(origin: str, target: str) -> str:
        leash.check()
        if os.path.lexists(target):
            os.unlink(target)  # noqa: PTH108  # shutil hands out text
        return shutil.copy2(origin, target)

    shutil.copytree(source, folder.work, ignore=skip, copy_function=copy, dirs_exist_ok=True)
