"""From a config, or a run folder, to the live objects: tasks, vocabulary, model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from . import plugins
from .annotations import Keypoints
from .checkpoint import Saved, find_run, load_weights
from .config import Config, changed, parse_options
from .data.dataset import Dataset, captions
from .data.faults import tally
from .data.joined import JoinedDataset, Part
from .data.source import open_dataset
from .decoding.speed import Speed
from .errors import DataError, UsageError
from .hub import saved_config
from .inference import Predictor
from .model.encoder_decoder import EncoderDecoder, build_model
from .model.state import load_into
from .sections import DataConfig, SourceConfig
from .sequence.text import TextCodec
from .sequence.vocabulary import Vocabulary
from .task import Task

TRAINED_PIECES = 2000  # of a text model made from the user's captions
CAPTIONS_READ = 200_000  # enough for that many pieces


@dataclass
class Run:
    """A trained model with everything that gives its tokens a meaning."""

    folder: Path
    config: Config
    tasks: dict[str, Task]
    vocab: Vocabulary
    model: EncoderDecoder
    notice: str = ""  # what had to be passed over to load it

    def predictor(self, device: torch.device, speed: Speed | None = None) -> Predictor:
        """Raises UsageError where what `speed` says is not to be had on the device."""
        model, side = self.model.to(device).eval(), self.config.model.image_size
        predictor = Predictor(model, self.vocab, self.tasks, side, device, self.config.seed, speed)
        _ = predictor.stepper  # refused now, and not when the first image has been read
        return predictor

    def with_options(self, words: Sequence[str]) -> Run:
        """The same model with other options of its tasks, as `tasks.NAME.KEY=VALUE`: how they ask and read answers.

        Raises UsageError for a task that the model has not, an option that is wrong or needs tokens of its own.
        """
        tasks = make_tasks(changed(self.config, words, list(self.tasks)))
        for name, task in tasks.items():
            if self.vocab.extended(f"task/{name}", task.tokens()) is not self.vocab:
                given = " ".join(word for word in words if word.startswith(f"tasks.{name}."))
                raise UsageError(f"{given}: the model lacks tokens that this needs; train one with it")
        return replace(self, tasks=tasks)


def make_tasks(config: Config) -> dict[str, Task]:
    """The tasks of a config with their options, by name. Raises UsageError: not installed, or an option is wrong."""
    classes = {name: plugins.load(name) for name in config.tasks}
    tasks = {
        name: cls(parse_options(cls.Options, config.tasks[name], f"tasks.{name}")) for name, cls in classes.items()
    }
    for task in tasks.values():
        _check_circles(task, tasks)
    return tasks


def _check_circles(task: Task, tasks: dict[str, Task], asking: tuple[str, ...] = ()) -> None:
    if task.name in asking:
        raise UsageError(f"tasks ask about each other in a circle: {' -> '.join((*asking, task.name))}")
    for required in task.requires:
        if required in tasks:  # else somebody must give what the task asks about
            _check_circles(tasks[required], tasks, (*asking, task.name))


def fitted(config: Config, dataset: Dataset) -> Config:
    """The config of a new model, where tasks have taken from the data set what only it knows.

    What the run that `model.init` names took from its own data gives way. Raises CheckpointError when that is damaged.
    """
    inherited = saved_config(config.model.init).tasks if config.model.init else {}
    tasks = {}
    for name, task in make_tasks(config).items():
        own = _own_options(task, config.tasks[name], inherited.get(name, {}))
        taker = type(task)(parse_options(task.Options, own, f"tasks.{name}"))
        before, after = (options.model_dump(mode="json") for options in (taker.options, taker.fitted(dataset.info)))
        tasks[name] = {**config.tasks[name], **{k: v for k, v in after.items() if v != before[k]}}
    return config.model_copy(update={"tasks": tasks})


def _own_options(task: Task, given: Mapping[str, Any], inherited: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are not as `inherited`, and those that must be there."""
    fields = task.Options.model_fields
    return {k: v for k, v in given.items() if k not in inherited or v != inherited[k] or fields[k].is_required()}


def make_vocabulary(config: Config, tasks: Mapping[str, Task], dataset: Dataset) -> Vocabulary:
    """The table of a new model: the data set's categories in the order of their ids, and every task's own tokens."""
    own = {name: task.tokens() for name, task in tasks.items()}
    return Vocabulary.build(config.bins, _classes(dataset), _text_codec(config, dataset), own)


