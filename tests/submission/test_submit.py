"""From a configuration to a finished run."""

from __future__ import annotations

import json
import random
import stat
from dataclasses import replace

from datastores import Estimator, RunConfiguration, ScriptRunConfig
from datastores.history.records import UsedReference
from datastores.history.status import Status
from datastores.submission.order import order_of_wire
from tests.servers.azurite import Azurite
from tests.submission.bench import Bench, register


def test_a_training_on_mounted_pictures_leaves_its_model_in_the_store(bench: Bench) -> None:
    """A logistic regression reads a mounted folder, and the uploaded weights tell new pictures."""
    bench.store(_pictures(seed=1))
    bench.script(
        """
        import argparse, pathlib
        import numpy
        given = argparse.ArgumentParser()
        given.add_argument("--data"), given.add_argument("--rate", type=float)
        given = given.parse_args()
        files = sorted(pathlib.Path(given.data).iterdir())
        x = numpy.stack([numpy.frombuffer(f.read_bytes(), "uint8") / 255 for f in files])
        x = numpy.hstack([x, numpy.ones((len(x), 1))])
        y = numpy.array([f.name.startswith("bright") for f in files], dtype=float)
        w = numpy.zeros(x.shape[1])
        for _ in range(300):
            w -= given.rate * x.T @ (1 / (1 + numpy.exp(-x @ w)) - y) / len(y)
        pathlib.Path("outcome").mkdir()
        numpy.save("outcome/weights.npy", w)
        print("trained on", len(files))
        """
    )
    est = Estimator(
        bench.source,
        entry_script="train.py",
        compute_target="local",
        script_params={"--data": bench.images.path("train").as_mount(), "--rate": 0.5},
        inputs=[bench.images.path("models/{run_id}").as_upload("outcome")],
    )

    record = bench.run(est)

    assert (record.status, record.exit_code, record.error) == (Status.COMPLETED, 0, None)
    assert bench.output(record.run_id) == "trained on 40\n"
    stored = bench.stored(f"models/{record.run_id}")
    assert list(stored) == ["weights.npy"]
    assert _rightness(stored["weights.npy"]) >= 0.9


def test_a_record_says_what_was_read_and_written_and_how_it_went(bench: Bench) -> None:
    """References, registrations, phases and the agent's report are in the registry afterwards."""
    bench.store({"labels.csv": b"a,b"})
    bench.script("open('result.txt', 'w').write(open('images/labels.csv').read())")
    config = ScriptRunConfig(bench.source, "train.py")
    config.run_config.data_references = {
        "labels": bench.images.path("labels.csv").as_download().to_config(),
        "result": bench.images.path("out").as_upload("result.txt").to_config(),
    }

    record = bench.run(config, display_name="first", tags={"team": "a", "urgent": None})

    labels, result = record.references
    assert replace(labels, versions={}) == UsedReference(
        "labels", "images", "labels.csv", "download"
    )
    assert {name: labels.versions[name] for name in ("registration", "files", "bytes")} == {
        "registration": "1",
        "files": "1",
        "bytes": "3",
    }
    assert result == UsedReference("result", "images", "out", "upload", {"registration": "1"})
    assert (record.display_name, record.tags) == ("first", {"team": "a", "urgent": None})
    assert record.report is not None
    assert set(record.report["phases"]) == {"staging", "running", "flushing", "sealing"}
    assert [(one["name"], one["state"]) for one in record.report["outputs"]] == [
        ("result", "complete")
    ]
    assert record.created <= record.started <= record.ended  # type: ignore[operator]  # all are known
    assert bench.stored("out") == {"result.txt": b"a,b"}


def test_a_failing_script_fails_the_run_with_its_own_code(bench: Bench) -> None:
    """Exit code and a sentence that says where to look, and the output that was kept."""
    bench.script("import sys; print('before'); sys.exit(7)")

    record = bench.run()

    assert (record.status, record.exit_code, record.error) == (
        Status.FAILED,
        7,
        "the script failed with exit code 7; its log ends with the reason",
    )
    assert bench.output(record.run_id) == "before\n"


