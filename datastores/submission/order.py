"""What a runner is to do, as it lies in a run's folder: no secret is in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, ClassVar, TypeAlias

from datastores.contract import JobSpec, from_json, to_json
from datastores.errors import WireError
from datastores.submission.leasing import LIFETIME_SECONDS
from datastores.value import Value

VERSION = 1


class JobOrder(Value):
    """Start an agent with this job, and look after it."""

    kind: ClassVar[str] = "job"

    # Without leases; the runner asks for them when it starts the agent.
    spec: JobSpec
    # "copy" or "error": what the agent does where nothing can be mounted.
    mount_fallback: str = "copy"
    lease_seconds: float = LIFETIME_SECONDS


class Place(Value):
    """A place in a datastore of the workspace."""

    datastore: str
    place: str


class TransferOrder(Value):
    """Copy what is at one place to another."""

    kind: ClassVar[str] = "transfer"

    source: Place
    target: Place


class StepOrder(Value):
    """A step of a pipeline: a run with an order of its own, and what it waits for."""

    name: str
    run_id: str
    after: tuple[str, ...] = ()


class PipelineOrder(Value):
    """Carry out the steps, each when those before it have completed."""

    kind: ClassVar[str] = "pipeline"

    steps: tuple[StepOrder, ...]
    continue_on_step_failure: bool = False
    at_once: int = 4


Order: TypeAlias = JobOrder | TransferOrder | PipelineOrder


def order_to_wire(order: Order) -> dict[str, Any]:
    """The order as JSON values."""
    if isinstance(order, JobOrder):
        values: dict[str, Any] = {
            "spec": json.loads(to_json(order.spec)),
            "mount_fallback": order.mount_fallback,
            "lease_seconds": order.lease_seconds,
        }
    else:
        values = asdict(order)
    return {"version": VERSION, "kind": order.kind, **values}


def order_of_wire(raw: Mapping[str, Any]) -> Order:
    """The order that `order_to_wire` wrote; another version's is a `WireError`."""
    values = dict(raw)
    version, kind = values.pop("version", None), values.pop("kind", None)
    if version != VERSION:
        raise WireError(
            f'the order of the run has version "{version}" and this side reads {VERSION}; '
            f"use the version of this package that it was submitted with"
        )
    try:
        match kind:
            case "job":
                return JobOrder(**values | {"spec": from_json(json.dumps(values["spec"]))})
            case "transfer":
                return TransferOrder(Place(**values["source"]), Place(**values["target"]))
            case "pipeline":
                steps = (
                    StepOrder(one["name"], one["run_id"], tuple(one["after"]))
                    for one in values.pop("steps")
                )
                return PipelineOrder(tuple(steps), **values)
    except (KeyError, TypeError) as error:
        raise WireError(
            f"the order of the run is not complete ({error}); submit it again"
        ) from error
    raise WireError(f'the order of the run has the kind "{kind}"; submit it again')
