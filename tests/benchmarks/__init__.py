"""The harness's own decisions: a benchmark that counts wrongly is worse than none."""
