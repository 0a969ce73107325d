"""What a run begins with: a new table of tokens and a new model, or those of a checkpoint made to fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

from ..assembly import empty_model, grown_vocabulary, make_vocabulary, saved_vocabulary
from ..checkpoint import Saved, load_weights
from ..config import Config
from ..data.dataset import Dataset
from ..errors import UsageError
from ..hub import located
from ..model.encoder_decoder import EncoderDecoder, build_model
from ..model.growth import fit_positions, grow_vocabulary, resize_encoder
from ..model.state import load_into
from ..sections import ModelConfig
from ..sequence.vocabulary import Vocabulary
from ..task import Task


@dataclass(frozen=True, eq=False)
class Beginning:
    """The tokens and the model of a new run, and what there is to say of where they come from, a line each."""

    vocab: Vocabulary
    model: EncoderDecoder
    notes: tuple[str, ...] = ()


def begin(config: Config, tasks: Mapping[str, Task], dataset: Dataset) -> Beginning:
    """The model that `config` describes, with random weights or with those that `model.init` names.

    Raises UsageError where the settings forbid to take them, CheckpointError for weights that cannot be had, are
    damaged, or do not fit.
    """
    if not config.model.init:
        vocab = make_vocabulary(config, tasks, dataset)
        return Beginning(vocab, build_model(config.model, len(vocab), vocab.coord))
    saved = load_weights(located(config.model.init))
    _refuse_other_meaning(config.model, saved)
    old = saved_vocabulary(saved)
    vocab = _vocabulary(config, tasks, dataset, saved, old)
    model = build_model(config.model.model_copy(update={"pretrained": False}), len(vocab), vocab.coord)
    notes = _fill(model, config, saved, old, vocab)
    return Beginning(vocab, model, tuple(f"init: {note}" for note in notes))


def _vocabulary(
    config: Config, tasks: Mapping[str, Task], dataset: Dataset, saved: Saved, old: Vocabulary
) -> Vocabulary:
    if config.model.init_vocabulary == "fit":
        return make_vocabulary(config, tasks, dataset)
    advice = "or model.init_vocabulary=fit, since otherwise all its tokens stay"
    _refuse_other("bins", old.bins, config.bins, saved, advice)
    _refuse_other("text_model", saved.config.text_model, config.text_model, saved, advice)
    return grown_vocabulary(old, tasks, dataset)


def _refuse_other(key: str, theirs: object, ours: object, saved: Saved, advice: str) -> None:
    if theirs != ours:
        raise UsageError(f"{key} is {ours}, but {theirs} in {saved.folder}: set {key}={theirs}, {advice}")


def _refuse_other_meaning(config: ModelConfig, saved: Saved) -> None:
    """Settings that change what the same tensors do, so that no shape gives them away."""
    before, published = saved.config.model, ("vit", "resnet_transformer")
    pairs = {
        "positions": (before.positions, config.positions),
        "decoder.heads": (before.decoder.heads, config.decoder.heads),
    }
    if before.encoder == config.encoder and config.encoder in published:
        pairs["transformer.heads"] = (before.transformer.heads, config.transformer.heads)
    for key, (theirs, ours) in pairs.items():
        _refuse_other(f"model.{key}", theirs, ours, saved, "as its weights want it")


def _fill(model: EncoderDecoder, config: Config, saved: Saved, old: Vocabulary, new: Vocabulary) -> list[str]:
    """Loads the saved weights into the new model; notes on what had to be changed."""
    weights, fresh = dict(saved.weights), model.state_dict()
    notes = [f"weights of {saved.folder}, step {saved.step:,}", *([saved.notice] if saved.notice else [])]
    notes += _resized(weights, fresh, config, saved, old)
    notes += grow_vocabulary(weights, fresh, old, new)
    notes += fit_positions(weights, fresh)
    load_into(model, weights, saved.file)
    return notes


def _resized(
    weights: dict[str, Tensor], fresh: Mapping[str, Tensor], config: Config, saved: Saved, old: Vocabulary
) -> Iterator[str]:
    """Where the encoder has positions for its own image size: the saved model, told of another one."""
    theirs, ours = saved.config.model, config.model
    encoder = {key for key in weights.keys() & fresh.keys() if key.startswith("encoder.")}
    misfits = any(weights[key].shape != fresh[key].shape for key in encoder)
    if not misfits or theirs.encoder != ours.encoder or theirs.image_size == ours.image_size:
        return
    model = empty_model(saved.config, old)
    load_into(model, weights, saved.file)
    yield from resize_encoder(model, ours.image_size)
    weights.update(model.state_dict())
