"""The agent: inputs become paths, the script runs, its results reach their stores."""
