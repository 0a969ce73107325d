"""Prompts are data: a task's YAML file holds its token, the layout of its prompt, phrases, and how to decode."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from ..config import Section, parse_options
from ..errors import UsageError, nearest
from ..yamlio import read_yaml
from .coordinates import boxes_to_bins
from .vocabulary import Vocabulary

SLOTS = ("{box}", "{class}")


class Decoding(Section):
    """How tokens are drawn from the allowed ones; temperature 0 takes the best."""

    samples: int = Field(1, ge=1, le=64, description="answers drawn for each query")
    temperature: float = Field(0.0, ge=0, le=100, description="0: greedy")
    top_k: int = Field(0, ge=0, description="draw from the k best; 0: from all")
    top_p: float = Field(1.0, gt=0, le=1, description="draw from the fewest best whose probabilities reach this")

    @model_validator(mode="after")
    def _samples_differ(self) -> Self:
        if self.samples > 1 and self.temperature == 0:
            raise ValueError(f"{self.samples} samples at temperature 0 are all the same: set temperature above 0")
        return self


class Prompt(Section):
    """How a task is asked."""

    token: str = Field(description="the task's own token")
    layout: str = Field("", description="space-separated tokens, {box} (four bins) and {class}; empty: the token alone")
    description: str = Field("", description="one line for people")
    phrases: list[str] = Field([], description="what people type; {class} stands for category words")
    decoding: Decoding = Field(Decoding(), description="defaults of the task")
    published_weight: float | None = Field(None, ge=0, description="its weight in the loss of Pix2Seq v2")

    def encode(
        self, vocab: Vocabulary, box_xyxy: NDArray[np.float64] | None = None, label: str | None = None
    ) -> NDArray[np.int64]:
        """The prompt as ids (P,) int64. `box_xyxy` (4,) in the unit square of the view fills {box}, `label` {class}.

        Raises UsageError when a slot of the layout has nothing to fill it.
        """
        ids: list[int] = []
        for word in (self.layout or self.token).split():
            if word == "{box}" and box_xyxy is not None:
                ids.extend(vocab.coord.start + b for b in boxes_to_bins(np.asarray(box_xyxy), vocab.bins))
            elif word == "{class}" and label is not None:
                ids.append(vocab.class_id(label))
            elif word in SLOTS:
                slot = word.strip("{}")
                raise UsageError(f"the prompt '{self.layout}' needs a {slot}, and none was given: use --{slot}")
            else:
                ids.append(vocab.id(word))
        return np.array(ids, dtype=np.int64)

    def match(self, words: str) -> str | None:
        """The category words of a request that fits one of the phrases, `""` where it names none; None: fits none."""
        words = words.strip().rstrip(" ?!.")
        for phrase in sorted(self.phrases, key=lambda phrase: "{class}" in phrase):  # `find everything` is no category
            before, _, after = phrase.partition("{class}")
            slot = r"(.+)" if "{class}" in phrase else "()"
            found = re.fullmatch(re.escape(before) + slot + re.escape(after), words, flags=re.IGNORECASE)
            if found:
                return found[1]
        return None


def load_prompt(resource: str) -> Prompt:
    """Read `"package/file.yaml"`, a resource of an installed package.

    Raises UsageError naming the resource and the key that is wrong.
    """
    package, _, name = resource.rpartition("/")
    try:
        raw = read_yaml(files(package) / name)
    except (ModuleNotFoundError, ValueError) as error:  # ValueError: no package at all
        raise UsageError(f"prompt file '{resource}': there is no package '{package}'") from error
    if not isinstance(raw, Mapping):
        raise UsageError(f"prompt file '{resource}' must hold keys and values, such as token: <name>")
    return parse_options(Prompt, raw, resource)


def category_words(words: str, known: tuple[str, ...]) -> tuple[str, ...]:
    """Category names in a phrase such as `red cars, dogs and a cat`: plurals and articles are allowed.

    Raises UsageError for a word that is no category.
    """
    names = []
    for word in re.split(r",|\band\b", words.lower()):
        word = re.sub(r"^\s*(the|a|an|all|every|each)\s+", "", word.strip() + " ").strip()
        spellings = [word, word.removesuffix("s"), word.removesuffix("es"), re.sub("ies$", "y", word)]
        found = next((name for spelling in spellings for name in known if name.lower() == spelling), None)
        if found is None:
            raise UsageError(f"the model has no category '{word}'{nearest(word, known)}")
        names.append(found)
    return tuple(dict.fromkeys(names))
