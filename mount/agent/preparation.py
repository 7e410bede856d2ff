"""Loading what a job will need before the job is there: whoever starts the agent knows its kind."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterable

# What to expect -> the module that is loaded for it; what is not here needs no preparation.
_MODULES = {
    "download": "mount.agent.inputs",
    "upload": "mount.agent.outputs",
    "AzureBlob": "datastores.storage.blob.store",
    "AzureDataLakeGen2": "datastores.storage.blob.store",
    "AzureFile": "datastores.storage.file_share",
}
_MOUNTS = "mount"


def prepare(expected: Iterable[str]) -> None:
    """Load it in a thread of its own, while this one waits for the job.

    A job that finds something half loaded waits for that, and not for the rest.
    """
    words = list(expected)
    threading.Thread(target=_load, args=(words,), name="datastores-loading", daemon=True).start()


def _load(words: Iterable[str]) -> None:
    if _MOUNTS in words:
        from mount.agent.node_mounter import may_have_a_daemon

        # The daemon mounts where there is one, and little has to be known of mounts here.
        importlib.import_module(
            "mount.daemon.client" if may_have_a_daemon() else "mount.agent.fuse_mounts"
        )
    for word in words:
        if word in _MODULES:
            importlib.import_module(_MODULES[word])
