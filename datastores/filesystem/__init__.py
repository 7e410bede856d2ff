"""Datastores as fsspec file systems, for pandas, pyarrow, DuckDB, dask and friends."""
