"""The command in a folder of its own."""

from tests.catalog.conftest import home, workspace

__all__ = ["home", "workspace"]
