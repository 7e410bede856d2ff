"""From a configuration to a finished run: submitting, looking after, pipelines."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datastores.submission.pipeline import Pipeline as Pipeline
    from datastores.submission.pipeline import step_manifest as step_manifest
    from datastores.submission.pipeline import step_output as step_output
    from datastores.submission.pipeline import submit_pipeline as submit_pipeline
    from datastores.submission.submitting import submit as submit
    from datastores.submission.supervising import cancel as cancel
    from datastores.submission.supervising import look as look
    from datastores.submission.supervising import look_at as look_at
    from datastores.submission.supervising import resume as resume

# Loaded at first use: a runner needs none of the planning, and it stands between a submission and
# the start of its script.
_HOMES = {
    "Pipeline": "pipeline",
    "cancel": "supervising",
    "look": "supervising",
    "look_at": "supervising",
    "resume": "supervising",
    "step_manifest": "pipeline",
    "step_output": "pipeline",
    "submit": "submitting",
    "submit_pipeline": "pipeline",
}

__all__ = [
    "Pipeline",
    "cancel",
    "look",
    "look_at",
    "resume",
    "step_manifest",
    "step_output",
    "submit",
    "submit_pipeline",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'datastores.submission' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"datastores.submission.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
