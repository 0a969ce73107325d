"""Where the decoder looks: its attention to the image while it writes the tokens of an answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from .annotations import Boxes
from .data.transforms import Placement
from .errors import UsageError
from .example import Example
from .geometry import FloatArray, warp_boxes
from .heat import Panel, draw_panels, panel_size
from .inference import Pass, Predictor, Question
from .task import Annotations, Decoded

LAST = -1  # the decoder's last layer, as DETR shows it (arXiv 2005.12872, figure 6)


@dataclass(frozen=True, eq=False)
class AttentionMap:
    """Where the decoder looked while it wrote some tokens: the mean over these and over all heads of a layer."""

    label: str  # what the tokens say
    share: FloatArray  # (h, w) of the attention that each cell of the view got; sums to 1, padding has 0
    placement: Placement  # of the view in the image
    item: int | None = None  # the row that they speak of in the boxes of the answer; None: of the whole answer
    about: Boxes | None = None  # that row, in pixels of the image

    def over(self, size: tuple[int, int] | None = None) -> FloatArray:
        """Attention to each pixel (H, W) of the image, as a multiple of what it would be if all cells got the same.

        Smooth between the middles of cells, 0 outside the view. `size`: (width, height) where the image was resized.
        """
        across, down = (self._blend(axis, pixels) for axis, pixels in enumerate(size or self.placement.image))
        times_even: FloatArray = self._cells(0) * self._cells(1) * (down @ self.share @ across.T)
        return times_even

    def inside(self, xyxy: FloatArray) -> float:
        """Share of the attention that a box (4,) in pixels of the image got, in [0, 1]; a cell's is spread evenly."""
        (box,) = warp_boxes(np.asarray(xyxy, dtype=np.float64)[None], self.placement.matrix, self.placement.size)
        across, down = (self._part(axis, box[axis], box[axis + 2]) for axis in (0, 1))
        return float(down @ self.share @ across)

    def _blend(self, axis: int, pixels: int) -> FloatArray:
        """Weights (pixels, cells) of the cells along an axis (0: x) at the middle of each of the image's pixels."""
        cells, extent = self.share.shape[1 - axis], self.placement.size[axis]
        middles = (np.arange(pixels) + 0.5) * self.placement.image[axis] / pixels
        places = middles * self.placement.matrix[axis, axis] + self.placement.matrix[axis, 2]  # in the unit square
        centred = np.clip(places * cells - 0.5, 0, self._cells(axis) - 1)
        weights = np.clip(1 - np.abs(centred[:, None] - np.arange(cells)), 0, None)
        seen: FloatArray = weights * ((places >= 0) & (places <= extent))[:, None]
        return seen

    def _cells(self, axis: int) -> int:
        """How many along an axis (0: x) are not padding alone, as `valid_cells` has it."""
        cells: int = self.share.shape[1 - axis]
        return max(1, math.ceil(self.placement.size[axis] * cells - 5e-4))

    def _part(self, axis: int, low: float, high: float) -> FloatArray:
        """The part (cells,) of each cell along an axis that lies between two places, of what of it is picture."""
        cells = self.share.shape[1 - axis]
        edges = np.minimum(np.arange(cells + 1) / cells, self.placement.size[axis])
        part: FloatArray = np.diff(edges.clip(low, high)) / np.maximum(np.diff(edges), 1e-12)
        return part


