"""The `datastores` command."""
