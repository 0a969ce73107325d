"""COCO files that are broken as a whole, or that are not what their names say."""

from __future__ import annotations

import gzip
import json
from typing import Any

from .cases import (
    Files,
    Folder,
    Link,
    Pipe,
    Rows,
    Spoil,
    accepted,
    both,
    changed,
    content,
    gone,
    picture,
    refused,
    swap,
)
from .coco_values import CAPTIONS, INSTANCES, LEFT, POSES, add, cut, good, put, told

CODES = "[" * 100_000 + "]" * 100_000


def alone(value: Any) -> Spoil:
    """Another instances file, and no others."""
    return both(content(INSTANCES, value), gone(POSES), gone(CAPTIONS))


def with_part(part: str, value: Any) -> Spoil:
    return lambda files: files[INSTANCES].update({part: value})


def without(part: str) -> Spoil:
    return lambda files: files[INSTANCES].pop(part)


def encoded(encoding: str) -> Spoil:
    """The instances with a name that is not ASCII."""

    def spoil(files: Files) -> None:
        put(INSTANCES, "categories", 0, name="Drachen über München")(files)
        files[INSTANCES] = json.dumps(files[INSTANCES], ensure_ascii=False).encode(encoding)

    return spoil


def only_boxes(files: Files) -> None:
    for key in (POSES, CAPTIONS, "images/train/3.png"):
        del files[key]


NOT_JSON = refused(INSTANCES, "not valid JSON", "export it again")
NOT_COCO = refused(INSTANCES, "not a COCO file")

