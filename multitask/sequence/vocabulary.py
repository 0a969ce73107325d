"""The one table of tokens: named, append-only blocks of strings, so that no id ever moves.

Blocks: `special`, `coord` (one contiguous range), `class` (category names, shared by all tasks and data sets), `text`
(SentencePiece pieces), then `task/<name>` for the tokens each task adds. A block is a list of extents: what is appended
to it later goes to the end of the table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from ..errors import CheckpointError, UsageError, nearest
from .ids import Ids
from .text import TextCodec

SPECIAL = ("<pad>", "<eos>", "<mask>")
FIXED = ("special", "coord", "text")  # blocks of one extent, which do not grow
FORMAT = 1

Extents = tuple[tuple[int, tuple[str, ...]], ...]  # (first id, tokens) in the order they were appended


class Vocabulary:
    """Tokens and ids, immutable: `extended` gives a larger one in which every old id stays."""

    def __init__(self, blocks: Mapping[str, Extents], text: TextCodec) -> None:
        self.blocks: dict[str, Extents] = dict(blocks)
        self.text = text
        self._ids = {(b, t): start + i for b, ex in blocks.items() for start, ts in ex for i, t in enumerate(ts)}
        self._tokens = {i: key for key, i in self._ids.items()}

    @classmethod
    def build(
        cls, bins: int, classes: Sequence[str], text: TextCodec, tasks: Mapping[str, Sequence[str]]
    ) -> Vocabulary:
        """A new table: `bins` coordinates, category names, the pieces of `text`, the tokens of each task by name."""
        coordinates = tuple(f"<{i}>" for i in range(bins))
        pieces = tuple(f"{i}:{piece}" for i, piece in enumerate(text.pieces))  # a piece may occur twice as a string
        vocab = cls({}, text)
        for block, tokens in (("special", SPECIAL), ("coord", coordinates), ("class", classes), ("text", pieces)):
            vocab = vocab.extended(block, tokens)
        for name, tokens in tasks.items():
            vocab = vocab.extended(f"task/{name}", tokens)
        return vocab

    def extended(self, block: str, tokens: Iterable[str]) -> Vocabulary:
        """This table with the `tokens` that `block` lacks appended at the end.

        Raises UsageError when a task token is spelt like one that another block owns, or the block may not grow.
        """
        old = self.blocks.get(block, ())
        new = tuple(dict.fromkeys(t for t in tokens if (block, t) not in self._ids))
        if block.startswith("task/"):
            self._refuse_clash(block, new)
        if new and old and block in FIXED:
            raise UsageError(f"token '{new[0]}': block '{block}' cannot grow; make a new vocabulary")
        if not new and block in self.blocks:
            return self
        return Vocabulary({**self.blocks, block: (*old, (len(self), new))}, self.text)

    def _refuse_clash(self, block: str, tokens: Sequence[str]) -> None:
        for token in tokens:
            owner = self._owner(token)
            if owner is not None:
                raise UsageError(f"token '{token}' of '{block}' already belongs to '{owner}': give it another spelling")

    def _owner(self, token: str) -> str | None:
        named = (b for b in self.blocks if b in ("special", "coord") or b.startswith("task/"))
        return next((b for b in named if (b, token) in self._ids), None)

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def pad(self) -> int:
        return self._ids["special", "<pad>"]

    @property
    def eos(self) -> int:
        return self._ids["special", "<eos>"]

    @property
    def mask(self) -> int:
        """Stands in the decoder's input where a task hides a token from it."""
        return self._ids["special", "<mask>"]

    @cached_property
    def coord(self) -> range:
        """The ids of the coordinate bins, contiguous and in order."""
        start, tokens = self.blocks["coord"][0]
        return range(start, start + len(tokens))

    @property
    def bins(self) -> int:
        return len(self.coord)

    def ids(self, block: str) -> Ids:
        """All ids of a block."""
        extents = self.blocks.get(block, ())
        return Ids(tuple((start, start + len(tokens)) for start, tokens in extents if tokens))

    def id(self, token: str) -> int:
        """Id of a special or task token by its spelling, `"<eos>"`. Raises UsageError when no block owns it."""
        owner = self._owner(token)
        if owner is None:
            known = [t for b, t in self._ids if b == "special" or b.startswith("task/")]
            raise UsageError(f"the vocabulary has no token '{token}'{nearest(token, known)}")
        return self._ids[owner, token]

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Category names in the order of their ids."""
        return tuple(t for _, tokens in self.blocks.get("class", ()) for t in tokens)

    def class_id(self, name: str) -> int:
        """Raises UsageError when the model has no such category."""
        if ("class", name) not in self._ids:
            raise UsageError(f"the model has no category '{name}'{nearest(name, self.classes)}")
        return self._ids["class", name]

    def class_ids(self, names: Iterable[str]) -> Ids:
        """The ids of those `names` that the vocabulary has."""
        return Ids.of(*(self._ids["class", n] for n in names if ("class", n) in self._ids))

    def class_name(self, token: int) -> str | None:
        """Category of a class id; None for any other id."""
        block, name = self._tokens.get(int(token), ("", ""))
        return name if block == "class" else None

    def encode_text(self, text: str) -> list[int]:
        """Ids of the pieces of `text`: plain text always, even where it is spelt like a special token."""
        start = self.blocks["text"][0][0]
        return [start + piece for piece in self.text.encode(text)]

    def decode_text(self, ids: Iterable[int]) -> str:
        """The sentence of those `ids` that are text; the others are passed over."""
        start, tokens = self.blocks["text"][0]
        return self.text.decode([int(i) - start for i in ids if start <= int(i) < start + len(tokens)])

    def render(self, ids: Iterable[int]) -> str:
        """Any sequence for people: `<det> <12> <40> <99> <80> dog <eos>`."""
        return " ".join(self._spelt(int(i)) for i in ids)

    def _spelt(self, token: int) -> str:
        block, name = self._tokens.get(token, ("", f"<unknown {token}>"))
        return name.partition(":")[2] if block == "text" else name

    def manifest(self) -> dict[str, Any]:
        """JSON value to save beside the weights; the text model itself is saved as its own file."""
        blocks = {
            b: [{"start": start, "tokens": list(tokens)} for start, tokens in ex] for b, ex in self.blocks.items()
        }
        return {"format": FORMAT, "blocks": blocks}

    @classmethod
    def from_manifest(cls, manifest: Mapping[str, Any], text: TextCodec) -> Vocabulary:
        """Raises CheckpointError when the manifest is of another format, was changed, or was made with another text
        model."""
        if manifest.get("format") != FORMAT:
            raise CheckpointError(
                f"vocabulary format {manifest.get('format')} is not {FORMAT}: made by another version"
            )
        try:
            blocks = {
                str(b): tuple((int(e["start"]), tuple(map(str, e["tokens"]))) for e in extents)
                for b, extents in manifest["blocks"].items()
            }
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError("the blocks of the vocabulary cannot be read: the file was changed") from error
        _check_blocks(blocks)
        pieces = [t.partition(":")[2] for _, tokens in blocks["text"] for t in tokens]
        if pieces != list(text.pieces):
            raise CheckpointError("block 'text' of the vocabulary differs from the text model saved beside it")
        return cls(blocks, text)


def _check_blocks(blocks: Mapping[str, Extents]) -> None:
    """Raises CheckpointError naming the block where ids or tokens are not as `extended` would have made them."""
    taken = sorted(i for ex in blocks.values() for start, ts in ex for i in range(start, start + len(ts)))
    if taken != list(range(len(taken))):
        raise CheckpointError("the blocks of the vocabulary overlap or leave gaps: the file was changed")
    spelt = {b: [t for _, tokens in ex for t in tokens] for b, ex in blocks.items()}
    whole = {b: len(blocks.get(b, ())) == 1 for b in FIXED}
    whole["special"] &= spelt.get("special") == list(SPECIAL)
    whole["coord"] &= spelt.get("coord") == [f"<{i}>" for i in range(len(spelt.get("coord", ())))]
    owners: dict[str, str] = {}
    for block, tokens in spelt.items():
        shared = [t for t in tokens if block not in ("class", "text") and owners.setdefault(t, block) != block]
        whole[block] = whole.get(block, True) and len(set(tokens)) == len(tokens) and not shared
    for block, sound in whole.items():
        if not sound:
            raise CheckpointError(f"block '{block}' of the vocabulary is not as it was written: the file was changed")
