"""`python -m datastores` is the `datastores` command."""

from datastores.cli.main import main

main()
