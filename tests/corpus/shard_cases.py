"""WebDataset shards with one thing wrong: an archive of three samples, each an image, a box and a caption."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Callable
from typing import Any

from .cases import Files, Left, Link, Pipe, Rows, Spoil, Told, accepted, both, changed, content, picture, refused

TAR, LISTED = "train-000000.tar", "dataset.json"
LEFT = (3, 6)
Members = list[tuple[tarfile.TarInfo, bytes]]


def member(name: str, data: bytes = b"", **attributes: Any) -> tuple[tarfile.TarInfo, bytes]:
    found = tarfile.TarInfo(name)
    found.size = len(data)
    for key, value in attributes.items():
        setattr(found, key, value)
    return found, data


def entry(number: int, **values: Any) -> bytes:
    box = {"id": number, "category_id": 1, "bbox": [2, 3, 10, 8]}
    return json.dumps({"width": 40, "height": 30, "annotations": [box], "captions": ["a kite"]} | values).encode()


def members() -> Members:
    return [
        member(f"{i}.{suffix}", data)
        for i in (1, 2, 3)
        for suffix, data in (("png", picture(i)), ("json", entry(i)))
    ]  # fmt: skip


def packed(found: Members) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for info, data in found:
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def good() -> Files:
    return {TAR: packed(members()), LISTED: {"categories": [{"id": 1, "name": "kite"}]}}


def with_members(change: Callable[[Members], object]) -> Spoil:
    def spoil(files: Files) -> None:
        found = members()
        change(found)
        files[TAR] = packed(found)

    return spoil


def more(name: str, data: bytes = b"", **attributes: Any) -> Spoil:
    return with_members(lambda found: found.append(member(name, data, **attributes)))


def sample(**values: Any) -> Spoil:
    return with_members(lambda found: found.__setitem__(5, member("3.json", entry(3, **values))))


def at(field: str, where: str, action: str = "skipped", left: Left | None = LEFT) -> Told:
    return Told(TAR, where, field, action, left)


def lost(field: str) -> Told:
    return at(field, "sample '3'", "skipped with its annotations", (2, 4))


SHARDS: Rows = {
    "climbing out": (more("../4.png", picture(4)), at("file_name", "member '../4.png'")),
    "absolute": (more("/etc/4.png", picture(4)), at("file_name", "member '/etc/4.png'")),
    "a link": (more("4.png", type=tarfile.SYMTYPE, linkname="/etc/passwd"), at("member", "member '4.png'")),
    "a device": (more("4.png", type=tarfile.CHRTYPE), at("member", "member '4.png'")),
    "a pipe inside": (more("4.png", type=tarfile.FIFOTYPE), at("member", "member '4.png'")),
    "a pickle": (
        more("3.pickle", b"cos\nsystem\n(S'touch canary'\ntR."),
        at("suffix", "1 members such as '3.pickle'", "left out"),
    ),
    "a member twice": (more("3.json", entry(3)), at("member", "member '3.json'")),
    "no image": (with_members(lambda found: found.pop(4)), lost("image")),
    "image empty": (with_members(lambda found: found.__setitem__(4, member("3.png"))), lost("image")),
    "image damaged": (
        with_members(lambda found: found.__setitem__(4, member("3.png", b"no picture"))),
        at("file_name", "image 3", "skipped with its annotations", (2, 4)),
    ),
    "JSON cut": (with_members(lambda found: found.__setitem__(5, member("3.json", b'{"width": 4'))), lost("json")),
    "JSON a list": (with_members(lambda found: found.__setitem__(5, member("3.json", b"[]"))), lost("json")),
    "size NaN": (sample(width=float("nan")), lost("width")),
    "annotations an object": (sample(annotations={}), lost("annotations")),
    "box of words": (
        sample(annotations=[{"id": 3, "category_id": 1, "bbox": "2 3 10 8"}]),
        at("bbox", "sample '3', annotation 1", left=(3, 5)),
    ),
    "category unknown": (
        sample(annotations=[{"id": 3, "category_id": 2, "bbox": [2, 3, 10, 8]}]),
        at("category_id", "sample '3', annotation 1", left=(3, 5)),
    ),
    "caption a number": (sample(captions=[5]), at("captions", "sample '3', caption", left=(3, 5))),
    "id twice": (sample(image_id="2"), lost("image_id")),
    "compressed": (changed(TAR, gzip.compress), refused()),
    "cut": (
        changed(TAR, lambda c: c[: len(c) // 2 // 512 * 512]),
        at("tar", "archive", "what is whole is used", (3, 4)),
    ),
    "noughts": (content(TAR, bytes(10_240)), refused()),
    "a pipe": (
        both(content("train-000001.tar", Pipe())),
        Told("train-000001.tar", "archive", "tar", "what is whole is used", LEFT),
    ),
    "a link out": (
        both(content("../x.tar", packed(members())), content("train-000001.tar", Link("{root}/../x.tar"))),
        Told("train-000001.tar", "archive", "tar", "what is whole is used", LEFT),
    ),
    "one after the other": (changed(TAR, lambda c: c + bytes(5120)), accepted()),
}
