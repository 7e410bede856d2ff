"""Packages of a conda environment, as `conda_dependencies.yml` lists them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


class CondaDependencies:
    """The packages; what else such a file holds is kept."""

    def __init__(self, structure: Mapping[str, Any] | None = None) -> None:
        self.structure: dict[str, Any] = {
            "name": "project_environment",
            "dependencies": [],
            **(structure or {}),
        }

    @classmethod
    def create(
        cls,
        pip_packages: Iterable[str] | None = None,
        conda_packages: Iterable[str] | None = None,
        python_version: str | None = None,
    ) -> CondaDependencies:
        """An environment with these packages."""
        made = cls()
        if python_version:
            made.add_conda_package(f"python={python_version}")
        for package in conda_packages or ():
            made.add_conda_package(package)
        for package in pip_packages or ():
            made.add_pip_package(package)
        return made

    @property
    def conda_packages(self) -> list[str]:
        """What conda installs."""
        return [one for one in self.structure["dependencies"] or () if isinstance(one, str)]

    @property
    def pip_packages(self) -> list[str]:
        """What pip installs."""
        return list(self._pip() or ())

    def add_conda_package(self, package: str) -> None:
        """One more for conda; the same again changes nothing."""
        if package not in self.conda_packages:
            dependencies = self.structure["dependencies"] or []
            place = len(dependencies) - (self._pip() is not None)
            self.structure["dependencies"] = [
                *dependencies[:place],
                package,
                *dependencies[place:],
            ]

    def add_pip_package(self, package: str) -> None:
        """One more for pip; the same again changes nothing."""
        if package in self.pip_packages:
            return
        others = [one for one in self.structure["dependencies"] or () if not _is_pip(one)]
        self.structure["dependencies"] = [*others, {"pip": [*self.pip_packages, package]}]

    def _pip(self) -> list[str] | None:
        for one in self.structure["dependencies"] or ():
            if _is_pip(one):
                packages: list[str] = one["pip"] or []
                return packages
        return None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CondaDependencies):
            return NotImplemented
        return self.structure == other.structure

    __hash__ = None  # type: ignore[assignment]  # mutable, as in Azure ML

    def __repr__(self) -> str:
        return f"CondaDependencies({self.structure!r})"


def _is_pip(dependency: Any) -> bool:
    return isinstance(dependency, Mapping) and "pip" in dependency
