"""Credentials that are renewed while stores, downloads and mounts use them."""

from mount.leases.lease import RenewableLease
from mount.leases.renewable import RenewableStore, open_renewable

__all__ = ["RenewableLease", "RenewableStore", "open_renewable"]
