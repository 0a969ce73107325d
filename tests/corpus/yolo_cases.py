"""YOLO: label files and settings with one thing wrong. Image 1 has two boxes, 2 nothing, 3 an outline."""

from __future__ import annotations

from dataclasses import replace

from .cases import (
    Files,
    Folder,
    Left,
    Link,
    Pipe,
    Rows,
    Spoil,
    Told,
    accepted,
    both,
    changed,
    content,
    gone,
    picture,
    refused,
    swap,
)

YAML, ONE, THREE = "data.yaml", "labels/train/1.txt", "labels/train/3.txt"
LEFT = (3, 3)
NAMES, TRAIN = "names: [kite, dog]", "train: images/train"
POINTS = "kpt_shape: [2, 3]"
ROW, OTHER = "0 0.5 0.5 0.2 0.4", "1 0.25 0.5 0.5 1.0"


def good() -> Files:
    labels = {1: f"{ROW}\n{OTHER}\n", 2: "", 3: "1 0.1 0.1 0.9 0.1 0.9 0.9\n"}
    return (
        {YAML: f"{TRAIN}\n{NAMES}\n"}
        | {f"labels/train/{i}.txt": rows for i, rows in labels.items()}
        | {f"images/train/{i}.png": picture(i) for i in (1, 2, 3)}
    )


def row(text: str | bytes) -> Spoil:
    return swap(ONE, ROW, text)


def pose(text: str) -> Spoil:
    """A set of poses; all rows have points, and this is the first."""

    def spoil(files: Files) -> None:
        files[YAML] += f"{POINTS}\n"
        files["labels/train/3.txt"] = f"{OTHER} 0.1 0.1 2 0 0 0\n"
        files[ONE] = f"{ROW} {text}\n{OTHER} 0.5 0.5 1 0.5 0.6 2\n"

    return spoil


def names(text: str) -> Spoil:
    return swap(YAML, NAMES, text)


def train(text: str) -> Spoil:
    return swap(YAML, TRAIN, text)


def told(field: str, where: str = "line 1", file: str = ONE, action: str = "skipped", left: Left | None = None) -> Told:
    return Told(file, where, field, action, left)


def lost(field: str) -> Told:
    """Image 1 goes with its boxes."""
    return told(field, "image '1'", "images/train/1.png", "skipped with its annotations", (2, 1))


LABELS = lost("label file")


NUMBERS, COORDINATES, BOX, CLASS = told("row"), told("coordinates"), told("box"), told("class")
CLIPPED = told("box", action="clipped")
POSE = told("keypoints", action="keypoints left out")
REFUSED = refused(YAML)
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)

