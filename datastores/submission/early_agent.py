"""An agent that is started before its runner has loaded anything.

A runner loads the registry's libraries, which takes as long as an agent takes to load its own; one
after the other they would stand between a submission and the start of its script.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from datastores.errors import ConfigRejected
from datastores.submission.agent_process import AgentProcess

if TYPE_CHECKING:
    from datastores.submission.place import RunPlace


def early_agent(place: RunPlace) -> AgentProcess | None:
    """An agent that waits for the job of this folder; None where the order is none for one agent.

    Whoever reads the order in earnest says what is wrong with it.
    """
    try:
        order = place.load_order()
    except (ConfigRejected, ValueError):
        return None
    if order.get("kind") != "job" or place.cancel_mark.exists() or not place.agent_is_gone():
        return None
    try:
        return AgentProcess.launch(place, order)
    except (KeyError, TypeError):
        return None
