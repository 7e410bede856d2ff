"""Where a workspace remembers its datastores: records, migrations, secrets."""
