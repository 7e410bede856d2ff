"""Data of stores on a compute node: mounts, the cache, the agent."""