def grown_vocabulary(vocab: Vocabulary, tasks: Mapping[str, Task], dataset: Dataset) -> Vocabulary:
    """The table of a trained model with the categories and tokens that it lacks at the end; every old id stays."""
    vocab = vocab.extended("class", _classes(dataset))
    for name, task in tasks.items():
        vocab = vocab.extended(f"task/{name}", task.tokens())
    return vocab


def _classes(dataset: Dataset) -> tuple[str, ...]:
    return tuple(category.name for category in dataset.info.categories)


def _text_codec(config: Config, dataset: Dataset) -> TextCodec:
    if config.text_model == "builtin":
        return TextCodec.builtin()
    if config.text_model != "train":
        return TextCodec.from_file(Path(config.text_model))
    texts = list(islice(captions(dataset), CAPTIONS_READ))
    if not texts:
        raise DataError(f"{dataset.info.name} has no captions to train a text model from: use text_model=builtin")
    return TextCodec.train(texts, TRAINED_PIECES)


def open_split(config: Config, role: str, split: str | None = None) -> Dataset:
    """The data of a config; `role` is "train" or "val", `split` a name that is not the config's own.

    Raises DataError where more of a data set is unusable than `data.max_skipped` allows.
    """
    parts = [_open_part(config, source, role, split) for source in config.data.sources]
    for part in parts:
        _refuse_bad(part.dataset, config.data.max_skipped)
    return parts[0].dataset if len(parts) == 1 and parts[0].tasks is None else JoinedDataset(parts)


def _open_part(config: Config, source: SourceConfig, role: str, split: str | None) -> Part:
    data, training = config.data, role == "train"
    dataset = open_dataset(
        source.path,
        split or (source.train_split if training else source.val_split),
        role="train" if training else "val",
        size=data.train_size if training else data.val_size,
        seed=config.seed,
        format=source.format,
        annotations=source.annotations,
        images=source.images,
    )
    if source.tasks is None:
        return Part(dataset, weight=source.weight)
    posed = any(Keypoints.kind in plugins.load(name).kinds for name in source.tasks)
    return Part(dataset, frozenset(source.tasks), source.weight, posed)


def _refuse_bad(dataset: Dataset, limit: float) -> None:
    lost = [fault for fault in dataset.faults if fault.lost]
    if len(lost) <= limit * dataset.entries:
        return
    most = "; ".join(f"{count} x {kind}" for kind, count in list(tally(lost).items())[:3])
    raise DataError(
        f"{dataset.info.name} {dataset.split}: {len(lost)} of {dataset.entries} images and annotations cannot be used, "
        f"more than data.max_skipped={limit} allows: {most}; `mtp data check` names each"
    )


def with_data(config: Config, words: Sequence[str]) -> Config:
    """The same settings on other data, as `data.path=...` and the like; whatever they do not say is found out."""
    kept = {name: getattr(config.data, name) for name in ("workers", "val_size", "max_skipped")}
    blank = config.model_copy(update={"data": DataConfig(**kept)}) if _names_data(words) else config
    return changed(blank, words)


def _names_data(words: Sequence[str]) -> bool:
    return any(word.startswith("data.path=") for word in words)


def open_run(path: str | Path | None, needs: Sequence[str] = (), which: str = "best") -> Run:
    """A run folder or checkpoint, ready to answer; None: the newest under `runs/` that has the tasks `needs`.

    Raises CheckpointError when nothing fits or a file is damaged.
    """
    folder = Path(path) if path else find_run("runs", tuple(needs))
    saved = load_weights(folder, which)
    vocab = saved_vocabulary(saved)
    model = empty_model(saved.config, vocab)
    load_into(model, saved.weights, saved.file)
    return Run(folder, saved.config, make_tasks(saved.config), vocab, model, saved.notice)


def saved_vocabulary(saved: Saved) -> Vocabulary:
    """The table of a checkpoint. Raises CheckpointError or DataError when it does not fit its text model."""
    text = TextCodec.from_bytes(saved.text_model, f"{saved.folder}/text.model")
    return Vocabulary.from_manifest(saved.vocabulary, text)


def empty_model(config: Config, vocab: Vocabulary) -> EncoderDecoder:
    """The model of a saved run before its weights are loaded: pretrained ones are not read again."""
    return build_model(config.model.model_copy(update={"pretrained": False}), len(vocab))
