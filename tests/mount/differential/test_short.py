"""A short campaign: the long one is `python -m tests.mount.differential.campaign`."""

from __future__ import annotations

import random

import pytest

from tests.mount.differential.campaign import run
from tests.mount.differential.machine import MACHINES


@pytest.mark.parametrize("name", list(MACHINES))
def test_mount_folder_and_model_agree(name: str) -> None:
    """Random calls have the same answers on a mount, on a tmpfs folder and on a model."""
    chosen = random.randrange(10**6)

    assert run(MACHINES[name], 15, 40, chosen, shrinks=False), f"--machine {name} --seed {chosen}"
