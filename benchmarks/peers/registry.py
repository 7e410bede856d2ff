"""Everybody who is measured, in the order of the reports."""

from __future__ import annotations

from benchmarks.peers.adlfs import Adlfs
from benchmarks.peers.azcopy import Azcopy
from benchmarks.peers.azure_sdk import AzureSdk
from benchmarks.peers.copy import Copy
from benchmarks.peers.datastores import Datastores, DatastoresUnchecked
from benchmarks.peers.obstore_plain import ObstorePlain
from benchmarks.peers.peer import Peer
from benchmarks.peers.rclone import Rclone

OURS = Datastores.name
FLOOR = Copy.name

PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        Datastores(),
        DatastoresUnchecked(),
        ObstorePlain(),
        Rclone(),
        Azcopy(),
        AzureSdk(),
        Adlfs(),
        Copy(),
    )
}
