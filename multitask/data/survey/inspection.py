"""`mtp data check`: everything that is wrong in a data set, its images included."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..faults import Fault, Unusable
from ..formats.coco import CocoLayout
from ..formats.layout import Place
from ..joined import JoinedDataset, Part, merge_report
from ..source import open_layout
from ..table import Table, TableDataset, TableImage
from .image_check import Picture, Progress, Verdict, check_images
from .splits import Splits, read_splits

UNIONS = ("trainval",)  # splits that hold the images of others by design


@dataclass(frozen=True)
class Report:
    """What a data set holds and what is wrong with it; the tables of `splits` have the usable images alone."""

    splits: Splits

    @property
    def path(self) -> str:
        place = self.splits.place
        return f"{place.path} {place.annotations}" if place.annotations else place.path

    @property
    def faults(self) -> list[Fault]:
        return [fault for found in self.splits.faults.values() for fault in found]

    @property
    def entries(self) -> int:
        """Images and annotations that the files list, usable or not."""
        return sum(table.entries for table in self.splits.tables.values())

    def counts(self) -> Iterator[tuple[str, int, int, list[Fault]]]:
        """Of each split: its name, usable images, usable annotations, faults."""
        for name, faults in self.splits.faults.items():
            images = self.splits.tables[name].images if name in self.splits.tables else []
            yield name, len(images), sum(map(annotation_count, images)), faults

    def to_json(self) -> dict[str, Any]:
        splits = {
            name: {
                "images": images,
                "annotations": count,
                "faults": list(map(_record, faults)),
                "counts": kinds(faults),
            }
            for name, images, count, faults in self.counts()
        }
        return {"path": self.path, "format": self.splits.format, "splits": splits}


def each_set(place: Place, format: str | None = None) -> list[Place]:
    """The sets of annotations that lie at a place, which are looked at one by one. Raises as `open_dataset`."""
    layout = open_layout(place, format)
    return layout.alternatives() if isinstance(layout, CocoLayout) else [place]


def inspect(
    place: Place, format: str | None = None, split: str | None = None, progress: Progress | None = None
) -> Report:
    """Reads all annotations, then every image. Raises as `read_splits`."""
    splits = read_splits(place, format, split)
    pictures = {name: [_picture(table, image) for image in table.images] for name, table in splits.tables.items()}
    verdicts = check_images([picture for found in pictures.values() for picture in found], progress)
    digests: dict[str, str] = {}  # the first split that a picture was met in
    for name, table in splits.tables.items():
        judged = [(image, verdicts[picture]) for image, picture in zip(table.images, pictures[name], strict=True)]
        splits.faults[name] += _unreadable(judged)
        splits.faults[name] += _repeated(judged, name, digests) if name not in UNIONS else []
        splits.tables[name] = replace(table, images=[image for image, verdict in judged if not verdict.problem])
    return Report(splits)


def annotation_count(image: TableImage) -> int:
    """Objects and captions of an image; an object that serves several kinds counts once."""
    return len({one.id for objects in image.objects.values() for one in objects}) + len(image.captions or ())


def kinds(faults: Iterable[Fault]) -> dict[str, int]:
    """How often each kind of fault occurs, most frequent first; what decoders say differs in numbers alone."""
    return dict(Counter(_kind(fault) for fault in faults).most_common())


def merges(reports: Sequence[Report]) -> list[str]:
    """Which categories of several data sets are one, in lines for a person."""
    parts = []
    for report in reports:
        split, table = next(iter(report.splits.tables.items()))
        parts.append(Part(TableDataset(replace(table, images=[]), split), posed=False))
    return list(merge_report(JoinedDataset(parts)))


def _picture(table: Table, image: TableImage) -> Picture:
    return Picture(image.slice or table.folder / image.name, table.root, image.size)


def _unreadable(judged: Iterable[tuple[TableImage, Verdict]]) -> Iterator[Fault]:
    for image, verdict in judged:
        if verdict.problem:
            unusable = Unusable("file_name", image.name, verdict.problem, "mend the file or its entry, or remove both")
            yield unusable.fault(image.file, f"image {image.id}", "skipped with its annotations")


def _repeated(judged: Iterable[tuple[TableImage, Verdict]], split: str, digests: dict[str, str]) -> Iterator[Fault]:
    for image, verdict in judged:
        if verdict.digest and (first := digests.setdefault(verdict.digest, split)) != split:
            unusable = Unusable("file_name", image.name, f"is also in split {first}", "keep it in one of them")
            yield unusable.fault(image.file, f"image {image.id}", "kept")


def _kind(fault: Fault) -> str:
    return re.sub(r"\b\d+\b", "N", fault.kind) if fault.field == "file_name" else fault.kind


def _record(fault: Fault) -> dict[str, Any]:
    return {**asdict(fault), "lost": fault.lost}
