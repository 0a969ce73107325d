"""COCO files with one wrong entry of an image, a category, a caption or a pose."""

from __future__ import annotations

from typing import Any

from .cases import HUGE, NAN, Rows, Spoil, accepted, both, content, picture, refused
from .coco_values import CAPTIONS, INSTANCES, LEFT, POSES, add, cut, image, lost, put, told

GONE = "skipped with its annotations"


def pose(*value: Any) -> Spoil:
    return put(POSES, "annotations", 0, keypoints=list(value))


def posed(**values: Any) -> Spoil:
    return put(POSES, "categories", 0, **values)


def caption(value: Any) -> Spoil:
    return put(CAPTIONS, "annotations", 1, caption=value)


def named(name: Any) -> Spoil:
    """A category that has annotations."""
    return put(INSTANCES, "categories", 0, name=name)


POSE = told("keypoints", "annotation 12", POSES, "keypoints left out")
CAPTION = told("caption", "annotation 2", CAPTIONS)

PEOPLE: Rows = {
    "too few": (pose(22, 6, 2), POSE),
    "too many": (pose(*[22, 6, 2] * 4), POSE),
    "without visibility": (pose(22, 6, 20, 12, 9, 9), POSE),
    "triples": (pose([22, 6, 2], [20, 12, 1], [0, 0, 0]), POSE),
    "null": (put(POSES, "annotations", 0, keypoints=None), POSE),
    "visibility three": (pose(22, 6, 3, *[0] * 6), POSE),
    "visibility a probability": (pose(22, 6, 0.93, *[0] * 6), POSE),
    "visibility true": (pose(22, 6, True, *[0] * 6), POSE),
    "NaN of a point not labelled": (pose(22, 6, 2, 20, 12, 1, NAN, NAN, 0), POSE),
    "outside": (
        pose(22, 60, 2, 20, 12, 1, 0, 0, 0),
        told("keypoints", "annotation 12", POSES, "those points left out"),
    ),
    "counted wrongly": (put(POSES, "annotations", 0, num_keypoints=17), accepted()),
    "edge to a point that is not there": (posed(skeleton=[[1, 4]]), told("skeleton", "category 3", POSES, "left out")),
    "edges from 0": (posed(skeleton=[[0, 1]]), told("skeleton", "category 3", POSES, "left out")),
    "sigmas too few": (posed(sigmas=[0.1]), told("sigmas", "category 3", POSES, "left out")),
    "partner of itself": (posed(flip_pairs=[[2, 2]]), told("flip_pairs", "category 3", POSES, "left out")),
    "names twice": (posed(keypoints=["a", "a", "b"]), told("keypoints", "category 3", POSES, "keypoints left out")),
    "names as text": (posed(keypoints="nose"), told("keypoints", "category 3", POSES, "keypoints left out")),
}

