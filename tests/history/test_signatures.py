"""Names, orders and defaults of parameters are Azure ML's."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from datastores import Experiment, Run
from datastores.history.offline import OfflineRun

# Written down from azureml-core 1.61.
RUN = {
    "__init__": "self, experiment, run_id, outputs=None, **kwargs",
    "add_properties": "self, properties",
    "add_type_provider": "runtype, run_factory",
    "cancel": "self",
    "child_run": "self, name=None, run_id=None, outputs=None",
    "complete": "self, _set_status=True",
    "create_children": "self, count=None, tag_key=None, tag_values=None",
    "download_file": "self, name, output_file_path=None, _validate_checksum=False",
    "download_files": "self, prefix=None, output_directory=None, output_paths=None, "
    "batch_size=100, append_prefix=True, timeout_seconds=None",
    "fail": "self, error_details=None, error_code=None, _set_status=True",
    "flush": "self, timeout_seconds=300",
    "get": "workspace, run_id",
    "get_all_logs": "self, destination=None",
    "get_children": "self, recursive=False, tags=None, properties=None, type=None, status=None, "
    "_rehydrate_runs=True",
    "get_context": "allow_offline=True, used_for_context_manager=False, **kwargs",
    "get_details": "self",
    "get_details_with_logs": "self",
    "get_detailed_status": "self",
    "get_docs_url": "",
    "get_environment": "self",
    "get_file_names": "self",
    "get_metrics": "self, name=None, recursive=False, run_type=None, populate=False",
    "get_portal_url": "self",
    "get_properties": "self",
    "get_secret": "self, name",
    "get_secrets": "self, secrets",
    "get_snapshot_id": "self",
    "get_status": "self",
    "get_submitted_run": "**kwargs",
    "get_tags": "self",
    "list": "experiment, type=None, tags=None, properties=None, status=None, "
    "include_children=False, _rehydrate_runs=True",
    "list_by_compute": "compute, type=None, tags=None, properties=None, status=None",
    "log": "self, name, value, description='', step=None",
    "log_accuracy_table": "self, name, value, description=''",
    "log_confusion_matrix": "self, name, value, description=''",
    "log_image": "self, name, path=None, plot=None, description=''",
    "log_list": "self, name, value, description=''",
    "log_predictions": "self, name, value, description=''",
    "log_residuals": "self, name, value, description=''",
    "log_row": "self, name, description=None, **kwargs",
    "log_table": "self, name, value, description=''",
    "register_model": "self, model_name, model_path=None, tags=None, properties=None, "
    "model_framework=None, model_framework_version=None, description=None, datasets=None, "
    "sample_input_dataset=None, sample_output_dataset=None, resource_configuration=None, **kwargs",
    "remove_tags": "self, tags",
    "restore_snapshot": "self, snapshot_id=None, path=None",
    "set_tags": "self, tags",
    "start": "self",
    "submit_child": "self, config, tags=None, **kwargs",
    "tag": "self, key, value=None",
    "take_snapshot": "self, file_or_folder_path",
    "upload_file": "self, name, path_or_stream, datastore_name=None",
    "upload_files": "self, names, paths, return_artifacts=False, timeout_seconds=None, "
    "datastore_name=None",
    "upload_folder": "self, name, path, datastore_name=None",
    "wait_for_completion": "self, show_output=False, wait_post_processing=False, "
    "raise_on_error=True",
}
EXPERIMENT = {
    "__init__": "self, workspace, name, _skip_name_validation=False, _id=None, "
    "_archived_time=None, _create_in_cloud=True, _experiment_dto=None, **kwargs",
    "archive": "self",
    "from_directory": "path, auth=None",
    "get_docs_url": "",
    "get_portal_url": "self",
    "get_runs": "self, type=None, tags=None, properties=None, include_children=False",
    "list": "workspace, experiment_name=None, view_type='ActiveOnly', tags=None",
    "reactivate": "self, new_name=None",
    "refresh": "self",
    "remove_tags": "self, tags",
    "set_tags": "self, tags",
    "submit": "self, config, tags=None, **kwargs",
    "tag": "self, key, value=None",
}


@pytest.mark.parametrize(
    ("owner", "name", "wanted"),
    [
        *((Run, name, wanted) for name, wanted in RUN.items()),
        *((Experiment, name, wanted) for name, wanted in EXPERIMENT.items()),
    ],
    ids=lambda value: value if isinstance(value, str) and "," not in value else "",
)
def test_a_signature_is_azure_mls(owner: Any, name: str, wanted: str) -> None:
    """A call that was written for Azure ML finds its parameters, by position and by name."""
    parameters = inspect.signature(getattr(owner, name)).parameters.values()

    assert ", ".join(_shown(one) for one in parameters) == wanted


def test_start_logging_takes_what_azure_mls_takes() -> None:
    """Both keywords of Azure ML's `start_logging` are there with their defaults."""
    parameters = inspect.signature(Experiment.start_logging).parameters

    assert {name: parameters[name].default for name in ("outputs", "snapshot_directory")} == {
        "outputs": None,
        "snapshot_directory": ".",
    }


def test_delete_takes_what_azure_mls_takes() -> None:
    """`Experiment.delete` is called as in Azure ML; that it can only tell is a keyword more."""
    parameters = list(inspect.signature(Experiment.delete).parameters.values())

    assert [one.name for one in parameters] == ["workspace", "experiment_id", "dry_run"]
    assert (parameters[2].kind, parameters[2].default) == (inspect.Parameter.KEYWORD_ONLY, False)


def test_every_public_name_of_azure_ml_is_there() -> None:
    """What can be asked of Azure ML's runs and experiments can be asked here, under its name."""
    run = {*RUN, "id", "name", "display_name", "description", "type", "number", "parent",
           "status", "experiment", "tags", "properties", "clean"}  # fmt: skip
    experiment = {*EXPERIMENT, "delete", "start_logging", "workspace", "workspace_object", "name",
                  "id", "archived_time", "tags"}  # fmt: skip

    assert [name for name in sorted(run) if not hasattr(Run, name)] == []
    assert [name for name in sorted(experiment) if not hasattr(Experiment, name)] == []


def test_an_offline_run_has_azure_mls_methods_and_no_more() -> None:
    """Public names of an offline run are those of Azure ML's, labels and children included."""
    assert {name for name in dir(OfflineRun) if not name.startswith("_")} == {
        "id", "add_properties", "set_tags", "tag", "remove_tags", "complete", "fail", "cancel",
        "log", "log_list", "log_table", "log_row", "log_image", "log_residuals",
        "log_predictions", "log_accuracy_table", "log_confusion_matrix", "upload_folder",
        "upload_files", "upload_file", "child_run", "create_children", "flush",
    }  # fmt: skip


def _shown(parameter: inspect.Parameter) -> str:
    stars: dict[Any, str] = {
        inspect.Parameter.VAR_KEYWORD: "**",
        inspect.Parameter.VAR_POSITIONAL: "*",
    }
    text = stars.get(parameter.kind, "") + parameter.name
    has_default = parameter.default is not inspect.Parameter.empty
    return f"{text}={parameter.default!r}" if has_default else text
