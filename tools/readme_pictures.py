"""The pictures of the README and the guides: what a model that was trained on `shapes` answers about one scene that it
has not seen, and where it looked for its first object.

    python tools/readme_pictures.py runs/shapes docs/pictures --scene 12

Scenes of the split `test`: no figure of the README was computed on them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

from multitask.assembly import open_run
from multitask.attention import attention_maps, draw_attention
from multitask.data.source import open_dataset
from multitask.draw import draw
from multitask.inference import above
from multitask.machine import pick_device

SIDE = 384  # pixels
COLOURS = 128  # a palette makes noisy scenes four times smaller


def main() -> None:
    """Write TASK.png for every task of the run, and attention.jpg of the first of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--scene", type=int, default=0, help="number of the scene in the split `test`")
    parser.add_argument("--min-score", type=float, default=0.3)
    arguments = parser.parse_args()
    run, example = open_run(arguments.run), open_dataset("shapes", "test", role="val")[arguments.scene]
    predictor = run.predictor(pick_device("cpu"))
    predictor.floor = arguments.min_score
    (answers,) = predictor.predict([example], list(run.tasks))
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, prediction in answers.items():
        shown = list(above(prediction.annotations, arguments.min_score).values())
        picture = draw(example.load(), shown)
        picture = picture.resize((SIDE, round(SIDE * picture.height / picture.width)), Image.Resampling.LANCZOS)
        picture.quantize(COLOURS).save(arguments.out / f"{name}.png", optimize=True)
    maps = attention_maps(predictor, example, next(iter(run.tasks)))
    sheet = draw_attention(example.load(), [seen for seen in maps if seen.item == maps[0].item])
    sheet.save(arguments.out / "attention.jpg", quality=80, optimize=True)


if __name__ == "__main__":
    main()
