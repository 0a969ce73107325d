"""Text as SentencePiece ids (Kudo and Richardson, arXiv 1808.06226), and back: always plain, never a special token."""

from __future__ import annotations

import io
import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from importlib.resources import files
from pathlib import Path

import sentencepiece

from ..errors import DataError, UsageError

MAX_BYTES = 64 << 20  # far above any published text model
MIN_PIECES = 320


class TextCodec:
    """Encodes text as ids in [0, len(pieces)) and decodes any such ids. Made by one of the class methods."""

    def __init__(self, processor: sentencepiece.SentencePieceProcessor) -> None:
        self._processor = processor

    @classmethod
    def builtin(cls) -> TextCodec:
        """The model shipped with the package: English captions, every other character as UTF-8 bytes."""
        return cls.from_bytes((files("multitask.prompts") / "text.model").read_bytes())

    @classmethod
    def from_file(cls, path: Path) -> TextCodec:
        """Raises DataError naming the file when it cannot be read or is no SentencePiece model."""
        if not path.is_file():
            raise DataError(f"text model '{path}' is not a file: give 'builtin', 'train' or a SentencePiece model")
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"text model '{path}' has over {MAX_BYTES >> 20} MiB: it is no SentencePiece model")
        return cls.from_bytes(path.read_bytes(), str(path))

    @classmethod
    def from_bytes(cls, model: bytes, name: str = "text model") -> TextCodec:
        """A serialised SentencePiece model. Raises DataError calling it `name` when it is damaged."""
        try:
            codec = cls(sentencepiece.SentencePieceProcessor(model_proto=model))
            codec.decode(codec.encode("a"))
            usable = bool(codec.pieces) and not codec._silent.issuperset(range(len(codec.pieces)))
        except Exception as error:  # the library raises many kinds
            raise DataError(f"'{name}' is no SentencePiece model, or a damaged one: copy or train it again") from error
        if not usable:
            raise DataError(f"'{name}' holds no pieces of text: copy or train it again")
        return codec

    @classmethod
    def train(cls, texts: Iterable[str], size: int) -> TextCodec:
        """Learn at most `size` pieces (byte-pair encoding), fewer where the texts have no more; same texts, same bytes.

        256 pieces stand for the bytes of characters too rare for their own. Raises UsageError for a size below 320.
        """
        if size < MIN_PIECES:
            raise UsageError(
                f"a text model needs {MIN_PIECES} pieces or more, 257 of them for single bytes; got {size}"
            )
        lines = _frequent_characters(texts, (size - 257) // 2)
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=model,
            model_type="bpe",
            vocab_size=size,
            hard_vocab_limit=False,
            character_coverage=1.0,
            byte_fallback=True,
            bos_id=-1,  # the engine has its own begin, end and padding
            eos_id=-1,
            max_sentence_length=1 << 16,
            num_threads=1,
            minloglevel=2,
        )
        return cls.from_bytes(model.getvalue())

    @property
    def model(self) -> bytes:
        """The serialised model, to be saved beside the weights."""
        return bytes(self._processor.serialized_model_proto())

    @cached_property
    def pieces(self) -> list[str]:
        """The spelling of every id; a piece that starts a word begins with `▁`."""
        return [self._processor.id_to_piece(i) for i in range(self._processor.get_piece_size())]

    @cached_property
    def _silent(self) -> frozenset[int]:
        """Ids that stand for no text: unknown, control and unused pieces."""
        p = self._processor
        return frozenset(i for i in range(len(self.pieces)) if p.is_unknown(i) or p.is_control(i) or p.is_unused(i))

    def encode(self, text: str) -> list[int]:
        """Ids of `text`, which is plain text even where it is spelt like a special token: `</s>` is four characters.

        A model without byte pieces passes over the characters that it does not know.
        """
        ids = self._processor.encode(_sound(text))
        return [i for i in ids if i not in self._silent]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of any ids in [0, len(pieces)); bytes that are no UTF-8 become U+FFFD, ids of no text nothing."""
        return str(self._processor.decode([int(i) for i in ids if int(i) not in self._silent]))

    def normalise(self, text: str) -> str:
        """What is left of `text` after a round trip, when the model knows all its characters: NFKC, single spaces."""
        plain = self._processor.normalize(_sound(text))
        return str(plain).replace("▁", " ").removeprefix(" ")


def _sound(text: str) -> str:
    """A lone surrogate is no text, and cannot be written as UTF-8: it becomes a question mark."""
    return text.encode(errors="replace").decode()


def _frequent_characters(texts: Iterable[str], limit: int) -> list[str]:
    """The lines of the texts with all but the `limit` most frequent characters blanked: the others stay bytes."""
    lines = [line for text in texts for line in unicodedata.normalize("NFKC", _sound(text)).splitlines()]
    counts = Counter(character for line in lines for character in line)
    kept = {character for character, _ in counts.most_common(limit)}
    return ["".join(c if c in kept else " " for c in line) for line in lines] + ["a"]  # the trainer refuses no text
