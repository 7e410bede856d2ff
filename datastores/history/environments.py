"""The environment that a run's configuration asked for, on its way into the records and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from datastores.errors import RunRefused

if TYPE_CHECKING:
    from datastores.history.records import RunRecord
    from datastores.runs import Environment

# In configurations the packages are a file of their own; here they lie beside the rest.
_PACKAGES = "condaDependencies"


def environment_to_wire(environment: Environment) -> dict[str, Any]:
    """The environment as configuration files spell it, with its packages and without its secrets."""
    from datastores.runs.sections import to_disk

    wire: dict[str, Any] = to_disk(environment)
    wire["docker"]["baseImageRegistry"]["password"] = None
    packages = environment.python.conda_dependencies
    return wire | {_PACKAGES: None if packages is None else packages.structure}


def environment_of(record: RunRecord) -> Environment:
    """The environment that a run was asked to have; `RunRefused` where nobody noted one."""
    from datastores.runs import CondaDependencies, Environment
    from datastores.runs.sections import from_disk

    wire: Mapping[str, Any] | None = record.environment
    if wire is None:
        raise RunRefused(
            record.run_id,
            "has no environment in its records; only runs that Experiment.submit started have one",
        )
    plain = {name: value for name, value in wire.items() if name != _PACKAGES}
    found: Environment = from_disk(Environment, plain, record.run_id)
    packages = wire.get(_PACKAGES)
    found.python.conda_dependencies = None if packages is None else CondaDependencies(packages)
    return found