CONTENTS: Rows = {
    "empty": (content(INSTANCES, b""), NOT_JSON),
    "blanks": (content(INSTANCES, b" \n\n"), NOT_JSON),
    "cut in half": (changed(INSTANCES, lambda c: c[: len(c) // 2]), NOT_JSON),
    "last bracket missing": (changed(INSTANCES, lambda c: c[:-1]), NOT_JSON),
    "garbage behind": (changed(INSTANCES, lambda c: c + b"\n}"), NOT_JSON),
    "twice in a file": (changed(INSTANCES, lambda c: c + b"\n" + c), NOT_JSON),
    "a line break behind": (changed(INSTANCES, lambda c: c + b"\r\n"), accepted()),
    "lines of Windows": (changed(INSTANCES, lambda c: c.replace(b", ", b",\r\n")), accepted()),
    "single quotes": (changed(INSTANCES, lambda c: c.replace(b'"', b"'")), NOT_JSON),
    "comma at the end": (swap(INSTANCES, "]}", "],}"), NOT_JSON),
    "comments": (changed(INSTANCES, lambda c: b"// made by hand\n" + c), NOT_JSON),
    "Python's words": (swap(INSTANCES, '"iscrowd": 0', '"iscrowd": False'), NOT_JSON),
    "byte order mark": (changed(INSTANCES, lambda c: b"\xef\xbb\xbf" + c), accepted()),
    "UTF-8": (encoded("utf-8"), accepted()),
    "UTF-16": (encoded("utf-16"), accepted()),
    "Latin-1": (encoded("latin-1"), NOT_JSON),
    "NUL inside": (swap(INSTANCES, '"kite"', b'"ki\0te"'), NOT_JSON),
    "noughts": (content(INSTANCES, bytes(10_000)), NOT_JSON),
    "compressed": (changed(INSTANCES, gzip.compress), NOT_JSON),
    "a picture": (content(INSTANCES, picture(1)), NOT_JSON),
    "a web page": (content(INSTANCES, "<!DOCTYPE html><html>404</html>"), NOT_JSON),
    "nested deeply": (content(INSTANCES, "[" * 200_000), NOT_JSON),
    "nested deeply in a field nobody reads": (swap(INSTANCES, '"iscrowd": 0', f'"x": {CODES}, "iscrowd": 0'), NOT_JSON),
    "a number of 10000 digits": (swap(INSTANCES, '"area": 70.5', '"area": ' + "9" * 10_000), NOT_JSON),
    "a string of 20 MB": (with_part("info", "x" * 20_000_000), accepted()),
    "a key twice in a box": (
        swap(INSTANCES, '"iscrowd": 0', '"iscrowd": 0, "iscrowd": 1'),
        refused("'iscrowd' occurs twice"),
    ),
    "a list": (content(INSTANCES, []), NOT_COCO),
    "results": (content(INSTANCES, [{"image_id": 1, "category_id": 7, "bbox": [2, 3, 10, 8], "score": 1}]), NOT_COCO),
    "null": (content(INSTANCES, b"null"), NOT_COCO),
    "images null": (with_part("images", None), refused("no list of 'images'")),
    "images by id": (with_part("images", {"1": {}}), refused("no list of 'images'")),
    "annotations missing": (without("annotations"), refused("no list of 'annotations'")),
    "annotations a word": (with_part("annotations", "none"), refused("no list of 'annotations'")),
    "categories missing": (without("categories"), refused("no list of 'categories'")),
    "categories as names": (with_part("categories", {"7": "kite"}), refused("no list of 'categories'")),
    "nothing listed": (alone({"images": [], "annotations": [], "categories": []}), refused("lists no usable image")),
    "images unusable": (
        alone({"images": [{"id": 1}, 5, None], "annotations": [], "categories": []}),
        refused("lists no usable image; first fault", "image 1", "file_name None"),
    ),
    "no annotations": (both(only_boxes, with_part("annotations", [])), accepted((2, 0))),
}

PLACES: Rows = {
    "a pipe": (content(INSTANCES, Pipe()), refused(INSTANCES, "is not a regular file")),
    "a folder": (content(INSTANCES, Folder()), refused(INSTANCES, "is a folder")),
    "a device": (content(INSTANCES, Link("/dev/zero")), refused(INSTANCES, "outside the data folder")),
    "a link to nowhere": (content(INSTANCES, Link("nowhere.json")), refused(INSTANCES, "does not exist")),
    "a link to itself": (content(INSTANCES, Link("instances_train.json")), refused(INSTANCES, "cannot be read")),
    "a link out": (
        both(
            lambda files: files.update({"../out.json": files[INSTANCES]}),
            content(INSTANCES, Link("{root}/../out.json")),
        ),
        refused(INSTANCES, "lies outside the data folder"),
    ),
    "a link inside": (
        both(
            lambda files: files.update({"all/i.json": files[INSTANCES]}), content(INSTANCES, Link("{root}/all/i.json"))
        ),
        accepted(),
    ),
    "nothing at all": (lambda files: files.clear(), refused("no annotations found; looked for")),
    "no images": (
        lambda files: [files.pop(f"images/train/{i}.png") for i in (1, 2, 3)],
        refused("images of split 'train' not found", "1.png"),
    ),
    "two of a sort": (
        content("annotations/instances2_train.json", {}),
        refused("instances2_train.json", "no list of 'images'"),
    ),
    "captions of another set": (
        put(CAPTIONS, "images", 0, width=41),
        told("file_name", "image 1", CAPTIONS, "skipped with its annotations", (3, 4)),
    ),
    "captions called instances": (
        lambda files: files.update({INSTANCES: files[CAPTIONS]}),
        refused("no list of 'categories'"),
    ),
    "an image in two files with two names": (
        put(CAPTIONS, "images", 0, file_name="2.png"),
        told("file_name", "image 1", CAPTIONS, "skipped with its annotations", (3, 4)),
    ),
    "keypoints of two sorts": (
        add(POSES, "categories", {"id": 7, "name": "kite", "keypoints": ["tail"]}),
        refused("categories with different keypoints"),
    ),
    "keypoints of nobody": (cut(POSES, "categories", 0, "keypoints"), accepted()),
}

__all__ = ["CONTENTS", "LEFT", "PLACES", "good"]
