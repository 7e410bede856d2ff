"""The long-lived owner of a node's mounts: their list, their reference counts, their endpoints."""