ROWS: Rows = {
    "class beyond the names": (row("2 0.5 0.5 0.2 0.4"), CLASS),
    "class negative": (row("-1 0.5 0.5 0.2 0.4"), CLASS),
    "class with a fraction": (row("0.5 0.5 0.5 0.2 0.4"), CLASS),
    "class by name": (row("kite 0.5 0.5 0.2 0.4"), NUMBERS),
    "class as float": (row("0.0 0.5 0.5 0.2 0.4"), accepted()),
    "class huge": (row("1e300 0.5 0.5 0.2 0.4"), CLASS),
    "class minus zero": (row("-0 0.5 0.5 0.2 0.4"), accepted()),
    "class missing": (row("0.5 0.5 0.2 0.4"), CLASS),
    "pixels": (row("0 20 15 8 12"), COORDINATES),
    "percent": (row("0 50% 50% 20% 40%"), NUMBERS),
    "percent without sign": (row("0 50 50 20 40"), COORDINATES),
    "decimal commas": (row("0 0,5 0,5 0,2 0,4"), NUMBERS),
    "commas between": (row("0, 0.5, 0.5, 0.2, 0.4"), NUMBERS),
    "tabs between": (row("0\t0.5\t0.5\t0.2\t0.4"), accepted()),
    "NaN": (row("0 0.5 nan 0.2 0.4"), NUMBERS),
    "infinity": (row("0 0.5 0.5 inf 0.4"), NUMBERS),
    "1e400": (row("0 0.5 0.5 1e400 0.4"), NUMBERS),
    "endless digits": (row("0 0.5 0.5 0.2 0." + "4" * 5000), accepted()),
    "as Python writes it": (row("0 0.5 0.5 0.2 0_4"), NUMBERS),
    "Arabic digits": (row("0 0.5 0.5 0.2 ٠.٤"), NUMBERS),
    "words": (row("true null 0.5 0.2 0.4"), NUMBERS),
    "a confidence behind": (row("0 0.5 0.5 0.2 0.4 0.93"), NUMBERS),
    "even count of an outline": (row("0 0.1 0.1 0.9 0.1 0.9 0.9 0.5"), NUMBERS),
    "no width": (row("0 0.5 0.5 0 0.4"), BOX),
    "width negative": (row("0 0.5 0.5 -0.2 0.4"), BOX),
    "width minus zero": (row("0 0.5 0.5 -0.0 0.4"), BOX),
    "corners in place of sides": (row("0 0.5 0.5 0.9 0.9"), accepted()),
    "corners that reach out": (row("0 0.7 0.7 0.9 0.9"), CLIPPED),
    "outside": (row("0 1.5 0.5 0.2 0.4"), BOX),
    "reaching out": (row("0 0.95 0.5 0.2 0.4"), CLIPPED),
    "twice": (row(OTHER), told("row", "line 2")),
    "outline on a line": (row("0 0.1 0.1 0.5 0.1 0.9 0.1"), BOX),
    "outline of one point": (row("0 0.1 0.1 0.1 0.1 0.1 0.1"), BOX),
    "outline on a slanted line": (row("0 0.1 0.1 0.5 0.5 0.9 0.9"), told("outline", action="outline left out")),
    "outline in pixels": (row("0 4 3 36 3 36 27"), COORDINATES),
    "outline crossing itself": (row("0 0.1 0.1 0.9 0.9 0.9 0.1 0.2 0.8"), accepted()),
    "outline of 100 thousand points": (row("0" + " 0.1 0.1 0.4 0.1 0.4 0.4" * 30_000), accepted()),
    "outline to and fro": (row("0" + " 0.1 0.1 0.9 0.1 0.9 0.9" * 30_000), told("outline")),
    "byte order mark": (changed(ONE, lambda c: b"\xef\xbb\xbf" + c), accepted()),
    "lines of Windows": (changed(ONE, lambda c: c.replace(b"\n", b"\r\n")), accepted()),
    "lines of old Macs": (changed(ONE, lambda c: c.replace(b"\n", b"\r")), accepted()),
    "no line break at the end": (changed(ONE, bytes.strip), accepted()),
    "cut within a number": (changed(ONE, lambda c: c[:-3]), accepted()),
    "cut within a row": (changed(ONE, lambda c: c[:-6]), told("row", "line 2")),
    "Latin-1": (row(b"0 0.5 0.5 0.2 0.4 \xe9"), NUMBERS),
    "escape codes": (row("\x1b[31m0 0.5 0.5 0.2 0.4"), NUMBERS),
    "a comment": (row(f"# boxes\n{ROW}"), told("row", left=LEFT)),
    "points missing": (pose(""), POSE),
    "points too few": (pose("0.5 0.5 2"), NUMBERS),
    "points in pixels": (pose("20 15 2 0 0 0"), told("coordinates", action="keypoints left out")),
    "visibility 3": (pose("0.5 0.5 3 0 0 0"), POSE),
    "visibility a probability": (pose("0.5 0.5 0.9 0 0 0"), POSE),
    "points outside": (pose("1.5 0.5 2 0.5 0.5 2"), told("keypoints", action="those points left out")),
}

FILES: Rows = {
    "UTF-16": (changed(ONE, lambda c: c.decode().encode("utf-16")), LABELS),
    "noughts": (content(ONE, bytes(100)), LABELS),
    "11 MB": (content(ONE, f"{ROW}\n" * 650_000), LABELS),
    "20 thousand rows": (content(ONE, "0\n" * 20_000), LABELS),
    "a pipe": (content(ONE, Pipe()), LABELS),
    "a folder": (content(ONE, Folder()), LABELS),
    "a device": (content(ONE, Link("/dev/zero")), LABELS),
    "a link out": (both(content("../1.txt", ROW), content(ONE, Link("{root}/../1.txt"))), LABELS),
    "not there": (gone(ONE), accepted((3, 1))),
    "of no image": (content("labels/train/4.txt", ROW), told("label file", "file", "labels/train/4.txt", left=LEFT)),
    "no labels at all": (lambda files: [files.pop(f"labels/train/{i}.txt") for i in (1, 2, 3)], refused("label file")),
    "image empty": (content("images/train/1.png", b""), lost("image")),
    "image cut": (
        changed("images/train/1.png", lambda c: c[:60]),
        told("file_name", "image 1", ONE, "skipped with its annotations", (2, 1)),
    ),
    "image a pipe": (content("images/train/1.png", Pipe()), lost("image")),
    "image a link out": (
        both(content("../1.png", picture(1)), content("images/train/1.png", Link("{root}/../1.png"))),
        lost("image"),
    ),
    "two images of a name": (
        content("images/train/1.jpg", picture(4, "JPEG")),
        told("image", "image '1'", "images/train/1.png", "skipped with its annotations", LEFT),
    ),
}