class AttentionWatch:
    """Collects the maps of every passage that a `Predictor` writes for some tasks; to be given to its `predict`.

    Left out is what scores less than the predictor's `floor`. `layer`: of the decoder; None: the mean of all.
    Raises UsageError for a layer that there is not.
    """

    def __init__(self, predictor: Predictor, names: Sequence[str], layer: int | None = LAST) -> None:
        depth = len(predictor.model.decoder.layers)
        if layer is not None and not -depth <= layer < depth:
            raise UsageError(f"layer {layer}: the decoder has {depth}, from 0 or, from the last, -1 on")
        self.predictor, self.names, self.layer = predictor, names, layer
        self.maps: dict[tuple[int, str], list[AttentionMap]] = {}  # by image and task
        self._rows: dict[tuple[int, str], int] = {}  # of the answer so far

    def __call__(self, question: Question, samples: Sequence[Decoded], answer: Annotations, state: Pass) -> None:
        """As `inference.Watch`; of several samples the first is looked at."""
        name, said, placement = question.task.name, samples[0], state.placements[question.view]
        if name not in self.names:
            return
        kept = self._kept((question.image, name), answer, placement)
        passages = question.task.passages(question.query, said, self.predictor.vocab)
        passages = [passage for passage in passages if passage.item is None or passage.item in kept]
        shares = self._shares(question, said, state) if passages else np.zeros((0, 1, 1))
        self.maps.setdefault((question.image, name), []).extend(
            AttentionMap(p.label, shares[list(p.tokens)].mean(axis=0), placement, *kept.get(p.item, (None, None)))
            for p in passages
        )

    def _kept(
        self, key: tuple[int, str], answer: Annotations, placement: Placement
    ) -> dict[int | None, tuple[int, Boxes]]:
        """Of the boxes of this answer those that are kept: their row in the whole one, and themselves in pixels."""
        kept: dict[int | None, tuple[int, Boxes]] = {}
        boxes = next((a for a in answer.values() if isinstance(a, Boxes)), Boxes(np.zeros((0, 4)), ()))
        for item in range(len(boxes)):
            one = boxes.take([item]).warp(placement.inverse, placement.image)  # dropped where it has no area
            if (one.scores >= self.predictor.floor).any():
                self._rows[key] = row = self._rows.get(key, -1) + 1
                kept[item] = row, one
        return kept

    def _shares(self, question: Question, said: Decoded, state: Pass) -> FloatArray:
        """Attention (L, h, w) while each token of the answer was written: that of the position before it."""
        prompt, decoder = question.query.prompt, self.predictor.model.decoder
        read = torch.from_numpy(np.concatenate([prompt, said.tokens])[None, :-1]).to(self.predictor.device)
        assert state.memory  # noqa: S101  # what was asked about was encoded
        weights = decoder.weights(read, state.memory.take([question.view]))[:, 0, :, len(prompt) - 1 :]
        seen = (weights.mean(dim=0) if self.layer is None else weights[self.layer]).mean(dim=0)
        side = math.isqrt(seen.shape[1])  # views are square
        shares: FloatArray = seen.cpu().double().numpy().reshape(-1, side, side)
        return shares


def draw_attention(image: NDArray[np.uint8], maps: Sequence[AttentionMap]) -> Image.Image:
    """The image (H, W, 3) uint8, then once under each map; of each is told how many times an even spread it gets to.

    The maps are those of one object, whose box is shown, or of a whole answer; of many, the first 64 are drawn.
    """
    height, width = image.shape[:2]
    size, about = panel_size((width, height)), maps[0].about if maps else None
    title = f"{about.labels[0]} {about.scores[0]:.2f}" if about else ""
    return draw_panels(image, title, [Panel(m.label, m.over(size)) for m in maps], about.xyxy[0] if about else None)


def attention_maps(
    predictor: Predictor,
    example: Example,
    task: str,
    given: Annotations | None = None,
    layer: int | None = LAST,
) -> list[AttentionMap]:
    """Where the decoder looks while it answers one task about one image: a map of each passage of the answer.

    A passage is what a task calls so: an object's category, each of its coordinates, a word, a point. `given` as for
    `Predictor.predict`, `layer` as for `AttentionWatch`, and the same errors are raised.
    """
    watch = AttentionWatch(predictor, [task], layer)
    predictor.predict([example], [task], [given or {}], watch)
    return watch.maps.get((0, task), [])
