"""`datastores run`: one script, with its data, from the command line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from datastores.cli.options import (
    complete_datastore,
    find_workspace,
    json_option,
    print_json,
    workspace_option,
)
from datastores.cli.places import LocalPlace, parse
from datastores.errors import DefinitionRejected
from datastores.value import Value

if TYPE_CHECKING:
    from datastores.runs import RunConfiguration

_CONFIGURATIONS = (".runconfig", ".yml", ".yaml", ".json")
_EPILOG = """
\b
Examples:
  datastores run train.py --input data=images:train -- --data {data} --epochs 3
  datastores run train.py --input data=images:train:mount --input labels=images:labels.csv:download \\
                          --output model=images:runs/{run_id} -- --data {data} --out {model}
  datastores run --command 'wc -l "$AZUREML_DATAREFERENCE_labels"' --input labels=images:labels.csv
  datastores run .azureml/train.runconfig

\b
In arguments {NAME} is the path of an input or output; the script also finds it in the variable
AZUREML_DATAREFERENCE_NAME. In the place of an output {run_id} is the id of the run.

\b
Exit codes: the script's own where it ran and failed (128 and the signal's number where a signal
ended it); otherwise 0 done, 22 an input failed, 23 an output is not in its store, 124 the time
limit passed, 130 canceled, 137 the agent was killed; before the start those of "datastores -h".
"""


class NamedPlace(Value):
    """What a person wrote for an input or output."""

    name: str
    datastore: str
    place: str
    mode: str


class ReferenceType(click.ParamType):  # type: ignore[type-arg]  # generic only in newer clicks
    """`NAME=DATASTORE:PATH[:MODE]`."""

    name = "reference"

    def __init__(self, modes: Sequence[str]) -> None:
        self._modes = modes

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> NamedPlace:
        if isinstance(value, NamedPlace):
            return value
        name, sign, rest = str(value).partition("=")
        if not sign or not name or not rest:
            self.fail(f'"{value}" is not NAME=DATASTORE:PATH[:MODE]', param, ctx)
        place, colon, mode = rest.rpartition(":")
        if not (colon and ":" in place and mode in self._modes):
            place, mode = rest, self._modes[0]
        at = parse(place)
        if isinstance(at, LocalPlace):
            self.fail(
                f'"{place}" names no datastore; write {name}=DATASTORE:PATH, '
                f"or copy it to one with: datastores cp {place} DATASTORE:PATH",
                param,
                ctx,
            )
        return NamedPlace(name, at.datastore, at.place, mode)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        from click.shell_completion import CompletionItem

        name, sign, rest = incomplete.partition("=")
        if not sign or ":" in rest:
            return []
        return [CompletionItem(f"{name}={one}:") for one in complete_datastore(ctx, param, rest)]


@click.command("run", epilog=_EPILOG, context_settings={"ignore_unknown_options": False})
@click.argument("what", required=False, type=click.Path(path_type=Path))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "-i",
    "--input",
    "inputs",
    multiple=True,
    type=ReferenceType(("mount", "download")),
    metavar="NAME=STORE:PATH[:MODE]",
    help="Data the script reads; MODE is mount (default) or download.",
)
@click.option(
    "-o",
    "--output",
    "outputs",
    multiple=True,
    type=ReferenceType(("upload", "mount")),
    metavar="NAME=STORE:PATH[:MODE]",
    help="Files the script writes; MODE is upload (default) or mount.",
)
@click.option("--command", "shell", metavar="TEXT", help="Run this in a shell, not a script.")
@click.option("-e", "--env", "variables", multiple=True, metavar="KEY=VALUE", help="A variable.")
@click.option("--experiment", metavar="NAME", help="What the run is filed under.")
@click.option("--name", "display_name", metavar="TEXT", help="What people call the run.")
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="A tag of the run.")
@click.option(
    "--source-directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder the script needs; its own folder where nothing is said.",
)
@click.option("--overwrite", is_flag=True, help="Replace what is at the place of an output.")
@click.option(
    "--mount-fallback",
    type=click.Choice(["copy", "error"]),
    default="copy",
    show_default=True,
    help="Where nothing can be mounted: copy, or refuse the run.",
)
@click.option("-d", "--detach", is_flag=True, help="Only start it, and print its id.")
@workspace_option
@json_option
def run_command(
    what: Path | None,
    arguments: tuple[str, ...],
    inputs: tuple[NamedPlace, ...],
    outputs: tuple[NamedPlace, ...],
    shell: str | None,
    variables: tuple[str, ...],
    experiment: str | None,
    display_name: str | None,
    tags: tuple[str, ...],
    source_directory: Path | None,
    overwrite: bool,
    mount_fallback: str,
    detach: bool,
    workspace_name: str | None,
    as_json: bool,
) -> int:
    """Run a script with its data and tell what came of it.

    WHAT is a script, or a run configuration (.runconfig, .yml, .json).
    """
    from datastores.cli.following import follow
    from datastores.cli.outcomes import print_outcome
    from datastores.submission import submit

    configuration, folder = _configuration(what, shell, arguments, source_directory)
    _add_places(configuration, inputs, outputs, overwrite=overwrite)
    configuration.environment_variables |= _pairs("--env", variables)
    workspace = find_workspace(workspace_name)
    run_id = submit(
        workspace,
        experiment or _experiment(what),
        configuration,
        display_name=display_name,
        tags=dict(_pairs("--tag", tags)),
        source_directory=folder,
        mount_fallback=mount_fallback,
    )
    if detach:
        print_json({"run_id": run_id}) if as_json else click.echo(run_id)
        return 0
    if not as_json:
        click.echo(click.style(f"-- run {run_id}", dim=True), err=True)
    record = follow(workspace, run_id, to_stderr=as_json)
    if as_json:
        print_json(asdict(record))
    else:
        print_outcome(record)
    return record.exit_code or 0


def _configuration(
    what: Path | None, shell: str | None, arguments: Sequence[str], source: Path | None
) -> tuple[RunConfiguration, Path | None]:
    """The configuration to start from, and the source folder if it is not the configuration's."""
    from datastores.runs import RunConfiguration

    if shell is not None:
        if what is not None:
            raise click.UsageError("--command is given in place of a script; leave one of them out")
        return RunConfiguration(command=shell), source
    if what is None:
        raise click.UsageError("name a script or a run configuration, or give --command")
    if what.suffix in _CONFIGURATIONS:
        found = RunConfiguration.load(what)
        found.arguments = [*found.arguments, *arguments]
        return found, source
    if source is not None:
        return RunConfiguration(script=str(what), arguments=list(arguments)), source
    return RunConfiguration(script=what.name, arguments=list(arguments)), what.parent


