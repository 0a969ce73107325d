"""What is wrong in a data set, told so that a person can mend it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..errors import escaped

log = logging.getLogger(__name__)
MENDED = ("clipped", "area of the box taken", "kept")  # what happened to faults that cost nothing of the annotation


@dataclass(frozen=True)
class Fault:
    """Something wrong in a data set, and what was done about it."""

    file: str
    where: str  # e.g. "annotation 12"
    field: str
    value: str  # shortened
    reason: str
    action: str  # "skipped", "clipped" ...
    fix: str = ""  # what a person should do

    def __str__(self) -> str:
        """One printable line, whatever names the data set has."""
        line = f"{self.file}: {self.where}: {self.field} {self.value} {self.reason} ({self.action})"
        line = f"{line}; {self.fix}" if self.fix else line
        return escaped(line)

    @property
    def lost(self) -> bool:
        """Whether something is left out of training for it."""
        return self.action not in MENDED

    @property
    def kind(self) -> str:
        """The same for all faults of a sort."""
        return f"{self.field} {self.reason} ({self.action})"


class Unusable(Exception):
    """A value that breaks a rule; `fix` says what to do about it."""

    def __init__(self, field: str, value: Any, reason: str, fix: str = "") -> None:
        super().__init__(f"{field} {value!r:.60} {reason}")
        self.field, self.value, self.reason, self.fix = field, value, reason, fix

    def fault(self, file: str, where: str, action: str = "skipped") -> Fault:
        text = repr(self.value)
        shown = text if len(text) <= 60 else text[:57] + "..."
        return Fault(file, where, self.field, shown, self.reason, action, self.fix)


def tally(faults: Iterable[Fault]) -> dict[str, int]:
    """How often each kind of fault occurs, most frequent first."""
    return dict(Counter(fault.kind for fault in faults).most_common())


class Skipped:
    """Images that could not be read: each is named once, however often it is met."""

    def __init__(self) -> None:
        self.lines: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self.lines)

    def add(self, line: str) -> None:
        if line not in self.lines:
            log.warning("skipped: %s", line)
            self.lines[line] = None
