"""The verdict on COCO sets: images of 40 x 30 pixels in images/train, and the files of coco_values.py."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from .cases import SIZE, Files, to_bytes
from .coco_values import CAPTIONS, INSTANCES, POSES
from .reference import (
    Bad,
    Refused,
    Size,
    Verdict,
    are_numbers,
    is_id,
    is_name,
    is_number,
    is_text,
    need,
    need_sides,
    reach,
    twice_area,
)


def lists(content: Any) -> dict[str, Any]:
    """The object of a file. Raises Refused."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) < len(pairs):
            raise Refused
        return dict(pairs)

    try:
        data = json.loads(to_bytes(content), object_pairs_hook=once)
    except (ValueError, RecursionError):
        raise Refused from None
    if not isinstance(data, dict):
        raise Refused
    return data


def part(data: dict[str, Any], key: str) -> list[Any]:
    if not isinstance(data.get(key), list):
        raise Refused
    return data[key]


# ------------------------------------------------------------------------------------------------------------- reading


class Judge:
    """Goes through the files in the order in which they are read."""

    def __init__(self, files: Files) -> None:
        self.files, self.verdict = files, Verdict()
        self.images: dict[Any, tuple[str, Size, str]] = {}  # name, size and first file of each id
        self.names: dict[int, str] = {}  # of categories
        self.points: list[str] = []

    def judge(self) -> Verdict:
        try:
            for file in (INSTANCES, POSES, CAPTIONS):
                data = lists(self.files[file])
                self.file = file
                self.read_images(part(data, "images"))
                found = part(data, "annotations")
                if file == CAPTIONS:
                    self.read_captions(found)
                else:
                    self.read_objects(found, *self.read_categories(part(data, "categories")))
            self.open_images()
        except Refused:
            return Verdict(refused=True)
        return self.verdict

    def fault(self, where: str, name: object) -> None:
        self.verdict.faults.append((self.file, where, str(name)))

    def entries(self, items: list[Any], kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
        for position, item in enumerate(items):
            key = item.get("id") if isinstance(item, dict) else None
            named = f"{kind} {key!r:.40}" if isinstance(key, int | str) else f"{kind} at position {position}"
            if isinstance(item, dict):
                yield named, item
            else:
                self.fault(named, "entry")

    def read_images(self, items: list[Any]) -> None:
        self.listed: dict[Any, Size] = {}
        self.dropped: list[Any] = []
        taken: list[str] = []
        for where, item in self.entries(items, "image"):
            key = item.get("id")
            try:
                need(is_id(key) or is_text(key), "id")
                need(key not in self.listed, "id")
                name, size = self.image(item)
                need(name not in taken, "file_name")
                first = self.images.setdefault(key, (name, size, self.file))
                need(first[:2] == (name, size), "file_name")
                self.listed[key] = size
                taken.append(name)
            except Bad as bad:
                self.fault(where, bad)
                self.dropped.append(key)

    def image(self, item: dict[str, Any]) -> tuple[str, Size]:
        need(is_name(item.get("file_name")), "file_name")
        return item["file_name"], need_sides(item.get("width"), item.get("height"))

    def read_categories(self, items: list[Any]) -> tuple[set[int], set[int]]:
        """The ids of all categories of the file, and of those with points."""
        found: dict[int, str] = {}
        posed: set[int] = set()
        for where, item in self.entries(items, "category"):
            key, name = item.get("id"), item.get("name")
            try:
                need(is_id(key), "id")
                need(is_text(name), "name")
                name = " ".join(name.split())
                need(key not in found, "id")
                need(name not in found.values(), "name")
            except Bad as bad:
                self.fault(where, bad)
                continue
            found[key] = name
            if self.names.setdefault(key, name) != name:
                raise Refused
            if self.file == POSES and item.get("keypoints") and self.read_points(where, item):
                posed.add(key)
        return set(found), posed

    def read_points(self, where: str, item: dict[str, Any]) -> bool:
        names, edges = item["keypoints"], item.get("skeleton")
        if not isinstance(names, list) or not all(map(is_text, names)) or len(set(names)) < len(names):
            self.fault(where, "keypoints")
            return False
        if self.points not in ([], names):
            raise Refused
        self.points = names
        pairs = edges if isinstance(edges, list) else [edges]
        if edges is not None and not all(
            isinstance(pair, list) and len(pair) == 2 and all(is_id(p) and 1 <= p <= len(names) for p in pair)
            for pair in pairs
        ):
            self.fault(where, "skeleton")
        return True

    def image_of(self, item: dict[str, Any]) -> Any:
        """The id of the image of an annotation; None where that image was left out already."""
        key = item.get("image_id")
        known = isinstance(key, int | str) and not isinstance(key, bool)
        if known and key not in self.listed and any(key == one and isinstance(one, int | str) for one in self.dropped):
            return None
        if isinstance(key, bool) and key not in self.listed and key in self.dropped:
            return None
        need(known and key in self.listed, "image_id")
        return key

    def read_captions(self, items: list[Any]) -> None:
        for key in self.listed:
            self.use(key)["captions"] = 0
        for where, item in self.entries(items, "annotation"):
            try:
                if (key := self.image_of(item)) is not None:
                    need(is_text(item.get("caption")), "caption")
                    self.use(key)["captions"] += 1
            except Bad as bad:
                self.fault(where, bad)

    def use(self, key: Any) -> dict[str, Any]:
        return self.verdict.used.setdefault(key, {})

    # --------------------------------------------------------------------------------------------------------- objects

    def read_objects(self, items: list[Any], categories: set[int], posed: set[int]) -> None:
        outlined = self.file == INSTANCES and any(isinstance(i, dict) and i.get("segmentation") for i in items)
        kinds = ["boxes", "polygons"][: 1 + outlined] if self.file == INSTANCES else ["keypoints"]
        for key in self.listed:
            self.use(key).update({kind: [] for kind in kinds})
        seen: list[int] = []
        for where, item in self.entries(items, "annotation"):
            try:
                if (image := self.image_of(item)) is not None:
                    need(is_id(item.get("id")) and item["id"] not in seen, "id")
                    seen.append(item["id"])
                    need(is_id(item.get("category_id")) and item["category_id"] in categories, "category_id")
                    posing = kinds if item["category_id"] in posed else [kind for kind in kinds if kind != "keypoints"]
                    self.read_object(where, item, image, posing)
            except Bad as bad:
                self.fault(where, bad)

    def read_object(self, where: str, item: dict[str, Any], image: Any, kinds: list[str]) -> None:
        size = self.listed[image]
        if self.box(item.get("bbox"), size) > 1:
            self.fault(where, "bbox")
        need(type(item.get("iscrowd", 0)) in (int, bool) and item.get("iscrowd", 0) in (0, 1), "iscrowd")
        if "area" in item and not (is_number(item["area"], 256 * 10**8) and item["area"] >= 0):
            self.fault(where, "area")
        for kind, name in (("boxes", None), ("polygons", "segmentation"), ("keypoints", "keypoints")):
            if kind in kinds and (name is None or self.shape(name, item.get(name), size)):
                self.use(image)[kind].append(item["id"])
            elif kind in kinds:
                self.fault(where, name)
        if kinds == ["keypoints"] and self.points_outside(item.get("keypoints"), size):
            self.fault(where, "keypoints")

    def box(self, value: Any, size: Size) -> float:
        """How far a box reaches out of the image."""
        need(are_numbers(value, size) and len(value) == 4 and value[2] > 0 and value[3] > 0, "bbox")
        return reach(value[0], value[1], value[0] + value[2], value[1] + value[3], size, "bbox")

    def shape(self, name: str, value: Any, size: Size) -> bool:
        if name == "keypoints":
            fits = are_numbers(value, size) and len(value) == 3 * len(self.points)
            return fits and all(seen in (0, 1, 2) for seen in value[2::3])
        if isinstance(value, dict):
            runs = value.get("counts")
            whole = isinstance(runs, list) and all(is_id(run) and run >= 0 for run in runs)
            return value.get("size") == [size[1], size[0]] and whole and sum(runs) == size[0] * size[1] > sum(runs[::2])
        parts = value if isinstance(value, list) else []
        sound = all(are_numbers(part, size) and len(part) >= 6 and len(part) % 2 == 0 for part in parts)
        return sound and any(encloses(part, size) for part in parts)

    def points_outside(self, value: Any, size: Size) -> bool:
        if not self.shape("keypoints", value, size):
            return False
        triples = zip(value[::3], value[1::3], value[2::3], strict=True)
        return any(seen and not (-1 <= x <= size[0] + 1 and -1 <= y <= size[1] + 1) for x, y, seen in triples)

    def open_images(self) -> None:
        """Files that are not there, or not of the size that is annotated."""
        there = {f"images/train/{key}" for key in ("1.png", "2.png", "3.png")}
        for key, (name, size, file) in self.images.items():
            if str(PurePosixPath("images/train", name)) not in there or size != SIZE:
                self.file = file
                self.fault(f"image {key}", "file_name")
                self.verdict.used.pop(key, None)
        if not self.verdict.used:
            raise Refused


def encloses(part: list[float], size: Size) -> bool:
    """Whether a polygon has some area near the image; true for triangles and whatever is convex."""
    xs, ys = part[::2], part[1::2]
    outside = max(xs) <= 0 or min(xs) >= size[0] or max(ys) <= 0 or min(ys) >= size[1]
    return not outside and twice_area(xs, ys) > 2e-6


def judge(files: Files) -> Verdict:
    """The verdict on a set."""
    return Judge(files).judge()
