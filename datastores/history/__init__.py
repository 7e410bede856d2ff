"""Experiments, runs and what they logged; import the modules you need."""
