"""PyTorch: checkpoints, mapped checkpoints, distributed checkpoints, loaders with workers."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset

from tests.mount.frameworks.working import Places, names


def state(seed: int) -> dict[str, torch.Tensor]:
    """Weights of some layers; about 3 MiB."""
    torch.manual_seed(seed)
    return {f"layer{number}.weight": torch.randn(256, 256) for number in range(12)}


def agree(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def save_and_load(places: Places) -> None:
    """Checkpoints of five epochs, each over the last by temporary file and rename."""
    for epoch in range(5):
        torch.save({"epoch": epoch, "model": state(epoch)}, places.here / "tmp.pt")
        (places.here / "tmp.pt").replace(places.here / "last.pt")
        loaded = torch.load(places.here / "last.pt")
        assert (loaded["epoch"], agree(loaded["model"], state(epoch))) == (epoch, True)
    loaded = torch.load(places.there / "last.pt")
    assert (loaded["epoch"], agree(loaded["model"], state(4))) == (4, True)
    assert names(places.there) == ["last.pt"]


def load_mapped(places: Places) -> None:
    """A checkpoint is mapped, right after it was written and from an empty cache."""
    torch.save(state(7), places.here / "model.pt")
    for place in (places.here, places.there):
        assert agree(torch.load(place / "model.pt", mmap=True), state(7))


def distributed_checkpoint(places: Places) -> None:
    """torch.distributed.checkpoint saves a folder and loads it into an empty model."""
    from torch.distributed.checkpoint.state_dict_loader import load
    from torch.distributed.checkpoint.state_dict_saver import save

    save({"model": state(1)}, checkpoint_id=places.here / "step1")
    into = {"model": {name: torch.zeros_like(value) for name, value in state(1).items()}}
    load(into, checkpoint_id=places.there / "step1")
    assert agree(into["model"], state(1))
    assert ".metadata" in names(places.there / "step1")


class Files(Dataset[torch.Tensor]):
    """One tensor per file."""

    def __init__(self, folder: Path) -> None:
        self.paths = sorted(folder.iterdir())

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        loaded: torch.Tensor = torch.load(self.paths[index])
        return loaded


def loader_with_workers(places: Places) -> None:
    """Two forked workers read forty files in two epochs."""
    (places.here / "train").mkdir()
    for number in range(40):
        torch.save(torch.full((32, 32), number), places.here / "train" / f"{number:03}.pt")
    for _epoch in range(2):
        loader = DataLoader(
            Files(places.there / "train"), batch_size=8, num_workers=2, shuffle=True
        )
        seen = sorted(int(one[0, 0]) for batch in loader for one in batch)
        assert seen == list(range(40))


def safetensors(places: Places) -> None:
    """save_file, load_file, and safe_open that maps and takes one slice."""
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    save_file(state(3), places.here / "model.safetensors", metadata={"format": "pt"})
    for place in (places.here, places.there):
        assert agree(load_file(place / "model.safetensors"), state(3))
        with safe_open(place / "model.safetensors", framework="pt") as file:
            part = file.get_slice("layer5.weight")[10:20]
        assert torch.equal(part, state(3)["layer5.weight"][10:20])


def trainer_checkpoints(places: Places) -> None:
    """Folders as Hugging Face's Trainer makes them: staged, renamed, the oldest removed."""
    import json

    from safetensors.torch import load_file, save_file

    for step in (10, 20, 30):
        staging, final = places.here / f"tmp-checkpoint-{step}", places.here / f"checkpoint-{step}"
        staging.mkdir()
        shards = {}
        for shard, layers in enumerate((list(state(step))[:6], list(state(step))[6:]), 1):
            file = f"model-{shard:05}-of-00002.safetensors"
            save_file({name: state(step)[name] for name in layers}, staging / file)
            shards.update(dict.fromkeys(layers, file))
        (staging / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
        (staging / "config.json").write_text(json.dumps({"step": step}))
        torch.save({"step": step}, staging / "optimizer.pt")
        staging.rename(final)
        folder = os.open(places.here, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
        for oldest in sorted(places.here.glob("checkpoint-*"))[:-2]:
            shutil.rmtree(oldest)
    last = places.there / "checkpoint-30"
    index = json.loads((last / "model.safetensors.index.json").read_text())["weight_map"]
    loaded = {name: load_file(last / file)[name] for name, file in index.items()}
    assert agree(loaded, state(30))
    assert names(places.there) == ["checkpoint-20", "checkpoint-30"]


def hub_cache(places: Places) -> None:
    """The layout of Hugging Face's cache: blobs, links from snapshots, a ref, a lock."""
    import fcntl

    root = places.here / "hub" / "models--org--name"
    for part in ("blobs", "refs", "snapshots/abc"):
        (root / part).mkdir(parents=True)
    with (root / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        torch.save(state(2), root / "blobs" / "0123.incomplete")
        shutil.move(root / "blobs" / "0123.incomplete", root / "blobs" / "0123")
        (root / "snapshots" / "abc" / "model.pt").symlink_to("../../blobs/0123")
        (root / "refs" / "main").write_text("abc")
    snapshots = places.there / "hub" / "models--org--name" / "snapshots"
    assert agree(torch.load(snapshots / "abc" / "model.pt"), state(2))
    assert (snapshots / "abc" / "model.pt").is_symlink()
