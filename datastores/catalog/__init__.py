"""The objects a person holds: workspaces, and datastores that belong to one."""
