"""The JSON of job specs: written in full, read strictly."""

from __future__ import annotations

import json

from datastores.contract.decoding import Misfit, decode, encode, load
from datastores.contract.job import JobSpec

VERSION = 1

_WHAT = "the job spec"


def to_json(spec: JobSpec) -> str:
    """The spec as JSON, leases in clear: hand it to the agent, and do not keep it."""
    return json.dumps({"version": VERSION, **encode(spec)}, indent=2, ensure_ascii=False)


def from_json(text: str | bytes) -> JobSpec:
    """The spec a JSON text stands for; what is unknown or of a wrong type is refused by its path."""
    try:
        raw = load(text, _WHAT, VERSION, "write it with to_json")
        spec: JobSpec = decode(JobSpec, raw, "")
        _refuse_twins(spec)
    except Misfit as misfit:
        # From None: the frames of its cause hold the text, leases included.
        raise misfit.about(_WHAT) from None
    return spec


def _refuse_twins(spec: JobSpec) -> None:
    names = [reference.name for reference in spec.references]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise Misfit("", f'has two references called "{name}"')
