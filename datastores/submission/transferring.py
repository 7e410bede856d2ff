"""A transfer order: what is at one place, copied to another."""

from __future__ import annotations

import threading

from datastores import transfer
from datastores.catalog.workspace import Workspace
from datastores.history.status import Status
from datastores.storage.contract import Store
from datastores.storage.open import open_store
from datastores.submission.book import Book
from datastores.submission.ending import Ending
from datastores.submission.order import Place, TransferOrder
from datastores.submission.place import RunPlace

_TICK_SECONDS = 0.2


def transfer_places(
    workspace: Workspace, order: TransferOrder, place: RunPlace, book: Book
) -> Ending:
    """Carry out the copy; what is there already as it should be is not copied again.

    A copy that is canceled is left behind and ends with the runner; an object is whole or not there.
    """
    book.reach(Status.RUNNING)
    outcome: list[Ending | BaseException] = []

    def work() -> None:
        try:
            outcome.append(_copy(workspace, order, place))
        except BaseException as error:  # noqa: BLE001  # raised again below, in the waiting thread
            outcome.append(error)

    worker = threading.Thread(target=work, name="datastores-copy", daemon=True)
    worker.start()
    while worker.is_alive():
        worker.join(_TICK_SECONDS)
        if place.cancel_mark.exists():
            return Ending(Status.CANCELED, 130)
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]


def _copy(workspace: Workspace, order: TransferOrder, place: RunPlace) -> Ending:
    source, target = _open(workspace, order.source), _open(workspace, order.target)
    try:
        summary = transfer.copy(
            source,
            order.source.place,
            target,
            order.target.place,
            options=transfer.Options(records=place.root / "transfers"),
        )
    finally:
        source.close()
        target.close()
    report = {
        "status": str(Status.COMPLETED),
        "exit_code": 0,
        "seconds": round(summary.seconds, 6),
        "files": summary.moved,
        "skipped": summary.skipped,
        "bytes": summary.bytes,
    }
    return Ending(Status.COMPLETED, 0, None, report)


def _open(workspace: Workspace, at: Place) -> Store:
    record, credential = workspace.registry.unlock(workspace.name, at.datastore)
    return open_store(record.definition, credential)
