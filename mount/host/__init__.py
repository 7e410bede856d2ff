"""Hosts: one process per mount, which outlives whoever asked for it and heals itself."""
