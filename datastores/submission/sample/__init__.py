"""Sample data and a sample script: small pictures of three shapes, and a model that tells them."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

SHAPES = ("disk", "frame", "stripes")
SIDE = 16
SCRIPT = "train.py"


def write_pictures(folder: Path, per_shape: int = 40, seed: int = 7) -> Path:
    """Pictures as PGM files below `pictures/`, and `labels.csv` beside them; the labels' path."""
    chance = random.Random(seed)  # noqa: S311  # pictures, not keys
    pictures = folder / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    lines = ["file,shape"]
    for number in range(per_shape):
        for shape in SHAPES:
            name = f"{shape}-{number:03}.pgm"
            (pictures / name).write_bytes(_picture(shape, chance))
            lines.append(f"{name},{shape}")
    labels = folder / "labels.csv"
    labels.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return labels


def write_script(folder: Path) -> Path:
    """The sample script, in a source folder of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(Path(__file__).with_name(SCRIPT), folder / SCRIPT))


def _picture(shape: str, chance: random.Random) -> bytes:
    """One picture, its shape a little out of the middle and with noise over it."""
    middle = (SIDE - 1) / 2
    right, down = chance.uniform(-1, 1), chance.uniform(-1, 1)
    values = bytearray()
    for y in range(SIDE):
        for x in range(SIDE):
            across, along = abs(x - middle - right), abs(y - middle - down)
            is_lit = {
                "disk": across * across + along * along <= 25,
                "frame": 4 <= max(across, along) <= 6,
                "stripes": int(x + right) % 4 < 2,
            }[shape]
            values.append(min(255, max(0, int((190 if is_lit else 50) + chance.gauss(0, 20)))))
    return b"P5 %d %d 255\n" % (SIDE, SIDE) + bytes(values)