IMAGES: Rows = {
    "no width": (image(width=0), lost("width")),
    "negative height": (image(height=-30), lost("height")),
    "width as text": (image(width="40"), lost("width")),
    "width with a fraction": (image(width=40.5), lost("width")),
    "width NaN": (image(width=NAN), lost("width")),
    "height true": (image(height=True), lost("height")),
    "height huge": (image(height=HUGE), lost("height")),
    "larger than a hundred megapixels": (image(width=10**5, height=10**4), lost("width")),
    "width missing": (cut(CAPTIONS, "images", 1, "width"), lost("width")),
    "sides swapped": (image(width=30, height=40), lost("file_name")),
    "id as text": (image(id="3"), told("image_id", "annotation 2", CAPTIONS)),
    "id empty": (
        both(image(id=""), put(CAPTIONS, "annotations", 1, image_id="")),
        told("id", "image ''", CAPTIONS, "skipped with its annotations", (2, 4)),
    ),
    "name missing": (cut(CAPTIONS, "images", 1, "file_name"), lost("file_name")),
    "name empty": (image(file_name=""), lost("file_name")),
    "name a number": (image(file_name=3), lost("file_name")),
    "name a list": (image(file_name=["3.png"]), lost("file_name")),
    "name not there": (image(file_name="4.png"), lost("file_name")),
    "name of half a letter": (image(file_name="3\ud800.png"), lost("file_name")),
    "name of a device": (image(file_name="/dev/zero"), lost("file_name")),
    "name absolute though inside": (image(file_name="/images/train/3.png"), lost("file_name")),
    "name on a drive": (image(file_name="C:3.png"), lost("file_name")),
    "name on a server": (image(file_name="\\\\host\\share\\3.png"), lost("file_name")),
    "name a web address": (image(file_name="http://localhost/3.png"), lost("file_name")),
    "name climbing out": (
        both(content("../beside.png", picture(3)), image(file_name="../../../beside.png")),
        lost("file_name"),
    ),
    "name climbing in Windows": (image(file_name="..\\..\\..\\beside.png"), lost("file_name")),
    "name of a folder": (image(file_name="."), lost("file_name")),
    "name with a NUL": (image(file_name="3.png\0.jpg"), lost("file_name")),
    "name with a line break": (image(file_name="3.png\nimage 4: all is well"), lost("file_name")),
    "name with escape codes": (image(file_name="\x1b[31m3.png"), lost("file_name")),
    "name endless": (image(file_name="3" * 5000), lost("file_name")),
    "name as another": (
        both(
            image(file_name="4.png"),
            content("images/train/4.png", picture(4)),
            add(CAPTIONS, "images", {"id": 5, "file_name": "4.png", "width": 40, "height": 30}),
        ),
        told("file_name", "image 5", CAPTIONS, "skipped with its annotations", (3, 5)),
    ),
    "id twice": (
        add(CAPTIONS, "images", {"id": 3, "file_name": "2.png", "width": 40, "height": 30}),
        told("id", "image 3", CAPTIONS, left=LEFT),
    ),
}

NAMES: Rows = {
    "caption a number": (caption(3), CAPTION),
    "caption null": (caption(None), CAPTION),
    "captions in a list": (caption(["a sea", "the sea"]), CAPTION),
    "caption blank": (caption(" \t\n"), CAPTION),
    "caption endless": (caption("sea " * 10**6), CAPTION),
    "caption of half a letter": (caption("the sea \udc00"), CAPTION),
    "caption of control tokens": (caption("<eos> </s> <pad><bin_3>"), accepted()),
    "caption with markup": (caption("<script>alert(1)</script> [red]"), accepted()),
    "caption with escape codes": (caption("\x1b]0;title\x07\x1b[2J the sea"), accepted()),
    "caption with NUL": (caption("a\0b"), accepted()),
    "category of markup": (named("<img src=x onerror=alert(1)>"), accepted()),
    "category of a control token": (named("<eos>"), accepted()),
    "category a formula": (named("=cmd|'/c calc'!A0"), accepted()),
    "category with line breaks": (named("kite\nerror: no"), accepted()),
    "category id twice": (add(INSTANCES, "categories", {"id": 7, "name": "x"}), told("id", "category 7", left=LEFT)),
    "category name twice": (
        add(INSTANCES, "categories", {"id": 8, "name": "kite"}),
        told("name", "category 8", left=LEFT),
    ),
    "category name twice but for blanks": (
        add(INSTANCES, "categories", {"id": 8, "name": " kite "}),
        told("name", "category 8", left=LEFT),
    ),
    "category unnamed": (add(INSTANCES, "categories", {"id": 8}), told("name", "category 8", left=LEFT)),
    "category a word": (add(INSTANCES, "categories", "dog"), told("entry", "category at position 2", left=LEFT)),
    "category id as text": (
        add(INSTANCES, "categories", {"id": "8", "name": "x"}),
        told("id", "category '8'", left=LEFT),
    ),
    "category has another name elsewhere": (posed(name="people"), refused("category 3", "another name")),
}
