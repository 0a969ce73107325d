"""The verdicts on VOC, YOLO and CSV sets: those of voc_cases.py, yolo_cases.py and list_cases.py after one change."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from pathlib import PurePosixPath
from typing import Any
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from . import list_cases, voc_cases, yolo_cases
from .cases import SIZE, Files, to_bytes
from .reference import (
    Bad,
    Size,
    Unsure,
    Verdict,
    are_numbers,
    is_name,
    is_text,
    need,
    need_sides,
    reach,
    twice_area,
)

EDGES = ("xmin", "ymin", "xmax", "ymax")

# ----------------------------------------------------------------------------------------------------------------- VOC


def judge_voc(files: Files) -> Verdict:
    verdict = Verdict()
    for stem in listed(to_bytes(files[voc_cases.LIST]), verdict):
        file, where = f"Annotations/{stem}.xml", f"image {stem}"
        try:
            root = tree(to_bytes(files[file]))
            size = size_of(root)
        except Bad as bad:
            verdict.faults.append((file, where, str(bad)))
            continue
        found = list(objects(root, size, file, verdict))
        if size == SIZE:
            verdict.used[stem] = {"boxes": found}
        else:
            verdict.faults.append((file, where, "file_name"))
    return verdict if verdict.used else Verdict(refused=True)


def listed(content: bytes, verdict: Verdict) -> list[str]:
    lines = [line.strip() for line in content.decode("utf-8-sig", "surrogateescape").split("\n")]
    if any(line.split()[1:] for line in lines):  # perhaps the list of one class
        raise Unsure
    found: list[str] = []
    for number, line in enumerate(lines, 1):
        path = PurePosixPath(line)
        name = path.stem if path.suffix.lower() in (".png", ".xml", ".jpg") and line not in ("1", "2", "3") else line
        if name in ("1", "2", "3") and name not in found:
            found.append(name)
        elif line:
            verdict.faults.append((voc_cases.LIST, f"line {number}", "name"))
    return found


def tree(content: bytes) -> Element:
    try:
        root: Element = fromstring(content, forbid_dtd=True)
    except DefusedXmlException:
        raise Bad("file") from None
    except (ParseError, ValueError, LookupError):
        raise Bad("XML") from None
    need(root.tag == "annotation", "XML")
    leaves = ["filename", "size/width", "size/height", "object/name", "object/difficult"]
    for place in [*leaves, *(f"object/bndbox/{edge}" for edge in EDGES)]:
        need(not any(len(one) for one in root.findall(place)), "XML")
    return root


def once(holder: Element, fields: dict[str, str]) -> None:
    """Raises Bad with the first field, in the order of the file, that stands there twice."""
    seen: list[str] = []
    known = {id(one): name for place, name in fields.items() for one in holder.findall(place)}
    for one in ends(holder):
        if id(one) in known:
            need(known[id(one)] not in seen, known[id(one)])
            seen.append(known[id(one)])


def ends(element: Element) -> Iterator[Element]:
    """In the order in which the tags are closed."""
    for child in element:
        yield from ends(child)
    yield element


def said(holder: Element, place: str) -> str:
    found = holder.findall(place)
    return (found[-1].text or "").strip() if found else ""


def number(holder: Element, place: str) -> Decimal:
    name = place.rpartition("/")[2]
    try:
        value = Decimal(said(holder, place).replace("_", "x"))
    except InvalidOperation:
        raise Bad(name) from None
    need(value.is_finite(), name)
    return value


def size_of(root: Element) -> Size:
    once(root, {"filename": "filename", "size/width": "width", "size/height": "height"})
    given = [float(number(root, f"size/{side}")) for side in ("width", "height") if said(root, f"size/{side}")]
    return need_sides(*given) if len(given) == 2 and any(given) else SIZE


def objects(root: Element, size: Size, file: str, verdict: Verdict) -> Iterator[str]:
    for position, one in enumerate(root.findall("object"), 1):
        try:
            name, out = voc_object(one, size)
        except Bad as bad:
            verdict.faults.append((file, f"object {position}", str(bad)))
            continue
        if out > 1:
            verdict.faults.append((file, f"object {position}", "bndbox"))
        yield name


def voc_object(one: Element, size: Size) -> tuple[str, float]:
    """The name, and how far the box reaches out."""
    places = {place: place for place in ("name", "difficult", "bndbox")}
    once(one, places | {f"bndbox/{edge}": edge for edge in EDGES})
    need(is_text(said(one, "name")), "name")
    need(said(one, "difficult") in ("", "0", "1"), "difficult")
    need(one.find("bndbox") is not None, "bndbox")
    x0, y0, x1, y1 = (float(number(one, f"bndbox/{edge}")) for edge in EDGES)
    need(are_numbers([x0, y0, x1, y1], size) and x1 > x0 - 1 and y1 > y0 - 1, "bndbox")
    return " ".join(said(one, "name").split()), reach(x0 - 1, y0 - 1, x1, y1, size, "bndbox")


# ---------------------------------------------------------------------------------------------------------------- YOLO


def judge_yolo(files: Files) -> Verdict:
    if files[yolo_cases.YAML] != yolo_cases.good()[yolo_cases.YAML]:
        raise Unsure
    verdict, outlined = Verdict(), False
    for stem in ("1", "2", "3"):
        content, used = to_bytes(files[f"labels/train/{stem}.txt"]), {"boxes": [], "polygons": []}
        if b"\0" in content:
            verdict.faults.append((f"images/train/{stem}.png", f"image '{stem}'", "label file"))
            continue
        read_rows(content.removeprefix(b"\xef\xbb\xbf"), f"labels/train/{stem}.txt", used, verdict)
        verdict.used[stem] = used
        outlined |= bool(used["polygons"])
    for used in verdict.used.values():
        if not outlined:
            del used["polygons"]
    return verdict


def read_rows(content: bytes, file: str, used: dict[str, Any], verdict: Verdict) -> None:
    seen: list[list[bytes]] = []
    for position, line in enumerate(content.splitlines(), 1):
        words = line.split()
        try:
            need(words not in seen, "row")
            if words:
                seen.append(words)
                note = yolo_row(words, used)
                verdict.faults += [(file, f"line {position}", note)] if note else []
        except Bad as bad:
            verdict.faults.append((file, f"line {position}", str(bad)))


def yolo_row(words: list[bytes], used: dict[str, Any]) -> str:
    """Adds an object; the field of what was only mended."""
    try:
        label, *values = [float(word.replace(b"_", b"x")) for word in words]
    except ValueError:
        raise Bad("row") from None
    need(all(map(math.isfinite, [label, *values])), "row")
    need(label in (0, 1), "class")
    need(len(values) == 4 or (len(values) >= 6 and len(values) % 2 == 0), "row")
    need(all(-2 <= value <= 2 for value in values), "coordinates")
    name = ("kite", "dog")[int(label)]
    if len(values) > 4:
        return yolo_outline(name, values, used)
    x, y, width, height = values
    need(width > 0 and height > 0, "box")
    edges = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
    inside = [min(max(edge, 0), 1) for edge in edges]
    need(inside[2] > inside[0] and inside[3] > inside[1], "box")
    used["boxes"].append(name)
    return "box" if max(abs(a - b) for a, b in zip(edges, inside, strict=True)) > 1e-3 else ""


def yolo_outline(name: str, values: list[float], used: dict[str, Any]) -> str:
    if not all(0 <= value <= 1 for value in values):
        raise Unsure  # would have to be clipped
    xs, ys = values[::2], values[1::2]
    need(max(xs) > min(xs) and max(ys) > min(ys), "box")
    used["boxes"].append(name)
    if twice_area(xs, ys) * SIZE[0] * SIZE[1] <= 2e-6:
        return "outline"
    used["polygons"].append(name)
    return ""


# ----------------------------------------------------------------------------------------------------------------- CSV


def judge_csv(files: Files) -> Verdict:
    try:
        text = to_bytes(files[list_cases.CSV]).decode("utf-8-sig")
    except UnicodeDecodeError:
        return Verdict(refused=True)
    if not text.startswith(list_cases.HEADER) or "\r" in text:
        raise Unsure
    verdict, lines = Verdict(), {}
    for position, cells in csv_rows(text):
        try:
            need(len(cells) == 2 and "\0" not in "".join(cells), "row")
            name = cells[0].strip()
            need(is_name(name), "image")
            lines.setdefault(name, position)
            used = verdict.used.setdefault(name, {"captions": 0})
            need(is_text(cells[1]), "caption")
            used["captions"] += 1
        except Bad as bad:
            verdict.faults.append((list_cases.CSV, f"line {position}", str(bad)))
    for name in list(verdict.used):
        if name not in files:
            verdict.faults.append((list_cases.CSV, f"line {lines[name]}", "image"))
            del verdict.used[name]
    return verdict if verdict.used else Verdict(refused=True)


def csv_rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """Rows after the header, with the line that each begins in."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        next(reader)
        before = reader.line_num
        for cells in reader:
            if cells:
                yield before + 1, cells
            before = reader.line_num
    except csv.Error:
        raise Unsure from None
