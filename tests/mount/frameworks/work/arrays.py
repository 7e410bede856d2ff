"""Arrays and tables: NumPy, pandas, Arrow, DuckDB, HDF5, Zarr."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from tests.mount.frameworks.working import Places, names

READ_WHILE_WRITTEN = """
import sys, h5py
with h5py.File(sys.argv[1], "r", libver="latest", swmr=True) as file:
    series = file["series"]
    print(len(series), flush=True)
    for _ in sys.stdin:
        series.refresh()
        print(len(series), int(series[-1]), flush=True)
"""


def numbers(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).random(shape)


def numpy_files(places: Places) -> None:
    """save, savez, savez_compressed, load."""
    one, two = numbers(1, 300, 400), numbers(2, 50)
    np.save(places.here / "one.npy", one)
    np.savez(places.here / "both.npz", one=one, two=two)
    np.savez_compressed(places.here / "small.npz", two=two)
    for place in (places.here, places.there):
        assert np.array_equal(np.load(place / "one.npy"), one)
        with np.load(place / "both.npz") as both, np.load(place / "small.npz") as small:
            assert np.array_equal(both["one"], one)
            assert np.array_equal(both["two"], two)
            assert np.array_equal(small["two"], two)


def numpy_memmap(places: Places) -> None:
    """memmap: made (w+), changed in place (r+), read (r), and load with mmap_mode."""
    made = np.memmap(places.here / "map", dtype="float64", mode="w+", shape=(200, 1000))
    made[:] = numbers(3, 200, 1000)
    made.flush()
    del made
    changed = np.memmap(places.here / "map", dtype="float64", mode="r+", shape=(200, 1000))
    changed[17, :3] = (1.0, 2.0, 3.0)
    changed.flush()
    del changed
    want = numbers(3, 200, 1000)
    want[17, :3] = (1.0, 2.0, 3.0)
    for place in (places.here, places.there):
        seen = np.memmap(place / "map", dtype="float64", mode="r", shape=(200, 1000))
        assert np.array_equal(seen, want)
        del seen
    np.save(places.here / "a.npy", want)
    assert np.array_equal(np.load(places.there / "a.npy", mmap_mode="r")[100:110], want[100:110])


def parquet(places: Places) -> None:
    """pandas and pyarrow: one file, a partitioned dataset, a filter, and a second write."""
    import pandas as pd
    import pyarrow.dataset as ds

    frame = pd.DataFrame({"a": np.arange(5000), "b": numbers(4, 5000), "day": np.arange(5000) % 5})
    frame.to_parquet(places.here / "one.parquet")
    frame.to_parquet(places.here / "parts", partition_cols=["day"])
    frame[:100].to_parquet(places.here / "one.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(places.there / "one.parquet"), frame[:100])
    part = pd.read_parquet(places.there / "parts", filters=[("day", "==", 3)])
    assert sorted(part["a"]) == list(range(3, 5000, 5))
    dataset = ds.dataset(places.there / "parts", partitioning="hive")
    assert dataset.count_rows() == 5000
    frame.to_csv(places.here / "t.csv", index=False)
    assert len(pd.read_csv(places.there / "t.csv")) == 5000


def arrow_mapped(places: Places) -> None:
    """An Arrow file that is mapped, as Hugging Face's datasets are."""
    import pyarrow as pa

    table = pa.table({"a": list(range(20_000)), "text": ["row"] * 20_000})
    with (
        pa.OSFile(str(places.here / "t.arrow"), "wb") as sink,
        pa.ipc.new_file(sink, table.schema) as writer,
    ):
        writer.write_table(table, max_chunksize=1000)
    for place in (places.here, places.there):
        with pa.memory_map(str(place / "t.arrow")) as source:
            assert pa.ipc.open_file(source).read_all().equals(table)


