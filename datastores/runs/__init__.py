"""Run configurations, and the pure planning that makes a job spec of them."""

from datastores.runs.conda import CondaDependencies
from datastores.runs.environment import Environment
from datastores.runs.estimator import Estimator
from datastores.runs.pipeline import (
    configure_step,
    intermediate_place,
    locate,
    needs_of,
    plan_steps,
)
from datastores.runs.planning import LeaseWish, plan_job
from datastores.runs.ports import InputPortBinding, OutputPortBinding, PipelineData
from datastores.runs.run_configuration import RunConfiguration
from datastores.runs.script_run_config import ScriptRunConfig
from datastores.runs.steps import DataTransferStep, EstimatorStep, PythonScriptStep

__all__ = [
    "CondaDependencies",
    "DataTransferStep",
    "Environment",
    "Estimator",
    "EstimatorStep",
    "InputPortBinding",
    "LeaseWish",
    "OutputPortBinding",
    "PipelineData",
    "PythonScriptStep",
    "RunConfiguration",
    "ScriptRunConfig",
    "configure_step",
    "intermediate_place",
    "locate",
    "needs_of",
    "plan_job",
    "plan_steps",
]
