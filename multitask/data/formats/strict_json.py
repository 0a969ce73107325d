"""JSON in which no key occurs twice in one object."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any


def parse(text: str | bytes) -> Any:
    """The value. Raises ValueError, also for what is nested too deeply."""
    try:
        return json.loads(text, object_pairs_hook=_object)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"key {twice!r:.60} occurs twice in one object")
    return found