def test_the_script_finds_its_run(bench: Bench) -> None:
    """Variables name run, experiment and workspace, and no variable holds a key of the store."""
    bench.script("import json, os; print(json.dumps(dict(os.environ)))")

    record = bench.run()

    seen = json.loads(bench.output(record.run_id))
    wanted = {
        "AZUREML_RUN_ID": record.run_id,
        "AZUREML_EXPERIMENT_NAME": "exp",
        "AZUREML_ARM_WORKSPACE_NAME": "demo",
        "DATASTORES_WORKSPACE": "demo",
        "DATASTORES_REGISTRY": bench.workspace.registry_place,
        "DATASTORES_RUN_EVENTS": str(bench.place(record.run_id).events),
    }
    assert {name: seen.get(name) for name in wanted} == wanted


def test_no_key_and_no_lease_lies_in_the_folder_of_a_run(bench: Bench, azurite: Azurite) -> None:
    """After a run with leases, none of its files holds the account's key or a signature."""
    bench.store({"a.txt": b"a"})
    bench.script("print(open('images/a.txt').read())")
    config = RunConfiguration(script="train.py")
    config.data_references = {"a": bench.images.path("a.txt").as_download().to_config()}

    record = bench.run(config)

    root = bench.place(record.run_id).root
    files = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    guilty = [
        path
        for path, data in files.items()
        if azurite.key.reveal().encode() in data or b"sig=" in data
    ]
    assert record.status is Status.COMPLETED
    assert guilty == []
    assert stat.S_IMODE(root.stat().st_mode) == 0o700


def test_the_source_can_travel_through_a_datastore(bench: Bench, azurite: Azurite) -> None:
    """With source_directory_data_store the files of submission time are what runs."""
    code = register(bench.workspace, azurite, "code")
    bench.script("import helper; print(helper.WORD)")
    (bench.source / "helper.py").write_text("WORD = 'sent'")
    config = ScriptRunConfig(bench.source, "train.py")
    config.run_config.source_directory_data_store = "code"

    record = bench.run(config)

    assert bench.output(record.run_id) == "sent\n"
    stored = bench.stored(f"azureml/snapshots/{record.run_id}", code)
    assert {name: stored[name] for name in ("helper.py", "train.py")} == {
        "helper.py": b"WORD = 'sent'",
        "train.py": b"import helper; print(helper.WORD)",
    }


def test_what_a_script_logs_is_in_the_registry(bench: Bench) -> None:
    """Metrics and tags of `Run.get_context()` are there when the run has ended."""
    bench.script(
        """
        from datastores import Run
        run = Run.get_context()
        run.tag("kind", "small")
        for step in range(3):
            run.log("loss", 1 / (1 + step))
        print(run.experiment.workspace.name, sorted(run.experiment.workspace.datastores))
        """
    )

    record = bench.run()

    assert (record.status, record.tags) == (Status.COMPLETED, {"kind": "small"})
    assert [metric.value for metric in bench.history.metrics(record.run_id)] == [1.0, 0.5, 1 / 3]
    assert bench.output(record.run_id) == (
        "demo ['images', 'workspaceblobstore', 'workspacefilestore']\n"
    )
    assert "logs/output.log" in {file.name for file in bench.history.files(record.run_id)}


def test_an_order_survives_its_file(bench: Bench) -> None:
    """What the runner reads from the folder is what was submitted."""
    bench.script("print('x')")

    record = bench.run(lease_seconds=77.0, mount_fallback="error")

    order = order_of_wire(bench.place(record.run_id).load_order())
    assert (order.kind, getattr(order, "lease_seconds"), getattr(order, "mount_fallback")) == (  # noqa: B009  # a union
        "job",
        77.0,
        "error",
    )


def _pictures(seed: int) -> dict[str, bytes]:
    chance = random.Random(seed)
    return {
        f"train/{kind}-{number:02}.raw": bytes(
            min(255, max(0, int(chance.gauss(level, 40)))) for _ in range(64)
        )
        for kind, level in (("bright", 170), ("dark", 90))
        for number in range(20)
    }


def _rightness(weights: bytes) -> float:
    import io

    import numpy as np

    w = np.load(io.BytesIO(weights))
    unseen = _pictures(seed=2)
    right = 0
    for name, data in unseen.items():
        x = np.append(np.frombuffer(data, "uint8") / 255, 1.0)
        right += bool(x @ w > 0) == name.startswith("train/bright")
    return right / len(unseen)
