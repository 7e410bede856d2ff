"""`python -m mount.cli` is `datastores-agent`."""

from mount.cli.entry import main

if __name__ == "__main__":
    main()
