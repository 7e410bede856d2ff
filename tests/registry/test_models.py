"""Models in each kind of database."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from datastores.errors import NotRegistered
from datastores.history.model_records import ModelRecord, ModelRegistry
from datastores.registry.registry import Registry
from datastores.secret import MASK, Secret
from tests.registry.conftest import WORKSPACE, Home, workspace
from tests.registry.runs import moment

CANARY = "canary-Mo7/q+Zt0w=="


@pytest.fixture
def models(registry: Registry) -> ModelRegistry:
    return ModelRegistry(registry, WORKSPACE)


def _record(name: str = "cat") -> ModelRecord:
    return ModelRecord(name, "cats_1", "outputs/m", "store", "x/outputs/m", created=moment(0))


def test_a_model_comes_back_as_it_was_told(models: ModelRegistry) -> None:
    """Every field is there again, to the microsecond; what is secret is masked."""
    live = Secret(CANARY)
    told = replace(
        _record("cat.v-1_x"),
        description="größte Katze",
        framework="Onnx",
        framework_version="1.2",
        tags={"b": "2", "a": ""},
        properties={"commit": "abc", "key": CANARY},
    )

    made = models.add(told)

    assert live
    assert made == replace(told, version=1, properties={"commit": "abc", "key": MASK})
    assert (models.get(made.name), models.list()) == (made, [made])


def test_versions_are_counted_by_name_also_at_once(models: ModelRegistry) -> None:
    """Eight who register at once get eight versions, none twice; other names are not counted."""
    models.add(_record("dog"))

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(models.add, [_record()] * 8))

    assert sorted(one.version for one in made) == list(range(1, 9))
    assert [(one.name, one.version) for one in models.list()] == [
        *(("cat", version) for version in range(8, 0, -1)),
        ("dog", 1),
    ]
    assert models.get("cat").version == 8


def test_models_belong_to_their_workspace(
    registry: Registry, models: ModelRegistry, home: Home
) -> None:
    """Namesakes in two workspaces are two models, and one goes with its workspace."""
    registry.add_workspace(workspace(home, "other"))
    other = ModelRegistry(registry, "other")
    mine = models.add(_record())
    other.add(_record())
    other.label("cat", 1, tags={"a": "b"})

    registry.remove_workspace("other")

    assert models.list() == [mine]
    count = registry.database.read(
        lambda connection: connection.exec_driver_sql("SELECT count(*) FROM models").scalar_one()
    )
    assert count == 1
    with pytest.raises(NotRegistered, match=r'no model "cat:2" .*\(registered: "cat:1"\)'):
        models.get("cat", 2)
