"""All broken data sets that were written by hand: what is done to a good set, and what must become of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from . import coco_entries, coco_files, coco_values, image_files, list_cases, shard_cases, voc_cases, yolo_cases
from .cases import Accepted, Case, Files, Left, Rows

Table = tuple[str, Callable[[], Files], Left, dict[str, Rows]]

COCO: dict[str, Rows] = {
    "box": coco_values.BOXES,
    "id": coco_values.IDS,
    "outline": coco_values.OUTLINES,
    "pose": coco_entries.PEOPLE,
    "image": coco_entries.IMAGES,
    "name": coco_entries.NAMES,
    "file": coco_files.CONTENTS,
    "place": coco_files.PLACES,
    "picture": image_files.PICTURES,
}
VOC: dict[str, Rows] = {"object": voc_cases.OBJECTS, "file": voc_cases.FILES, "list": voc_cases.LISTS}
YOLO: dict[str, Rows] = {"row": yolo_cases.ROWS, "file": yolo_cases.FILES, "settings": yolo_cases.SETTINGS}
TABLES: list[Table] = [
    ("coco", coco_values.good, coco_values.LEFT, COCO),
    ("voc", voc_cases.good, voc_cases.LEFT, VOC),
    ("yolo", yolo_cases.good, yolo_cases.LEFT, YOLO),
    ("captions", list_cases.good_csv, list_cases.LEFT, {"table": list_cases.TABLES}),
    ("captions", list_cases.good_lines, list_cases.LEFT, {"JSON": list_cases.JSON_LINES}),
    ("webdataset", shard_cases.good, shard_cases.LEFT, {"shard": shard_cases.SHARDS}),
]


def cases() -> Iterator[Case]:
    """The good sets themselves come first in each table."""
    for format, good, left, parts in TABLES:
        yield Case(format, f"{' and '.join(parts)}: good", good, left, lambda files: None, Accepted())
        for about, rows in parts.items():
            for name, (spoil, expected) in rows.items():
                yield Case(format, f"{about} {name}", good, left, spoil, expected)


CASES = list(cases())