SETTINGS: Rows = {
    "empty": (content(YAML, ""), refused("no annotations found")),
    "names missing": (names(""), REFUSED),
    "names null": (names("names:"), REFUSED),
    "names a word": (names("names: kite, dog"), REFUSED),
    "names empty": (names("names: []"), REFUSED),
    "names too few": (
        names("names: [kite]"),
        replace(told("class", "line 2", left=(3, 1)), others=(told("class", file=THREE),)),
    ),
    "names twice": (names("names: [kite, kite]"), REFUSED),
    "names nested": (names("names: [[kite], [dog]]"), REFUSED),
    "name no": (names("names: [no, on]"), accepted()),
    "name null": (names("names: [~, dog]"), REFUSED),
    "name true": (names("names: [true, dog]"), REFUSED),
    "name a number": (names("names: [1, 2]"), accepted()),
    "name 1e-4": (names("names: [1e-4, dog]"), REFUSED),
    "name of markup": (names("names: ['<b>[red]', '<eos>']"), accepted()),
    "name of escape codes": (names('names: ["\\e[31mkite", dog]'), accepted()),
    "names from 1": (names("names: {1: kite, 2: dog}"), told("class", left=(3, 2))),
    "names by word": (names("names: {kite: 0, dog: 1}"), REFUSED),
    "names negative": (names("names: {-1: kite, 0: dog}"), REFUSED),
    "names at 1e18": (names("names: {0: kite, 1: dog, 1000000000000000000: x}"), accepted()),
    "nc wrong": (names(f"{NAMES}\nnc: 80"), REFUSED),
    "nc a word": (names(f"{NAMES}\nnc: two"), REFUSED),
    "key twice": (names(f"{NAMES}\nnames: [a, b]"), REFUSED),
    "not YAML": (names("names: [kite, dog"), REFUSED),
    "tabs": (names("names:\n\t- kite"), REFUSED),
    "Python objects": (names("names: !!python/object/apply:os.system ['touch canary']"), REFUSED),
    "Python names": (names("names: [!!python/name:os.system , dog]"), REFUSED),
    "anchors that multiply": (names(f"{BOMB}{NAMES}"), REFUSED),
    "anchor of itself": (names("names: &n [kite, *n]"), REFUSED),
    "two documents": (names(f"{NAMES}\n---\n{NAMES}"), REFUSED),
    "UTF-16": (changed(YAML, lambda c: c.decode().encode("utf-16")), REFUSED),
    "NUL": (names("names: [kite, 'd\0g']"), REFUSED),
    "2 MB": (names(f"{NAMES}\n# {'x' * 2_000_000}"), REFUSED),
    "nested deeply": (names(f"{NAMES}\nx: {'[' * 5000}"), REFUSED),
    "train missing": (train("train: images/gone"), refused(YAML, "images/gone", "is not there")),
    "train a number": (train("train: 5"), REFUSED),
    "train outside": (both(content("../pics/1.png", picture(1)), train("train: ../pics")), refused(YAML, "../pics")),
    "train absolute": (train("train: /etc"), refused(YAML, "/etc")),
    "train a file": (train("train: images/train/1.png"), refused(YAML, "neither a folder")),
    "train from above": (train("train: ../images/train"), accepted()),
    "list with one missing": (
        both(
            content("l.txt", "images/train/1.png\nimages/train/2.png\n./images/train/3.png\nimages/4.png\n"),
            train("train: l.txt"),
        ),
        told("image", "line 4", "l.txt", left=LEFT),
    ),
    "list climbing out": (
        both(
            content("../1.png", picture(1)),
            content("l.txt", "images/train/1.png\nimages/train/3.png\n../1.png\n"),
            train("train: l.txt"),
        ),
        told("image", "line 3", "l.txt", left=(2, 3)),
    ),
    "list twice": (
        both(content("l.txt", "images/train/1.png\nimages/train/3.png\nimages/train/1.png\n"), train("train: l.txt")),
        told("image", "line 3", "l.txt", left=(2, 3)),
    ),
    "points of no shape": (names(f"{NAMES}\nkpt_shape: 17"), REFUSED),
    "points of shape 0": (names(f"{NAMES}\nkpt_shape: [0, 3]"), REFUSED),
    "points without end": (names(f"{NAMES}\nkpt_shape: [1000000000, 3]"), REFUSED),
    "partners out of range": (names(f"{NAMES}\n{POINTS}\nflip_idx: [1, 2]"), REFUSED),
    "code to download": (names(f"{NAMES}\ndownload: |\n  import os; os.system('touch canary')"), accepted()),
    "a pipe": (content(YAML, Pipe()), REFUSED),
    "a link out": (both(content("../d.yaml", good()[YAML]), content(YAML, Link("{root}/../d.yaml"))), REFUSED),
}
