"""What the lease of an output has to open."""

from __future__ import annotations

import pytest

from datastores.contract import OutputMode, OutputSpec
from tests.contract_spec.specs import RESULTS


@pytest.mark.parametrize(
    ("place", "manifest", "reach"),
    [
        ("runs/1", None, "runs/1"),
        ("", None, ""),
        ("runs/1", "runs/1/_manifest.json", "runs/1"),
        ("azureml/r/s/port", "azureml/r/s/port._manifest.json", "azureml/r/s"),
        ("azureml/r/s/port", "azureml/manifests/r.json", "azureml"),
        ("port", "port._manifest.json", ""),
    ],
)
def test_the_reach_holds_place_and_manifest(place: str, manifest: str | None, reach: str) -> None:
    """It is the innermost folder with both in it, and the place itself where nothing lies apart."""
    spec = OutputSpec("out", OutputMode.UPLOAD, RESULTS, place, manifest=manifest)

    assert spec.reach == reach
