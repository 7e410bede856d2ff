"""Frameworks and tools at work on a mounted container; `mount/FRAMEWORKS.md` lists them."""

from __future__ import annotations

from tests.mount.frameworks.conftest import Bench


def test_save_and_load(bench: Bench) -> None:
    """Checkpoints of five epochs, each over the last by temporary file and rename."""
    bench.run("torch_files", "save_and_load")


def test_load_mapped(bench: Bench) -> None:
    """A checkpoint is mapped, right after it was written and from an empty cache."""
    bench.run("torch_files", "load_mapped")


def test_distributed_checkpoint(bench: Bench) -> None:
    """torch.distributed.checkpoint saves a folder and loads it into an empty model."""
    bench.run("torch_files", "distributed_checkpoint")


def test_loader_with_workers(bench: Bench) -> None:
    """Two forked workers read forty files in two epochs."""
    bench.run("torch_files", "loader_with_workers")


def test_safetensors(bench: Bench) -> None:
    """save_file, load_file, and safe_open that maps and takes one slice."""
    bench.run("torch_files", "safetensors")


def test_trainer_checkpoints(bench: Bench) -> None:
    """Folders as Hugging Face's Trainer makes them: staged, renamed, the oldest removed."""
    bench.run("torch_files", "trainer_checkpoints")


def test_hub_cache(bench: Bench) -> None:
    """The layout of Hugging Face's cache: blobs, links from snapshots, a ref, a lock."""
    bench.run("torch_files", "hub_cache")


def test_numpy_files(bench: Bench) -> None:
    """save, savez, savez_compressed, load."""
    bench.run("arrays", "numpy_files")


def test_numpy_memmap(bench: Bench) -> None:
    """memmap: made (w+), changed in place (r+), read (r), and load with mmap_mode."""
    bench.run("arrays", "numpy_memmap")


def test_parquet(bench: Bench) -> None:
    """pandas and pyarrow: one file, a partitioned dataset, a filter, and a second write."""
    bench.run("arrays", "parquet")


def test_arrow_mapped(bench: Bench) -> None:
    """An Arrow file that is mapped, as Hugging Face's datasets are."""
    bench.run("arrays", "arrow_mapped")


def test_duckdb(bench: Bench) -> None:
    """Queries over Parquet files, an export, and a database file of its own."""
    bench.run("arrays", "duckdb")


def test_hdf5(bench: Bench) -> None:
    """h5py: create, append in chunks, change in place, read parts."""
    bench.run("arrays", "hdf5")


def test_hdf5_swmr(bench: Bench) -> None:
    """One writer and one reader at a time (SWMR) of a new file, in one mount."""
    bench.run("arrays", "hdf5_swmr")


def test_zarr_stores(bench: Bench) -> None:
    """Zarr 2 and 3 on the folder: create, append, change a chunk, read elsewhere."""
    bench.run("arrays", "zarr_stores")


def test_zarr_groups_in_passing(bench: Bench) -> None:
    """Zarr 3 makes groups it was not asked for by a hard link: EPERM; asked for, it makes them."""
    bench.run("arrays", "zarr_groups_in_passing")


def test_sqlite_journals(bench: Bench) -> None:
    """Commit, roll back, read and check with every rollback journal."""
    bench.run("logs", "sqlite_journals")


def test_sqlite_two_programs(bench: Bench) -> None:
    """Two programs of one machine write in turns, and no row is lost."""
    bench.run("logs", "sqlite_two_programs")


def test_sqlite_wal(bench: Bench) -> None:
    """The write-ahead log works for programs of one machine; closing folds it into the file."""
    bench.run("logs", "sqlite_wal")


def test_tensorboard_events(bench: Bench) -> None:
    """Event records are followed by a reader while they are appended, and all arrive."""
    bench.run("logs", "tensorboard_events")


def test_rotating_logs(bench: Bench) -> None:
    """Python's rotating log handler renames full logs and goes on."""
    bench.run("logs", "rotating_logs")


def test_git_repository(bench: Bench) -> None:
    """init, commit, clone onto and from the mount, push, gc, and a check of every object."""
    bench.run("tools", "git_repository")


def test_tar_archives(bench: Bench) -> None:
    """An archive is made on the mount, and unpacked there with times, modes and links."""
    bench.run("tools", "tar_archives")


def test_rsync_twice(bench: Bench) -> None:
    """rsync -a copies all there is; the second time it transfers nothing."""
    bench.run("tools", "rsync_twice")


def test_copies(bench: Bench) -> None:
    """cp -a, cp -r, shutil.copytree, mv and rm -r."""
    bench.run("tools", "copies")


def test_safe_replacement(bench: Bench) -> None:
    """tempfile beside the target, fsync, os.replace: readers elsewhere see a whole file."""
    bench.run("tools", "safe_replacement")


def test_zip_archives(bench: Bench) -> None:
    """zipfile writes, appends and reads an archive on the mount."""
    bench.run("tools", "zip_archives")


def test_many_processes(bench: Bench) -> None:
    """Eight processes write eight files each, and all read what the others wrote."""
    bench.run("tools", "many_processes")
