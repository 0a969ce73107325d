"""Files of PASCAL VOC: the XML of an image, of which only the texts of known fields are kept, and what they must be."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser, ParseError

from ...errors import DataError
from ...geometry import FloatArray
from .. import checks
from ..checks import TWICE, Size
from ..faults import Unusable
from ..paths import file_problem

MAX_BYTES = 16 * 2**20
MAX_DEPTH = 100
EDGES = ("xmin", "ymin", "xmax", "ymax")
SIDES = ("width", "height")
_OBJECT = "/annotation/object"
_IMAGE_FIELDS = {"/annotation/filename": "filename", **{f"/annotation/size/{side}": side for side in SIDES}}
_OBJECT_FIELDS = {f"{_OBJECT}/{name}": name for name in ("name", "difficult", "bndbox")}
_OBJECT_FIELDS |= {f"{_OBJECT}/bndbox/{edge}": edge for edge in EDGES}
_LEAVES = {place for place in (*_IMAGE_FIELDS, *_OBJECT_FIELDS) if not place.endswith("bndbox")}
_TAG = re.compile(rb"<([A-Za-z_][^\s/>]*)")

Texts = dict[str, str]  # by field; under TWICE the field that stands there more than once


@dataclass(slots=True)
class VocImage:
    """What the file of an image says."""

    texts: Texts = field(default_factory=dict)
    objects: list[Texts] = field(default_factory=list)
    first: int = 1  # number of its first object in the data set


def may_be_voc(path: Path) -> bool:
    """Whether the root tag, where one can be seen, is VOC's."""
    tag = _TAG.search(head(path))
    return tag is None or tag[1] == b"annotation"


def head(path: Path) -> bytes:
    """The first bytes; none of what is not a regular file."""
    if file_problem(path, None):
        return b""
    with path.open("rb") as file:
        return file.read(4096)


def read_list(path: Path, root: Path) -> list[str]:
    """Lines of text. Raises DataError."""
    if problem := file_problem(path, root):
        raise DataError(f"{path}: {problem}")
    if path.stat().st_size > MAX_BYTES:
        raise DataError(f"{path}: is larger than {MAX_BYTES // 2**20} MiB; write one image name a line")
    return path.read_bytes().decode("utf-8-sig", "surrogateescape").split("\n")


def read_files(paths: Iterable[Path], root: Path) -> dict[Path, VocImage | Unusable]:
    """What each file says, or why it cannot be used."""
    found: dict[Path, VocImage | Unusable] = {}
    first = 1
    for path in paths:
        try:
            found[path] = image = _read(path, root)
            image.first, first = first, first + len(image.objects)
        except Unusable as error:
            found[path] = error
    return found


def _read(path: Path, root: Path) -> VocImage:
    if problem := file_problem(path, root):
        raise Unusable("file", path.name, problem, "put the file there, or take the image off the list")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise Unusable("file", path.name, f"is larger than {MAX_BYTES // 2**20} MiB", "split it")
        parser = DefusedXMLParser(target=_Collector(), forbid_dtd=True)
        parser.feed(path.read_bytes())
        found: VocImage = parser.close()
    except DefusedXmlException:
        raise Unusable("file", path.name, "declares a document type or entities", "remove <!DOCTYPE ...>") from None
    except (ParseError, ValueError, LookupError, OSError) as error:  # LookupError: of an encoding
        raise Unusable("XML", str(error), "is not well-formed", "export it again") from None
    return found


class _Collector:
    """What the parser tells its events to."""

    def __init__(self) -> None:
        self.image = VocImage()
        self.places = [""]  # from the root to the open tag
        self.text: list[str] = []

    def start(self, tag: str, attributes: object) -> None:
        if self.places[-1] in _LEAVES:
            raise Unusable("XML", f"<{tag}>", "stands inside a name or a number", "export it again")
        self.places.append(f"{self.places[-1]}/{tag}")
        self.text = []
        if len(self.places) == 2 and tag != "annotation":
            raise Unusable("XML", f"<{tag}>", "is not VOC's <annotation>", "export it again")
        if len(self.places) > MAX_DEPTH + 1:
            raise Unusable("XML", f"<{tag}>", f"is nested deeper than {MAX_DEPTH} tags", "export it again")
        if self.places[-1] == _OBJECT:
            self.image.objects.append({})

    def data(self, text: str) -> None:
        self.text.append(text)

    def end(self, tag: str) -> None:
        place = self.places.pop()
        if name := _IMAGE_FIELDS.get(place):
            self._keep(self.image.texts, name)
        elif name := _OBJECT_FIELDS.get(place):
            self._keep(self.image.objects[-1], name)

    def _keep(self, texts: Texts, name: str) -> None:
        if name in texts:
            texts.setdefault(TWICE, name)
        texts[name] = "".join(self.text).strip()

    def close(self) -> VocImage:
        return self.image


# ---------------------------------------------------------------------------------- rules; what breaks one: Unusable


def label(texts: Texts) -> str:
    """The name of an object's category."""
    _once(texts)
    return checks.text(texts.get("name"), "name")


def labels(file: VocImage | Unusable) -> Iterator[str]:
    """The names of all objects that have one."""
    for texts in file.objects if isinstance(file, VocImage) else ():
        with suppress(Unusable):
            yield label(texts)


def _once(texts: Texts) -> None:
    if name := texts.get(TWICE):
        raise Unusable(name, texts[name], TWICE, "keep one of them")


def image_size(texts: Texts) -> Size | None:
    """Width and height; None where they are left out or 0."""
    _once(texts)
    sides = {side: float(_number(texts, side)) for side in SIDES if texts.get(side)}
    return checks.image_size(sides) if len(sides) == 2 and any(sides.values()) else None


def crowd(texts: Texts) -> bool:
    """Difficult objects are not trained on, and ignored in scores, as VOC does."""
    value = texts.get("difficult") or "0"
    if value not in ("0", "1"):
        raise Unusable("difficult", value, "is not 0 or 1", "write 1 for an object that is hard to tell")
    return value == "1"


def box(texts: Texts, size: Size) -> tuple[FloatArray, Unusable | None]:
    """The box (4,) as xyxy, clipped to the image, and the fault where more than a pixel was cut off.

    VOC's edges are the first and the last pixel of the object, counted from 1."""
    if "bndbox" not in texts:
        raise Unusable("bndbox", None, "is missing", "draw the box, or remove the object")
    given = [_number(texts, edge) for edge in EDGES]
    values = checks.numbers([float(value) for value in given], "bndbox", size).tolist()
    xyxy = float(given[0] - 1), float(given[1] - 1), values[2], values[3]
    if xyxy[2] <= xyxy[0] or xyxy[3] <= xyxy[1]:
        raise Unusable("bndbox", values, "has no positive width and height", "give xmin, ymin, xmax, ymax")
    clipped, far = checks.clipped_box(xyxy, values, "bndbox", size)
    cut = Unusable("bndbox", values, "reaches out of the image", "check the size of the image")
    return clipped, cut if far else None


def _number(texts: Texts, name: str) -> Decimal:
    """Decimal, so that counting from 0 instead of 1 rounds nothing."""
    text = texts.get(name, "")
    try:
        value = Decimal(text if "_" not in text else "")
    except InvalidOperation:
        raise Unusable(name, text, "is not a number", "write pixels in digits") from None
    if not value.is_finite():
        raise Unusable(name, text, "is not finite", "correct it, or remove the object")
    return value
