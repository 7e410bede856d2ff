"""Learn to tell shapes on small pictures apart: a training script as people write them.

It knows nothing of stores: its inputs are a folder and a file, its output is a folder.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
from pathlib import Path

PICTURES_FOR_TESTING = 4  # every fourth


def read_picture(path: Path) -> list[float]:
    """The pixels of a PGM file, from 0 to 1, and a constant 1 after them."""
    header, _, pixels = path.read_bytes().partition(b"\n")
    kind, _, _, brightest = header.split()
    if kind != b"P5":
        raise SystemExit(f"{path} is no PGM picture")
    return [value / int(brightest) for value in pixels] + [1.0]


def guess(weights: list[list[float]], picture: list[float]) -> list[float]:
    """How likely each shape is."""
    sums = [sum(w * x for w, x in zip(row, picture, strict=True)) for row in weights]
    powers = [math.exp(one - max(sums)) for one in sums]
    return [one / sum(powers) for one in powers]


def main() -> None:
    """Read the pictures, learn, test, write the model."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=8)
    given = parser.parse_args()

    with given.labels.open(newline="") as file:
        rows = list(csv.DictReader(file))
    shapes = sorted({row["shape"] for row in rows})
    known = [(read_picture(given.pictures / row["file"]), row["shape"]) for row in rows]
    testing, training = known[::PICTURES_FOR_TESTING], []
    for index, one in enumerate(known):
        if index % PICTURES_FOR_TESTING:
            training.append(one)
    print(f"read {len(known)} pictures of {', '.join(shapes)}")  # noqa: T201  # a script speaks

    weights = [[0.0] * len(known[0][0]) for _ in shapes]
    for epoch in range(1, given.epochs + 1):
        loss = 0.0
        for picture, shape in training:
            likely = guess(weights, picture)
            loss -= math.log(likely[shapes.index(shape)])
            for row, name, part in zip(weights, shapes, likely, strict=True):
                step = 0.05 * ((name == shape) - part)
                for index, value in enumerate(picture):
                    row[index] += step * value
        print(f"epoch {epoch}: loss {loss / len(training):.4f}")  # noqa: T201

    right = 0
    for picture, shape in testing:
        likely = guess(weights, picture)
        right += shapes[likely.index(max(likely))] == shape
    accuracy = right / len(testing)
    print(f"accuracy on {len(testing)} pictures it has not seen: {accuracy:.0%}")  # noqa: T201

    given.model.mkdir(parents=True, exist_ok=True)
    model = {"shapes": shapes, "weights": weights, "accuracy": accuracy}
    (given.model / "model.json").write_text(json.dumps(model), encoding="utf-8")


if __name__ == "__main__":
    main()
