"""A bench whose store is a container behind a gate."""

from __future__ import annotations

import contextlib
import json
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from azure.storage.blob import ContainerSasPermissions, generate_container_sas

from datastores.contract import JobSpec, LeaseSpec
from datastores.credentials.kinds import Sas
from datastores.definitions import BlobContainer
from datastores.names import DatastoreName
from datastores.secret import Secret
from datastores.storage.blob.store import open_blob
from datastores.storage.contract import Patience, Store
from datastores.storage.verbs import objects_below, read_bytes
from mount.agent.manifest import NAME
from tests.mount.agent.gate import Gate
from tests.mount.agent.jobs import Bench
from tests.servers.azurite import Azurite


@dataclass(frozen=True, slots=True)
class Cloud:
    """A container with a lease, reached through a gate that tests close."""

    gate: Gate
    definition: BlobContainer
    lease: LeaseSpec

    @classmethod
    def of(cls, azurite: Azurite, gate: Gate) -> Cloud:
        container = azurite.container()
        account = urllib.parse.urlsplit(azurite.endpoint).path
        definition = BlobContainer(
            DatastoreName("cloud"),
            container,
            azurite.account,
            endpoint=f"http://127.0.0.1:{gate.port}{account}",
        )
        ends = time.time() + 3600
        token = generate_container_sas(
            azurite.account,
            container,
            account_key=azurite.key.reveal(),
            permission=ContainerSasPermissions(read=True, write=True, delete=True, list=True),
            expiry=datetime.fromtimestamp(ends, UTC) + timedelta(minutes=5),
        )
        return cls(gate, definition, LeaseSpec(Sas(Secret(token)), ends))

    @contextlib.contextmanager
    def store(self) -> Iterator[Store]:
        store = open_blob(self.definition, self.lease.credential, Patience())
        try:
            yield store
        finally:
            store.close()

    def stored(self, place: str = "runs/1") -> dict[str, bytes]:
        """The objects of a place without the manifest."""
        with self.store() as store:
            infos = list(objects_below(store, place))
            return {
                info.key.removeprefix(place + "/"): read_bytes(store, info.key)
                for info in infos
                if not info.key.endswith(NAME)
            }

    def versions(self, place: str = "runs/1") -> dict[str, str | None]:
        """Which write each object came from."""
        with self.store() as store:
            return {info.key: info.version for info in objects_below(store, place)}

    def manifest(self, place: str = "runs/1") -> Any:
        with self.store() as store:
            return json.loads(read_bytes(store, f"{place}/{NAME}"))

    def input_from(self, bench: Bench, **changes: Any) -> JobSpec:
        """The bench's job with `train` in the cloud, and an output on the disk."""
        with self.store() as store:
            store.write("train/a.txt", b"alpha")
        given = bench.input("train", "train", definition=self.definition, lease=self.lease)
        return bench.spec(inputs=(given, bench.input("labels", "labels.csv")), **changes)

    def output_to(self, bench: Bench, **changes: Any) -> JobSpec:
        """The bench's job with `model` in the cloud, and inputs from the disk."""
        spec = bench.spec(**changes)
        kept = replace(spec.outputs[0], definition=self.definition, lease=self.lease)
        return replace(spec, outputs=(kept,))
