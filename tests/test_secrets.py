"""A canary secret goes everywhere a secret goes, and is found nowhere but in the vault."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import textwrap
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

# Valid as an account key (base64), odd enough never to occur by chance.
CANARY = base64.b64encode(b"canary-that-must-not-sing-0123456789").decode()

PARTS = 3

# Runs in processes of its own, which show all it can: debug logs of every library, every
# exception with the variables of all frames of its whole chain.
PROGRAM = textwrap.dedent(
    """
    import contextlib, io, json, logging, pickle, sys, traceback
    logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)

    class Hidden(dict):
        def __repr__(self): return "..."

    # This program's own variables hide the canary, so that only the product's could show it.
    given_to_us = Hidden(canary=json.load(sys.stdin))
    def canary(): return given_to_us["canary"]
    sas = lambda: "sv=2021-12-02&sp=rl&se=2039-01-01T00:00:00Z&sig=" + canary()

    def crash(error, frames):
        report = traceback.TracebackException.from_exception(error, capture_locals=frames)
        for line in report.format():
            print(line, file=sys.stderr)

    @contextlib.contextmanager
    def shown(frames=True):
        try:
            yield
        except Exception as error:
            crash(error, frames)
            print("raised", type(error).__name__, repr(error), error.args)
            with contextlib.suppress(TypeError):
                print(pickle.dumps(error))

    from datastores import Datastore, Secret, Workspace
    from datastores.cli.main import run

    workspace = Workspace.create("demo")
    nowhere = "http://127.0.0.1:1/account"
    ways = {
        "key": (Datastore.register_azure_blob_container,
                lambda: dict(container_name="c", account_name="a", account_key=canary(), endpoint=nowhere)),
        "sas": (Datastore.register_azure_blob_container,
                lambda: dict(container_name="c", account_name="a", sas_token=sas(), endpoint=nowhere)),
        "share": (Datastore.register_azure_file_share,
                lambda: dict(file_share_name="c", account_name="a", account_key=canary(), endpoint=nowhere)),
        "share-sas": (Datastore.register_azure_file_share,
                lambda: dict(file_share_name="c", account_name="a", sas_token=sas(), endpoint=nowhere)),
        "lake": (Datastore.register_azure_data_lake_gen2,
                lambda: dict(filesystem="c", account_name="a", tenant_id="t", client_id="c",
                             client_secret=canary(), endpoint="https://127.0.0.1:1/a",
                             authority_url="https://127.0.0.1:1")),
        "gen1": (Datastore.register_azure_data_lake,
                lambda: dict(store_name="http://127.0.0.1:1", tenant_id="t", client_id="c",
                             client_secret=canary(), authority_url="https://127.0.0.1:1")),
        "sql": (Datastore.register_azure_sql_database,
                lambda: dict(server_name="127.0.0.1:1", database_name="d", username="u",
                             password=canary())),
        "postgres": (Datastore.register_azure_postgre_sql,
                lambda: dict(server_name="127.0.0.1:1", database_name="d", user_id="u",
                             user_password=canary())),
        "mysql": (Datastore.register_azure_my_sql,
                lambda: dict(server_name="127.0.0.1:1", database_name="d", user_id="u",
                             user_password=canary())),
        "hdfs": (Datastore.register_hdfs,
                lambda: dict(protocol="https", namenode_address="n", hdfs_server_certificate=None,
                             kerberos_realm="R", kerberos_kdc_address="k", kerberos_principal="p",
                             kerberos_password=canary())),
        "s3": (Datastore.register_fsspec,
                lambda: dict(url="s3://bucket", key="k", secret=canary(),
                             client_kwargs={"endpoint_url": "http://127.0.0.1:1"})),
    }

    def attempt(name, register, given, **more):
        with shown():
            made = register(workspace, "store-" + name, **given(), **more)
            print(name, made, repr(made), made.describe(), vars(made), made.credential())
            print(pickle.dumps(made))
            with shown():
                pickle.dumps(made.credential())

    def use(name):
        with shown():
            store = workspace.get_datastore("store-" + name)
            with shown():
                list(store.download("out", "select 1") if hasattr(store, "engine") else [])
            if hasattr(store, "filesystem"):
                if name != "s3":
                    with shown(): store.download("out", show_progress=True)
                with shown(): print(store.open_store(), store.lease("x", Access.READ, 600))
                if name in ("key", "sas"):
                    # Users call adlfs here and not us: its texts are ours to keep clean, but not
                    # the variables of its frames.
                    with shown(frames=False): print(store.filesystem().ls("", detail=True))
        print(run(["show", "store-" + name, "--json"]))
        if name == "key":
            print(run(["check", "store-" + name, "--json"]))

    from datastores.credentials.leases import Access
    part, parts = map(int, sys.argv[1:])
    for name, (register, given) in list(ways.items())[part::parts]:
        import inspect
        skips = "skip_validation" in inspect.signature(register).parameters
        if name != "s3":  # botocore's own pauses are long, and nothing bounds them from outside
            attempt(name + "-refused", register, given)
        if skips:
            attempt(name, register, given, skip_validation=True)
            use(name)
    for wrong in (
        lambda: dict(account_key=canary(), sas_token=sas()),
        lambda: dict(account_key="AccountName=a;AccountKey=" + canary()),
        lambda: dict(sas_token=canary()),
        lambda: dict(account_key=canary() + "?not base64"),
    ):
        attempt("wrong", Datastore.register_azure_blob_container, lambda: dict(
            container_name="c", account_name="a", skip_validation=True, **wrong()))
    run(["list", "--json"])
    with shown():
        workspace.rotate_vault_key()
    with shown():
        raise RuntimeError("a crash at the end", workspace, dict(workspace.datastores))
    print("END")
    """
)


@pytest.fixture(scope="module")
def sung(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """All that the program showed, and the folder it left; each part has a share of the stores."""
    folder = tmp_path_factory.mktemp("canary")
    # Most of their time they wait before they ask nobody again, so they wait together.
    with ThreadPoolExecutor(PARTS) as pool:
        shown = list(pool.map(lambda part: sing(folder / str(part), part), range(PARTS)))
    return "".join(shown), folder


def sing(folder: Path, part: int) -> str:
    """What one part of the program showed."""
    folder.mkdir()
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(part), str(PARTS)],
        input=json.dumps(CANARY),
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        cwd=folder,
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(folder),
            "DATASTORES_HOME": str(folder / "home"),
            "PYTHONPATH": str(Path(__file__).parent.parent),
        },
    )
    assert ran.stdout.rstrip().endswith("END"), ran.stderr[-3000:]
    return ran.stdout + ran.stderr


def forms(secret: str) -> set[bytes]:
    """How a secret may be spelled."""
    raw = base64.b64decode(secret)
    return {
        secret.encode(),
        raw,
        raw.hex().encode(),
        urllib.parse.quote(secret, safe="").encode(),
        urllib.parse.quote_plus(secret).encode(),
        base64.b64encode(secret.encode()),
    }


def test_output_logs_and_crashes_show_no_secret(sung: tuple[str, Path]) -> None:
    """Nothing printed, logged, pickled or captured with a traceback holds the canary."""
    text, _ = sung
    lines = [
        f"{number}: {line[:300]}"
        for number, line in enumerate(text.splitlines(), 1)
        if any(form in line.encode() for form in forms(CANARY))
    ]

    assert lines == []


def test_the_disk_holds_only_ciphertext(sung: tuple[str, Path]) -> None:
    """No file that was left, database pages included, holds the canary in any spelling."""
    _, folder = sung
    files = [path for path in folder.rglob("*") if path.is_file()]
    wrong = [path for path in files if any(form in path.read_bytes() for form in forms(CANARY))]

    assert wrong == []
    assert any(path.name == "registry.db" for path in files)


def test_the_canary_did_go_everywhere(sung: tuple[str, Path]) -> None:
    """The program reached what it is meant to reach: stores, errors, pickles, tracebacks."""
    text, _ = sung

    kinds = ("Unavailable", "DefinitionRejected", "TypeError", "RuntimeError")
    assert [kind for kind in kinds if f"raised {kind}" not in text] == []
    assert "Traceback" in text
    assert "DEBUG:" in text
