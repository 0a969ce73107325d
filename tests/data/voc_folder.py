"""A small, valid PASCAL VOC data set to be written, and to be broken, by the tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

SIZE = "<size><width>40</width><height>30</height><depth>3</depth></size>"
IMAGES = {"a": 80, "b": 160, "c": 240}  # names, and how red they are


def thing(name: str, *edges: object, more: str = "") -> str:
    """An object; edges are xmin, ymin, xmax, ymax."""
    tags = zip(("xmin", "ymin", "xmax", "ymax"), edges, strict=True)
    box = "".join(f"<{tag}>{edge}</{tag}>" for tag, edge in tags)
    return f"<object><name>{name}</name>{more}<bndbox>{box}</bndbox></object>"


def xml(*parts: str, filename: str = "", size: str = SIZE) -> str:
    name = f"<filename>{filename}</filename>" if filename else ""
    return f"<annotation>{name}{size}{''.join(parts)}</annotation>"


def good() -> dict[str, str]:
    """By image: two objects, one of them difficult; none; one in the whole image."""
    return {
        "a": xml(thing("kite", 3, 4, 12, 11), thing("person", 21, 6, 24, 25, more="<difficult>1</difficult>")),
        "b": xml(filename="b.png"),
        "c": xml(thing("apple", 1, 1, 40, 30, more="<difficult>0</difficult>")),
    }


def write(
    root: Path,
    files: Mapping[str, str | bytes],
    splits: Mapping[str, Sequence[str]] | None = None,
    annotations: str = "Annotations",
    images: str = "JPEGImages",
) -> Path:
    for folder in (annotations, images):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        raw = content if isinstance(content, bytes) else content.encode()
        (root / annotations / f"{name}.xml").write_bytes(raw)
    for name, red in IMAGES.items():
        Image.new("RGB", (40, 30), (red, 0, 0)).save(root / images / f"{name}.png")
    for split, lines in (splits or {}).items():
        (root / "ImageSets" / "Main").mkdir(parents=True, exist_ok=True)
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(f"{line}\n" for line in lines))
    return root
