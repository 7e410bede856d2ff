"""The environment of a run, as configurations store it; a local run uses the one it finds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from datastores.runs.conda import CondaDependencies
from datastores.runs.sections import Section, key
from datastores.secret import Secret

DEFAULT_IMAGE = "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04:20251130.v1"


@dataclass(slots=True)
class PythonSection(Section):
    """Which Python runs the script, and with which packages."""

    user_managed_dependencies: bool = False
    interpreter_path: str = "python"
    conda_dependencies_file: str | None = ".azureml/conda_dependencies.yml"
    base_conda_environment: str | None = None
    conda_dependencies: CondaDependencies | None = field(
        default_factory=CondaDependencies, metadata=key("")
    )


@dataclass(slots=True)
class ContainerRegistry(Section):
    """Where the image comes from; the password prints as a mask."""

    address: str | None = None
    username: str | None = None
    password: Secret | None = None
    registry_identity: Any = None


@dataclass(slots=True)
class Platform(Section):
    """The image's platform."""

    os: str = "Linux"
    architecture: str = "amd64"


@dataclass(slots=True)
class DockerSection(Section):
    """The image of the environment."""

    enabled: bool = False
    base_image: str | None = DEFAULT_IMAGE
    base_dockerfile: str | None = None
    build_context: Any = None
    shared_volumes: bool = True
    shm_size: str | None = "2g"
    arguments: list[Any] = field(default_factory=list)
    base_image_registry: ContainerRegistry = field(default_factory=ContainerRegistry)
    platform: Platform = field(default_factory=Platform)


@dataclass(slots=True)
class SparkSection(Section):
    """Packages for Spark."""

    repositories: list[Any] = field(default_factory=list)
    packages: list[Any] = field(default_factory=list)
    precache_packages: bool = True


@dataclass(slots=True)
class DatabricksSection(Section):
    """Libraries for Databricks."""

    maven_libraries: list[Any] = field(default_factory=list)
    pypi_libraries: list[Any] = field(default_factory=list)
    rcran_libraries: list[Any] = field(default_factory=list)
    jar_libraries: list[Any] = field(default_factory=list)
    egg_libraries: list[Any] = field(default_factory=list)


@dataclass(slots=True)
class Environment(Section):
    """Variables, packages and image of a run."""

    name: str | None = "default-environment"
    version: str | None = None
    environment_variables: dict[str, str] = field(
        default_factory=lambda: {"EXAMPLE_ENV_VAR": "EXAMPLE_VALUE"}
    )
    python: PythonSection = field(default_factory=PythonSection)
    docker: DockerSection = field(default_factory=DockerSection)
    spark: SparkSection = field(default_factory=SparkSection)
    databricks: DatabricksSection = field(default_factory=DatabricksSection)
    r: Any = None
    inferencing_stack_version: str | None = None
    asset_id: str | None = None
