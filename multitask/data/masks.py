"""COCO's run-length masks: columns from the left, each from the top, background first."""

from __future__ import annotations

from typing import Any

from pycocotools import mask as coco_mask


def packed(mask: dict[str, Any]) -> dict[str, Any]:
    """The same run lengths in the form that pycocotools computes with; they are known to fit their size."""
    found: dict[str, Any] = coco_mask.frPyObjects(mask, *mask["size"])
    return found


def unpacked(text: str) -> list[int] | None:
    """COCO's text form as a list: 5 bits a character from `0`, low bits first, 0x20 = more; from the third run on
    differences. None where it is damaged."""
    runs: list[int] = []
    number = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or shift > 30:
            return None
        number |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            number -= (1 << shift) if bits & 16 else 0
            runs.append(number + runs[-2] if len(runs) > 2 else number)
            number = shift = 0
    return None if shift else runs
