"""A workspace to open file systems from."""

from tests.catalog.conftest import home, workspace

__all__ = ["home", "workspace"]
