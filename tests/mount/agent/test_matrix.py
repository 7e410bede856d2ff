"""Every cell of the table of compute, datastore and mode, with real servers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from azure.storage.blob import ContainerSasPermissions, generate_container_sas
from azure.storage.fileshare import generate_share_sas

from datastores.contract import (
    InputMode,
    InputSpec,
    LeaseSpec,
    OutputMode,
    OutputSpec,
    QuerySpec,
    RowsSpec,
)
from datastores.credentials.kinds import AccountKey, Kerberos, Login, Sas, StorageOptions
from datastores.definitions import (
    BlobContainer,
    DataLakeGen1,
    DataLakeGen2,
    Dbfs,
    Definition,
    FileShare,
    FsspecUrl,
    Hdfs,
    LocalFolder,
    MySql,
    PostgreSql,
    SqlDatabase,
)
from datastores.names import DatastoreName
from datastores.secret import Secret
from datastores.storage.contract import Patience, Store
from datastores.storage.open import open_store
from datastores.storage.verbs import objects_below, read_bytes
from mount.agent.manifest import NAME
from mount.agent.mounting import Mounter, NoMounter
from mount.agent.node_mounter import MountsBy, NodeMounter
from mount.agent.report import RunReport
from mount.agent.run import run
from mount.agent.settings import Settings
from tests.mount.agent.jobs import ROOT, Bench
from tests.mount.agent.matrix import BEGIN, COMPUTES, END, KINDS, Compute, Kind, table

_FILE_KINDS = [kind for kind in KINDS if "as_mount" in kind.modes]
_ROW_KINDS = [kind for kind in KINDS if kind.key in ("postgres", "mysql")]
_REFUSED = {
    "hdfs": "mount it on the node",
    "dbfs": "run the job on a Databricks cluster",
    "sql": "pyodbc",
}
_NAME = DatastoreName("place")


@dataclass(frozen=True, slots=True)
class Place:
    """A fresh place of a datastore, its lease, and how a test reaches it."""

    definition: Definition
    lease: LeaseSpec | None
    opened: Callable[[], Store]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The state folder of a running daemon."""
    root = tmp_path_factory.mktemp("daemon")
    variables = {
        "DATASTORES_AGENT_STATE": str(root / "state"),
        "DATASTORES_SPOOL": str(root / "spool"),
        "PYTHONPATH": str(ROOT),
    }
    with subprocess.Popen(
        [sys.executable, "-m", "mount.cli", "daemon"],
        env={**os.environ, **variables},
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stderr is not None
        # It says that it serves; at the end of its words it has not come up.
        assert any(b"serving" in line for line in process.stderr)
        yield root / "state"
        process.terminate()
        process.stderr.read()
        process.wait(60)


@pytest.fixture
def mounter(
    request: pytest.FixtureRequest, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> Mounter:
    """Whoever mounts on this kind of compute."""
    compute: Compute = request.param
    if compute.key == "copies":
        return NoMounter("there is no /dev/fuse")
    if compute.key == "daemon":
        state = request.getfixturevalue("daemon")
        monkeypatch.setenv("DATASTORES_AGENT_STATE", str(state))
    by = MountsBy.DAEMON if compute.key == "daemon" else MountsBy.OWN
    return NodeMounter(by, bench.root / "spool")


@pytest.fixture
def place(request: pytest.FixtureRequest, bench: Bench) -> Place:
    """A fresh place of this kind."""
    kind: Kind = request.param
    return _PLACES[kind.key](request, bench)


_computes = pytest.mark.parametrize(
    "mounter", COMPUTES, indirect=True, ids=[compute.key for compute in COMPUTES]
)


@_computes
@pytest.mark.parametrize("place", _FILE_KINDS, indirect=True, ids=[one.key for one in _FILE_KINDS])
def test_files(bench: Bench, mounter: Mounter, place: Place) -> None:
    """A job reads by mount and by download, and writes by mount and by upload; paths are the same."""
    store = place.opened()
    store.write("data/sub/a.txt", b"alpha")
    store.close()
    bench.script("""
        import os, pathlib
        paths = {n: pathlib.Path(os.environ["AZUREML_DATAREFERENCE_" + n]) for n in "abcd"}
        word = (paths["a"] / "sub" / "a.txt").read_text()
        assert word == (paths["b"] / "sub" / "a.txt").read_text() == "alpha"
        assert paths["a"].parts[-2:] == ("place", "data")
        (paths["c"] / "x").write_text(word + " by mount")
        (paths["d"] / "x").write_text(word + " by upload")
    """)
    given = [
        InputSpec("a", InputMode.MOUNT, place.definition, "data", lease=place.lease),
        InputSpec("b", InputMode.DOWNLOAD, place.definition, "data", lease=place.lease),
    ]
    kept = [
        OutputSpec("c", OutputMode.MOUNT, place.definition, "out/c", lease=place.lease),
        OutputSpec("d", OutputMode.UPLOAD, place.definition, "out/d", lease=place.lease),
    ]

    report = _run(bench, mounter, inputs=tuple(given), outputs=tuple(kept))

    assert (report.exit_code, report.failures) == (0, []), report.warnings
    ways = {one.name: one.how for one in (*report.inputs, *report.outputs)}
    is_copied = isinstance(mounter, NoMounter)
    assert ways == {
        "a": "download" if is_copied else "mount",
        "b": "download",
        "c": "upload" if is_copied else "mount",
        "d": "upload",
    }
    store = place.opened()
    found = {info.key: read_bytes(store, info.key) for info in objects_below(store, "out")}
    store.close()
    assert {key: text for key, text in found.items() if not key.endswith(NAME)} == {
        "out/c/x": b"alpha by mount",
        "out/d/x": b"alpha by upload",
    }
    assert sum(key.endswith(NAME) for key in found) == 2


@_computes
@pytest.mark.parametrize("kind", _ROW_KINDS, ids=[one.key for one in _ROW_KINDS])
def test_rows(
    bench: Bench,
    mounter: Mounter,
    kind: Kind,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rows of a database are a folder of Parquet files at the reference's path."""
    server = request.getfixturevalue("postgres" if kind.key == "postgres" else "mariadb")
    database = server.database()
    server.execute(database, "create table pets (id int, name text)")
    server.execute(database, "insert into pets values (1, 'cat')")
    if kind.key == "mysql":
        monkeypatch.setenv("SSL_CERT_FILE", str(server.certificate))
    cls = PostgreSql if kind.key == "postgres" else MySql
    rows = RowsSpec(
        "pets",
        cls(_NAME, server.host, database, port=server.port),
        QuerySpec(text="select id, name from pets"),
        lease=LeaseSpec(Login(server.user, server.password)),
    )
    bench.script("""
        import os, pyarrow.parquet
        found = pyarrow.parquet.read_table(os.environ["AZUREML_DATAREFERENCE_pets"]).to_pylist()
        assert found == [{"id": 1, "name": "cat"}], found
    """)

    report = _run(bench, mounter, inputs=(), outputs=(), rows=(rows,))

    assert (report.exit_code, report.failures, report.inputs[0].how) == (0, [], "rows")


@_computes
@pytest.mark.parametrize("key", _REFUSED)
def test_what_is_refused(bench: Bench, mounter: Mounter, key: str) -> None:
    """What this node cannot reach ends the run before the script, in a sentence with a way out."""
    bench.script("raise SystemExit(99)")
    kinds: dict[str, Definition] = {
        "hdfs": Hdfs(_NAME, "https", "namenode:8020", None, "REALM", "kdc:88", "me@REALM"),
        "dbfs": Dbfs(_NAME),
        "sql": SqlDatabase(_NAME, "server", "shop"),
    }
    lease = LeaseSpec(Login("reader", Secret("password-of-nobody")))
    if key == "sql":
        asked = {"rows": (RowsSpec("data", kinds[key], QuerySpec(table="pets"), lease=lease),)}
        report = _run(bench, mounter, inputs=(), outputs=(), **asked)
    else:
        lease = LeaseSpec(Kerberos(password=Secret("password-of-nobody")))
        given = InputSpec("data", InputMode.DOWNLOAD, kinds[key], "data", lease=lease)
        report = _run(bench, mounter, inputs=(given,), outputs=())

    assert (report.exit_code, len(report.failures)) == (22, 1)
    assert _REFUSED[key] in report.failures[0]


def test_the_readme_shows_this_table() -> None:
    """The table in the package's README is what these tests run through, word for word."""
    text = (ROOT / "mount" / "agent" / "README.md").read_text(encoding="utf-8")

    assert text.partition(BEGIN)[2].partition(END)[0].strip() == table()


def test_every_cell_is_run() -> None:
    """No kind of datastore stands in the table without a test of its own."""
    tested = {kind.key for kind in (*_FILE_KINDS, *_ROW_KINDS)} | set(_REFUSED)

    assert tested == {kind.key for kind in KINDS}


def _run(bench: Bench, mounter: Mounter, **changes: object) -> RunReport:
    with Path(os.devnull).open("wb") as nowhere:
        shown = nowhere.fileno()
        settings = Settings(
            mounter=mounter, stdout=shown, patience=Patience(connect_seconds=5, attempts=2)
        )
        return run(replace(bench.spec(), **changes), bench.run, settings)  # type: ignore[arg-type]  # fields of it


def _in_an_hour() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)


def _blob(
    cls: type[BlobContainer | DataLakeGen2],
) -> Callable[[pytest.FixtureRequest, Bench], Place]:
    def make(request: pytest.FixtureRequest, bench: Bench) -> Place:
        azurite = request.getfixturevalue("azurite")
        container = azurite.container()
        definition = cls(_NAME, container, azurite.account, azurite.endpoint)
        permission = ContainerSasPermissions(
            read=True, write=True, create=True, delete=True, list=True
        )
        token = generate_container_sas(
            azurite.account,
            container,
            azurite.key.reveal(),
            permission=permission,
            expiry=_in_an_hour(),
        )
        key = AccountKey(azurite.key)
        lease = LeaseSpec(Sas(Secret(token)), _in_an_hour().timestamp())
        return Place(definition, lease, lambda: open_store(definition, key, Patience()))

    return make


def _share(request: pytest.FixtureRequest, bench: Bench) -> Place:
    server = request.getfixturevalue("files_server")
    share = server.share()
    definition = FileShare(_NAME, share, server.account, server.endpoint)
    token = generate_share_sas(
        server.account, share, server.key.reveal(), permission="rcwdl", expiry=_in_an_hour()
    )
    lease = LeaseSpec(Sas(Secret(token)), _in_an_hour().timestamp())
    return Place(definition, lease, lambda: open_store(definition, lease.credential, Patience()))


def _gen1(request: pytest.FixtureRequest, bench: Bench) -> Place:
    server = request.getfixturevalue("gen1_server")
    definition = DataLakeGen1(_NAME, server.store())
    token = server.token()
    lease = LeaseSpec(token, token.expires_at)
    return Place(definition, lease, lambda: open_store(definition, token, Patience()))


def _local(request: pytest.FixtureRequest, bench: Bench) -> Place:
    definition = LocalFolder(_NAME, str(bench.store))
    return Place(definition, None, lambda: open_store(definition, Sas(Secret("none")), Patience()))


def _s3(request: pytest.FixtureRequest, bench: Bench) -> Place:
    from tests.storage.test_anywhere import s3_options

    server = request.getfixturevalue("s3_server")
    bucket = f"b{os.urandom(8).hex()}"
    server.make_bucket(bucket)
    definition = FsspecUrl(_NAME, f"s3://{bucket}/folder")
    options = StorageOptions(Secret(json.dumps(s3_options(server))))
    lease = LeaseSpec(options)
    return Place(definition, lease, lambda: open_store(definition, options, Patience()))


_PLACES: dict[str, Callable[[pytest.FixtureRequest, Bench], Place]] = {
    "blob": _blob(BlobContainer),
    "gen2": _blob(DataLakeGen2),
    "share": _share,
    "gen1": _gen1,
    "local": _local,
    "s3": _s3,
}
