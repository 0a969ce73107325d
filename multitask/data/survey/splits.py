"""Every split of a data set at once, for the commands that look at data and write it anew."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import DataError
from ..faults import Fault
from ..formats.layout import Place, choose_split
from ..source import recognise
from ..table import Table


@dataclass(frozen=True)
class Splits:
    """The splits that were read, and what is wrong with each; one that cannot be used at all has a fault alone."""

    place: Place
    format: str
    tables: dict[str, Table]
    faults: dict[str, list[Fault]]

    @property
    def lost(self) -> int:
        """Faults for which something is left out."""
        return sum(fault.lost for found in self.faults.values() for fault in found)


def read_splits(place: Place, format: str | None = None, split: str | None = None) -> Splits:
    """All splits, or the one that is named. Raises as `open_dataset`; DataError where none of them can be used."""
    name, layout = recognise(place, format)
    splits, errors = Splits(place, name, {}, {}), []
    for wanted in layout.splits if split is None else [choose_split(place.path, layout.splits, split, "train")]:
        try:
            splits.tables[wanted] = table = layout.read(wanted)
            splits.faults[wanted] = list(table.faults)
        except DataError as error:
            splits.faults[wanted] = [_unusable(place, wanted, error)]
            errors.append(error)
    if not splits.tables:
        raise (errors or [DataError(f"{place.path}: no split in it")])[0]
    return splits


def _unusable(place: Place, split: str, error: DataError) -> Fault:
    return Fault(place.path, f"split {split}", "split", repr(split), f"cannot be used: {error}", "skipped")
