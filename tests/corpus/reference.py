"""What a reader must make of a data set, told apart from the code that is tested: by docs/data.md, in plain Python."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PureWindowsPath
from typing import Any

FARTHEST = 16  # sides of the image
Place = tuple[str, str, str]  # file, entry, field
Size = tuple[int, int]


@dataclass
class Verdict:
    """`used`: of each image by its id, what is used by kind: ids of objects or the names of their categories, and how
    many captions."""

    refused: bool = False
    faults: list[Place] = field(default_factory=list)
    used: dict[Any, dict[str, Any]] = field(default_factory=dict)


class Bad(Exception):
    """The field that breaks a rule."""


class Refused(Exception):
    """The whole set is."""


class Unsure(Exception):
    """The reference does not go that far."""


def need(condition: bool, name: str) -> None:
    """Raises Bad with the field."""
    if not condition:
        raise Bad(name)


def is_text(value: Any) -> bool:
    if not isinstance(value, str) or any("\ud800" <= letter <= "\udfff" for letter in value):
        return False
    return 0 < len(" ".join(value.split())) <= 10_000


def is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63


def is_number(value: Any, limit: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -limit <= value <= limit


def are_numbers(value: Any, size: Size) -> bool:
    """Pixels that are not absurd."""
    return isinstance(value, list) and all(is_number(one, FARTHEST * max(size)) for one in value)


def is_name(value: Any) -> bool:
    """A path that stays in its folder."""
    if not is_text(value) or "\0" in value or value.startswith("/") or PureWindowsPath(value).anchor:
        return False
    return ".." not in value.replace("\\", "/").split("/")


def need_sides(width: Any, height: Any) -> Size:
    """The size of an image. Raises Bad."""
    for name, value in (("width", width), ("height", height)):
        need(is_number(value, 10**8) and value >= 1 and value == int(value), name)
    need(width * height <= 10**8, "width")
    return int(width), int(height)


def reach(x0: float, y0: float, x1: float, y1: float, size: Size, name: str) -> float:
    """How far a box reaches out of the image, in pixels. Raises Bad where nothing of it is inside."""
    need(x1 > max(x0, 0) and y1 > max(y0, 0) and x0 < min(x1, size[0]) and y0 < min(y1, size[1]), name)
    need(max(x1, y1) > 1 or all(edge == int(edge) for edge in (x0, y0, x1, y1)), name)  # or fractions of the image
    return max(-x0, -y0, x1 - size[0], y1 - size[1])


def twice_area(xs: list[float], ys: list[float]) -> float:
    return abs(sum(xs[i - 1] * ys[i] - xs[i] * ys[i - 1] for i in range(len(xs))))
