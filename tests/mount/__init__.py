"""Tests of the compute plane."""
