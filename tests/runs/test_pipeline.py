"""Pipelines: ports are checked, steps are ordered, and what they pass on has one place."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datastores.contract import InputMode, OutputMode, Script
from datastores.errors import DefinitionRejected, NameRejected
from datastores.references import DataReferenceConfiguration
from datastores.runs import (
    DataTransferStep,
    Estimator,
    EstimatorStep,
    InputPortBinding,
    OutputPortBinding,
    PipelineData,
    PythonScriptStep,
    configure_step,
    intermediate_place,
    locate,
    needs_of,
    plan_job,
    plan_steps,
)
from datastores.runs.pipeline import StoredAt
from tests.runs.stores import STORES, datastore1, datastore2, lease


def step(name: str, reads: Any = (), writes: Any = (), **settings: Any) -> PythonScriptStep:
    return PythonScriptStep("s.py", name, inputs=reads, outputs=writes, **settings)


def test_data_flows_from_step_to_step() -> None:
    """What one step writes is what the next reads: one place, named by run, step and port."""
    middle = PipelineData("middle", datastore1, output_mode="upload")
    prepare = step(
        "prep/1",
        [raw := datastore2.path("raw", "raw").as_download()],
        [middle],
        arguments=["--in", raw, "--out", middle],
        params={"learning rate": 0.1},
    )
    train = step("train", [read := middle.as_download("x", "here")], arguments=["--x", read])
    steps = [train, prepare]

    assert plan_steps(steps) == [(prepare,), (train,)]
    assert needs_of(steps) == {"train": ["prep/1"], "prep/1": []}
    first, second = (
        plan_job(configure_step(one, steps, run_id="p1"), STORES, run_id="p1", leases=lease)
        for one in (prepare, train)
    )
    assert first.work == Script(
        "s.py",
        ("--in", "$AZUREML_DATAREFERENCE_raw", "--out", "$AZUREML_DATAREFERENCE_middle"),
    )
    assert first.environment["AML_PARAMETER_learning_rate"] == "0.1"
    assert [(one.name, one.mode, one.place) for one in first.inputs] == [
        ("raw", InputMode.DOWNLOAD, "raw")
    ]
    place = "azureml/p1/prep%2F1/middle"
    assert place == intermediate_place("p1", "prep/1", "middle")
    assert locate(middle, steps, run_id="p1") == StoredAt("datastore1", place)
    assert [(one.name, one.mode, one.place) for one in first.outputs] == [
        ("middle", OutputMode.UPLOAD, place)
    ]
    assert [(one.name, one.mode, one.place, one.path_on_compute) for one in second.inputs] == [
        ("x", InputMode.DOWNLOAD, place, "here")
    ]
    assert second.work == Script("s.py", ("--x", "$AZUREML_DATAREFERENCE_x"))


def test_an_input_called_like_an_output_is_renamed() -> None:
    """The input becomes `INPUT_<name>`, in its variable and in the arguments."""
    data, out = datastore1.path("a", "data"), PipelineData("data", datastore1)
    one = step("s", [data], [out], arguments=[data, out])

    made = configure_step(one, [one], run_id="p")

    assert made.arguments == [
        "$AZUREML_DATAREFERENCE_INPUT_data",
        "$AZUREML_DATAREFERENCE_data",
    ]
    assert (list(made.data_references), list(made.output_data)) == (["INPUT_data"], ["data"])


def test_references_in_arguments_become_inputs() -> None:
    """A reference among the arguments needs no second mention; undeclared pipeline data does."""
    one = step("s", arguments=[datastore1.path("a", "a")])

    assert list(configure_step(one, [one], run_id="p").data_references) == ["a"]
    with pytest.raises(DefinitionRejected, match="add it to inputs or to outputs"):
        step("s", arguments=[PipelineData("p", datastore1)])


def test_an_estimator_step_keeps_its_references() -> None:
    """References of the estimator stay, beside those of the step; the estimator is unchanged."""
    estimator = Estimator(
        "src", compute_target="a", entry_script="t.py", inputs=[datastore1.as_download()]
    )
    out = PipelineData("out")
    one = EstimatorStep("train", estimator, ["--out", out], outputs=[out], compute_target="b")

    made = configure_step(one, [one], run_id="p", default_datastore="datastore2")

    assert made.data_references == {
        "datastore1": DataReferenceConfiguration("datastore1", "download")
    }
    assert made.arguments == ["--out", "$AZUREML_DATAREFERENCE_out"]
    assert (made.target, estimator.run_config.target) == ("b", "a")
    location = made.output_data["out"].output_location
    assert location is not None
    assert location.data_path is not None
    assert location.data_path.datastore_name == "datastore2"


def test_a_transfer_leads_to_its_destination() -> None:
    """The output of a transfer lies where it was sent, and its reader waits for it."""
    move = DataTransferStep(
        "move", datastore1.path("a"), datastore2.path("b"), "local", "Directory", "directory"
    )
    read = step("read", [move.get_output()])

    assert plan_steps([read, move]) == [(move,), (read,)]
    assert locate(move.get_output(), [move], run_id="p") == StoredAt("datastore2", "b")
    assert (move.source_type, move.get_output().name) == ("directory", "_data_transfer_output")


def test_circles_are_refused_by_name() -> None:
    """Steps that wait for each other are named in order."""
    a, b = PipelineData("a", datastore1), PipelineData("b", datastore1)

    with pytest.raises(
        DefinitionRejected, match=r'"(one" -> "two" -> "one|two" -> "one" -> "two)"'
    ):
        plan_steps([step("one", [b], [a]), step("two", [a], [b])])


def test_orders_that_cannot_be_are_refused() -> None:
    """One name twice, data nobody writes, data two write, and a foreign step are refused."""
    data = PipelineData("d", datastore1)
    alone = step("alone")
    alone.run_after(step("elsewhere"))

    for steps, sentence in (
        ([step("a"), step("a")], "two steps have this name"),
        ([step("a", [data])], "no step writes it"),
        ([step("a", (), [data]), step("b", (), [data])], 'steps "a" and "b" both write it'),
        ([alone], 'runs after "elsewhere"'),
    ):
        with pytest.raises(DefinitionRejected, match=re.escape(sentence)):
            plan_steps(steps)
    with pytest.raises(DefinitionRejected, match="there is no default"):
        locate(free := PipelineData("f"), [step("a", (), [free])], run_id="p")


@given(st.permutations(range(6)), st.sets(st.tuples(st.integers(0, 5), st.integers(0, 5))))
def test_layers_hold_every_step_once_after_what_it_needs(
    order: list[int], pairs: set[tuple[int, int]]
) -> None:
    """For any order without circles, each step is in one layer, as early as it can be."""
    needs = {(max(pair), min(pair)) for pair in pairs if pair[0] != pair[1]}
    steps = [step(str(number)) for number in range(6)]
    for later, earlier in needs:
        steps[later].run_after(steps[earlier])

    layers = plan_steps([steps[number] for number in order])

    level = {int(one.name): i for i, layer in enumerate(layers) for one in layer}
    assert sorted(level) == list(range(6))
    assert all(
        level[number]
        == max((level[before] + 1 for after, before in needs if after == number), default=0)
        for number in range(6)
    )


@pytest.mark.parametrize("name", ["", "a b", "a-b", "a/b"])
def test_port_names_are_words(name: str) -> None:
    """Ports have letters, digits and underscores; digits first and other alphabets are fine."""
    for make in (
        lambda: PipelineData(name),
        lambda: PipelineData("x", output_name=name),
        lambda: InputPortBinding(name, datastore1.path("x")),
        lambda: OutputPortBinding(name),
        lambda: configure_step(
            one := step("s", [datastore1.path("x", name or "a b")]), [one], run_id="p"
        ),
    ):
        with pytest.raises(NameRejected):
            make()
    assert str(PipelineData("1é")) == "$AZUREML_DATAREFERENCE_1é"


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: PipelineData("a", output_mode="download"), '"mount", "upload"'),
        (lambda: InputPortBinding("a", datastore1), "cannot be bound"),
        (lambda: step("s", [datastore1]), "cannot be an input"),
        (lambda: step("s", ["text"]), "cannot be an input"),
        (lambda: step("s", (), [datastore1.path("x")]), "cannot be an output"),
        (lambda: step("s", [datastore1.path("a", "n"), datastore2.path("b", "n")]), "two of its"),
        (lambda: step("s", (), [PipelineData("o"), PipelineData("o")]), "two outputs"),
        (lambda: EstimatorStep("e"), "estimator is required"),
        (lambda: EstimatorStep("e", Estimator("s", compute_target="l")), "compute_target"),
        (
            lambda: EstimatorStep("e", Estimator("s", compute_target="l"), compute_target="l"),
            "[] means none",
        ),
        (
            lambda: EstimatorStep(
                "e",
                Estimator("s", compute_target="l", script_params={"a": 1}),
                [],
                compute_target="l",
            ),
            "has script_params",
        ),
        (lambda: DataTransferStep("d", datastore1.path("a")), "are required"),
        (
            lambda: DataTransferStep("d", datastore1.path("a"), datastore2.path("b")),
            "compute_target is required",
        ),
        (
            lambda: DataTransferStep("d", datastore1.path("a"), datastore2.path("b"), "l", "tape"),
            'use "file" or "directory"',
        ),
    ],
)
def test_steps_that_cannot_work_are_refused(make: Any, sentence: str) -> None:
    """A step says what is wrong with it when it is made."""
    with pytest.raises(DefinitionRejected, match=re.escape(sentence)):
        make()


def test_places_of_different_steps_never_meet() -> None:
    """Step names that look alike after cleaning still have places of their own."""
    names = ["a/b", "a b", "a_b", "a%2Fb", "A/B"]

    places = {intermediate_place("r", name, "p") for name in names}

    assert len(places) == len(names)
    assert not any(a.startswith(b + "/") for a, b in itertools.permutations(places, 2))
