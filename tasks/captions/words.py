"""Captions as words and n-grams, split as COCO's tools split them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

Words = list[str]
Gram = tuple[str, ...]
Grams = Counter[Gram]  # how often each n-gram of a sentence occurs, all n together

MAX_N = 4  # longest n-gram of BLEU and CIDEr-D

_SAME = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "\N{NO-BREAK SPACE}": " "})
_CLITIC = re.compile(r"(?<=[^\W_])(n't|'(?:s|m|d|re|ve|ll))(?!\w)")
_JOINED = re.compile(r"(?<!\w)(?:(can)(not)|(gon|wan)(na)|(got)(ta)|(lem|gim)(me)|('t)(is|was))(?!\w)")
_TOKEN = re.compile(
    r"""
    <[^<>\s]+>                                                          # a tag, such as <unk>
    | (?:[^\W\d_]\.)+ (?:[^\W\d_](?!\w) | (?!\w))                       # u.s. p.m. and initials
    | (?:mrs? | ms | dr | st | [js]r | [mf]t | vs | etc)\.(?!\w) | no\.(?=\s*\d)
    | n't(?!\w) | '(?:s | m | d | re | ve | ll | t | em | til | cause | \d\ds)(?!\w) | 'n'?(?!\w)
    | (?<!\S)[+-]?(?:\d+[.,:/-])*\.?\d+(?=[^\w-]|$) | \d+(?:[.,:/]\d+)+ # -5 1,000 3:30 1/2
    | (?:[#@](?=[^\W\d]))? \w+ (?:(?:[-/.!?] | (?<=\b[odl])' | (?<=\bma)')[^\W_]\w*)*  # t-shirt his/her o'clock
    | [!?]{2,}
    | [^\s\w]
    """,
    re.VERBOSE,
)
_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
_DROPPED = frozenset("'\"`.?!,:;-–—―…")


def tokenize(text: str) -> Words:
    """Lower-case words as COCO's tools (Stanford's PTBTokenizer 3.4.1, then a list of punctuation) split them.

    Faithful in what is a fault of theirs too: brackets stay, as `-lrb-`, and so does `!!`. Different from them: web
    and mail addresses, smileys, `&amp;`, names such as R&B, vulgar fractions and currency signs (there rewritten),
    abbreviations beyond the commonest, apostrophes inside other words (y'all), emoji (there dropped).
    """
    text = _CLITIC.sub(r" \1", text.lower().translate(_SAME))
    text = _JOINED.sub(lambda match: " ".join(part for part in match.groups() if part), text)
    return [_BRACKETS.get(token, token) for token in _TOKEN.findall(text) if token not in _DROPPED]


def ngrams(words: Words, max_n: int = MAX_N) -> Grams:
    """Those of one word to `max_n`."""
    return Counter(tuple(words[i : i + n]) for n in range(1, max_n + 1) for i in range(len(words) - n + 1))


def pairs(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> Iterator[tuple[Words, list[Words]]]:
    """Of every image the words of its candidate and of its references.

    Raises ValueError when the lengths differ or an image has no reference.
    """
    for position, (candidate, texts) in enumerate(zip(candidates, references, strict=True)):
        if not texts:
            raise ValueError(f"image {position} has no reference caption; leave it out")
        yield tokenize(candidate), [tokenize(text) for text in texts]
