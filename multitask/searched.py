"""Which categories an image was searched for, where not all of them were (LVIS, Gupta et al., arXiv 1908.03195)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from .annotations import Annotation
from .canvas import Canvas


@dataclass(frozen=True, eq=False)
class Searched(Annotation):
    """Besides those that the image has objects of. Of any other category nobody knows whether it is there."""

    kind: ClassVar[str] = "searched"

    absent: tuple[str, ...] = ()  # names of categories of which there is surely none
    partial: tuple[str, ...] = ()  # of which some objects may not be annotated

    def __len__(self) -> int:
        return len(self.absent) + len(self.partial)

    @classmethod
    def concat(cls, items: Sequence[Self]) -> Self:
        absent, partial = (dict.fromkeys(n for i in items for n in getattr(i, key)) for key in ("absent", "partial"))
        return cls(tuple(absent), tuple(partial))

    def draw(self, canvas: Canvas) -> None:
        """Nothing: there is nothing to see."""

    def to_json(self) -> Any:
        return {"absent": list(self.absent), "partial": list(self.partial)}