def _add_places(
    configuration: RunConfiguration,
    inputs: Sequence[NamedPlace],
    outputs: Sequence[NamedPlace],
    *,
    overwrite: bool,
) -> None:
    from datastores.references import DataReferenceConfiguration
    from datastores.runs.data import (
        DataLocation,
        DataPath,
        OutputData,
        OutputOptions,
        UploadOptions,
    )

    for one in (*inputs, *outputs):
        if one.name in (*configuration.data_references, *configuration.output_data):
            raise DefinitionRejected(one.name, "two references have this name; rename one")
        if one in outputs and one.mode == "mount":
            configuration.output_data[one.name] = OutputData(
                DataLocation(data_path=DataPath(one.datastore, one.place)),
                "mount",
                OutputOptions(None, upload_options=UploadOptions(overwrite=overwrite)),
            )
        else:
            configuration.data_references[one.name] = DataReferenceConfiguration(
                one.datastore, one.mode, one.place, None, overwrite and one in outputs
            )
    names = {one.name for one in (*inputs, *outputs)}
    configuration.arguments = [_filled(one, names) for one in configuration.arguments]


def _filled(argument: Any, names: set[str]) -> Any:
    """`{data}` as the text that the agent replaces with the path of `data`."""
    if not isinstance(argument, str):
        return argument
    for name in names:
        argument = argument.replace(f"{{{name}}}", f"${{AZUREML_DATAREFERENCE_{name}}}")
    return argument


def _pairs(option: str, given: Sequence[str]) -> dict[str, str]:
    pairs = [one.partition("=") for one in given]
    for name, sign, _ in pairs:
        if not sign or not name:
            raise click.UsageError(f'{option} "{name}" is not KEY=VALUE')
    return {name: value for name, _, value in pairs}


def _experiment(what: Path | None) -> str:
    """The script's name, as far as an experiment can have it."""
    stem = re.sub(r"[^A-Za-z0-9_-]", "-", what.stem if what else "").lstrip("_-")
    return stem or "default"
