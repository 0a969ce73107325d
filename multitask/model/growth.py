"""Weights of one model made to fit another: rows of the vocabulary by name, positions for other sizes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import CheckpointError
from ..sequence.vocabulary import Vocabulary
from .encoder import TimmTransformer
from .encoder_decoder import EncoderDecoder
from .state import Tensors

TABLES = ("decoder.embedding", "decoder.output_bias")  # (V, dim) and (V,): a row for each token
POSITIONS = "decoder.positions"  # (max_length, dim)
NAMED = 5  # new tokens that a note names

Names = dict[tuple[str, str], int]


def grow_vocabulary(weights: dict[str, Tensor], fresh: Tensors, old: Vocabulary, new: Vocabulary) -> Iterator[str]:
    """Replaces the rows of the table `old` in `weights` by those of `new`, in place; gives notes on what changed.

    Tokens are the same where block and spelling are; text pieces may have another number. What `old` lacks begins as in
    `fresh`, the state of a new model. Coordinates of another number of bins lie between those of the old bins.
    """
    ids, names = _names(old), _names(new)
    pairs = [(ids[key], number) for key, number in names.items() if key in ids]
    if old.bins != new.bins:
        pairs = [(source, target) for source, target in pairs if target not in new.coord]
        yield f"coordinates of {old.bins} bins interpolated to {new.bins}"
    for table in TABLES:
        if table in weights and _same_width(weights[table], fresh[table], len(old)):
            weights[table] = _rows(weights[table], fresh[table], pairs, old.coord, new.coord)
    kept = len(pairs) + (new.bins if old.bins != new.bins else 0)
    unknown = [number for key, number in names.items() if key not in ids and number not in new.coord]
    yield f"{kept:,} of {len(new):,} rows of the vocabulary taken over{_listed(unknown, new)}"


def _names(vocab: Vocabulary) -> Names:
    """The id of every token by block and spelling: a text piece without its number."""
    return {
        (block, token.partition(":")[2] if block == "text" else token): start + place
        for block, extents in vocab.blocks.items()
        for start, tokens in extents
        for place, token in enumerate(tokens)
    }


def _same_width(table: Tensor, fresh: Tensor, rows: int) -> bool:
    """Whether it is a table of so many rows as wide as the new one; any other is left for `load_into` to refuse."""
    return table.ndim > 0 and len(table) == rows and table.shape[1:] == fresh.shape[1:]


def _rows(table: Tensor, fresh: Tensor, pairs: list[tuple[int, int]], old: range, new: range) -> Tensor:
    sources, targets = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).T
    rows = fresh.detach().to(table.dtype).clone()
    rows[targets] = table[sources]
    if len(old) != len(new):
        rows[new.start : new.stop] = _interpolated(table[old.start : old.stop], len(new))
    return rows


def _interpolated(axis: Tensor, bins: int) -> Tensor:
    """(n, ...) to (bins, ...), linearly; the first and the last bin are the ends of the axis in both."""
    columns = axis.reshape(1, len(axis), -1).mT.float()
    return F.interpolate(columns, bins, mode="linear", align_corners=True).mT.reshape(bins, *axis.shape[1:]).to(axis)


def _listed(ids: list[int], vocab: Vocabulary) -> str:
    more = f" and {len(ids) - NAMED:,} more" if len(ids) > NAMED else ""
    return f"; new: {', '.join(vocab.render([number]) for number in ids[:NAMED])}{more}" if ids else ""


def fit_positions(weights: dict[str, Tensor], fresh: Tensors) -> Iterator[str]:
    """Cuts the decoder's positions in `weights` to the length in `fresh`, or adds those that it has more, in place."""
    old, new = weights.get(POSITIONS), fresh[POSITIONS]
    if old is None or old.ndim != 2 or old.shape[1] != new.shape[1] or len(old) == len(new):
        return
    weights[POSITIONS] = torch.cat([old[: len(new)], new[len(old) :].detach().to(old.dtype)])
    yield f"positions of the decoder {'cut' if len(new) < len(old) else 'lengthened'} from {len(old)} to {len(new)}"


def resize_encoder(model: EncoderDecoder, image_size: int) -> Iterator[str]:
    """Gives timm transformers in the encoder another input size, as timm does: positions are resampled.

    Raises CheckpointError for one that timm cannot resize.
    """
    for module in model.encoder.modules():
        if not isinstance(module, TimmTransformer):
            continue
        net: Any = module.net
        before = net.patch_embed.grid_size
        if not hasattr(net, "set_input_size"):
            raise CheckpointError(
                f"model.image_size {image_size}: timm cannot resize the positions of {type(net).__name__}, "
                "which the weights of model.init have: keep the image size of their run"
            )
        net.set_input_size(img_size=(image_size, image_size))
        after = net.patch_embed.grid_size
        yield f"positions of the encoder resized from {before[0]} x {before[1]} to {after[0]} x {after[1]}"
