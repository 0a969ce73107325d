"""What a training run says about its data: at the start, when an image cannot be read, and at the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..errors import DataError
from .dataset import Dataset
from .faults import Skipped
from .joined import merge_report

SHOWN = 20  # faults told one by one


class DataReport:
    """Keeps count of what could not be used; `limit` is the share of images that may not be readable."""

    def __init__(self, training: Dataset, validation: Dataset, limit: float) -> None:
        self.training, self.limit = training, limit
        self.faults = [*training.faults, *validation.faults]
        self.skipped = Skipped()

    def opening(self) -> Iterator[str]:
        """The first faults of the annotations, and what of several data sets became one."""
        for fault in self.faults[:SHOWN]:
            yield f"data: {fault}"
        if len(self.faults) > SHOWN:
            yield f"data: {len(self.faults) - SHOWN} more faults, in data.txt of the run folder"
        for line in merge_report(self.training):
            yield f"data: {line}"

    def written(self) -> str:
        """All of it."""
        lines = [*merge_report(self.training), *map(str, self.faults)]
        return "".join(f"{line}\n" for line in lines) or "no faults found\n"

    def met(self, lines: Iterable[str]) -> None:
        """Images that could not be read, as lines. Raises DataError where they become too many."""
        for line in lines:
            self.skipped.add(line)
        if len(self.skipped) > self.limit * len(self.training):
            raise DataError(
                f"{len(self.skipped)} of {len(self.training)} images cannot be read, more than "
                f"data.max_skipped={self.limit} allows: mend them (`mtp data check` names each) and go on"
            )

    def closing(self) -> Iterator[str]:
        """How much was left out, if anything was."""
        lost = sum(fault.lost for fault in self.faults)
        if lost or len(self.skipped):
            yield f"data: {lost} entries left out as unusable, {len(self.skipped)} images that cannot be read"