def duckdb(places: Places) -> None:
    """Queries over Parquet files, an export, and a database file of its own."""
    import duckdb as engine

    with engine.connect(str(places.here / "own.db")) as own:
        own.sql("create table t as select range as n, range % 7 as k from range(20000)")
        own.sql(f"copy t to '{places.here}/t.parquet'")
    query = "select sum(n), count(distinct k) from "
    with engine.connect(str(places.there / "own.db"), read_only=True) as own:
        assert own.sql(f"{query} t").fetchall() == [(199_990_000, 7)]
        assert own.sql(f"{query} '{places.there}/*.parquet'").fetchall() == [(199_990_000, 7)]


def hdf5(places: Places) -> None:
    """h5py: create, append in chunks, change in place, read parts."""
    import h5py  # type: ignore[import-untyped]  # it has no types

    data = numbers(5, 1000, 64)
    with h5py.File(places.here / "d.h5", "w") as file:
        file.create_dataset("x", data=data, maxshape=(None, 64), chunks=(100, 64))
        file.create_dataset("packed", data=data, compression="gzip")
    with h5py.File(places.here / "d.h5", "a") as file:
        file["x"].resize(1500, axis=0)
        file["x"][1000:] = data[:500]
        file["x"][3, 3] = 42.0
        file.attrs["epoch"] = 9
    data_3 = data.copy()
    data_3[3, 3] = 42.0
    for place in (places.here, places.there):
        with h5py.File(place / "d.h5", "r") as file:
            assert np.array_equal(file["x"][:1000], data_3)
            assert np.array_equal(file["x"][1000:], data[:500])
            assert np.array_equal(file["packed"][10:20], data[10:20])
            assert file.attrs["epoch"] == 9


def hdf5_swmr(places: Places) -> None:
    """One writer and one reader at a time (SWMR) of a new file, in one mount."""
    import h5py

    with h5py.File(places.here / "s.h5", "w", libver="latest") as file:
        series = file.create_dataset("series", (1,), maxshape=(None,), chunks=(10,), dtype="i8")
        file.swmr_mode = True
        command = [sys.executable, "-c", READ_WHILE_WRITTEN, str(places.here / "s.h5")]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        ) as reader:
            assert reader.stdin
            assert reader.stdout
            assert reader.stdout.readline() == "1\n"
            for length in (15, 40, 200):
                series.resize(length, axis=0)
                series[:] = np.arange(length)
                series.flush()
                reader.stdin.write("look\n")
                reader.stdin.flush()
                assert reader.stdout.readline() == f"{length} {length - 1}\n"
            reader.stdin.close()
            assert reader.wait(20) == 0
    with h5py.File(places.there / "s.h5", "r") as file:
        assert list(file["series"]) == list(range(200))


def zarr_stores(places: Places) -> None:
    """Zarr 2 and 3 on the folder: create, append, change a chunk, read elsewhere."""
    import zarr

    data = numbers(6, 120, 40)
    for version in (2, 3):
        name = f"z{version}"
        array = zarr.create_array(
            places.here / name, shape=(120, 40), chunks=(30, 40), dtype="f8", zarr_format=version
        )
        array[:] = data
        array.append(data[:30])
        array[5, :] = 1.0
        array.attrs["note"] = "kept"
        seen = zarr.open_array(places.there / name, mode="r")
        want = np.concatenate([data, data[:30]])
        want[5, :] = 1.0
        assert np.array_equal(seen[:], want)
        assert seen.attrs["note"] == "kept"
    group = zarr.open_group(places.here / "g", mode="w")
    group.create_group("sub").create_array("a", data=data)
    seen = zarr.open_array(places.there / "g" / "sub" / "a", mode="r")
    assert np.array_equal(seen[:], data)
    assert names(places.there / "g") == ["sub", "zarr.json"]


def zarr_groups_in_passing(places: Places) -> None:
    """Zarr 3 makes groups it was not asked for by a hard link: EPERM; asked for, it makes them."""
    import zarr

    group = zarr.open_group(places.here / "g", mode="w")
    try:
        group.create_array("sub/a", data=np.ones(3))
    except PermissionError:
        group.create_group("other").create_array("a", data=np.ones(3))
    else:
        raise AssertionError("hard links work: move this to what works")
    seen = zarr.open_array(places.there / "g" / "other" / "a", mode="r")
    assert np.array_equal(seen[:], np.ones(3))
