"""Lists of images and captions, in CSV and JSON lines, with one thing wrong. Image 1 has two captions, 2 and 3 one."""

from __future__ import annotations

import json
from typing import Any

from .cases import (
    Files,
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

CSV, LINES = "captions_train.csv", "captions_train.jsonl"
LEFT = (3, 4)
SAID = {"1.png": ["a kite", "a kite, flying"], "2.png": ["the sea"], "3.png": ["nothing"]}
HEADER, LAST = "image,caption\n", "3.png,nothing\n"


def pictures() -> Files:
    return {f"{i}.png": picture(i) for i in (1, 2, 3)}


def good_csv() -> Files:
    rows = '1.png,a kite\n1.png,"a kite, flying"\n2.png,the sea\n' + LAST
    return pictures() | {CSV: HEADER + rows}


def good_lines() -> Files:
    rows = [{"image": name, "caption": said} for name, said in SAID.items()]
    return pictures() | {LINES: "".join(json.dumps(row) + "\n" for row in rows)}


def last(row: str | bytes) -> Spoil:
    return swap(CSV, LAST, row)


def header(line: str) -> Spoil:
    return swap(CSV, HEADER, line)


def line(row: Any) -> Spoil:
    """In place of the last one; text stands as it is."""
    old = json.dumps({"image": "3.png", "caption": ["nothing"]})
    return swap(LINES, old, row if isinstance(row, str | bytes) else json.dumps(row))


def entry(**values: Any) -> Spoil:
    return line({"image": "3.png", "caption": ["nothing"]} | values)


def numbered(*ids: Any) -> Spoil:
    rows = [
        {"image_id": key, "image": name, "caption": said} for key, (name, said) in zip(ids, SAID.items(), strict=True)
    ]
    return content(LINES, "".join(json.dumps(row) + "\n" for row in rows))


def at(field: str, where: str, left: Left | None = (2, 3), action: str = "skipped", file: str = CSV) -> Told:
    return Told(file, where, field, action, left)


def in_line(field: str, left: Left | None = (2, 3), action: str = "skipped") -> Told:
    return at(field, "line 3", left, action, LINES)


ROW, IMAGE, CAPTION = at("row", "line 5"), at("image", "line 5"), at("caption", "line 5", (3, 3))
LOST = at("image", "line 5", (2, 3), "skipped with its annotations")
LINE = in_line("line")

TABLES: Rows = {
    "cell missing": (last("3.png\n"), ROW),
    "cell too many": (last("3.png,nothing,more\n"), ROW),
    "comma without quotes": (last("3.png,nothing, at all\n"), ROW),
    "quote never closed": (last('3.png,"nothing\n'), ROW),
    "quote inside": (last('3.png,"no "thing""\n'), ROW),
    "apostrophe": (last("3.png,it's nothing\n"), accepted()),
    "line break in quotes": (last('3.png,"no\nthing"\n'), accepted()),
    "caption empty": (last("3.png,\n"), CAPTION),
    "caption blank": (last('3.png," \t "\n'), CAPTION),
    "caption endless": (last(f"3.png,{'no ' * 10_000}\n"), CAPTION),
    "cell of 2 MB": (last(f"3.png,{'x' * 2_000_000}\n"), ROW),
    "caption a formula": (last("3.png,=1+1\n"), accepted()),
    "caption of control tokens": (last("3.png,<eos></s>\n"), accepted()),
    "caption of escape codes": (last("3.png,\x1b[31mred\n"), accepted()),
    "image empty": (last(",nothing\n"), IMAGE),
    "image not there": (last("4.png,nothing\n"), at("image", "line 5", (2, 3), "skipped with its annotations")),
    "image climbing out": (last("../3.png,nothing\n"), IMAGE),
    "image climbing out behind a blank": (last(" ../3.png,nothing\n"), IMAGE),
    "image absolute behind a blank": (last(" /etc/passwd,nothing\n"), IMAGE),
    "image with blanks around": (last(" 3.png ,nothing\n"), accepted()),
    "image climbing in Windows": (last("..\\3.png,nothing\n"), IMAGE),
    "image absolute": (last("/etc/passwd,nothing\n"), IMAGE),
    "image on a drive": (last("C:\\3.png,nothing\n"), IMAGE),
    "image twice": (last("2.png,the same sea\n"), accepted((2, 4))),
    "image damaged": (content("3.png", b"no picture"), LOST),
    "image a pipe": (content("3.png", Pipe()), LOST),
    "image a link out": (both(content("../3.png", picture(3)), content("3.png", Link("{root}/../3.png"))), LOST),
    "NUL": (last("3.png,no\0thing\n"), ROW),
    "Latin-1": (last(b"3.png,n\xf6thing\n"), refused(CSV, "line 5", "UTF-8")),
    "UTF-16": (changed(CSV, lambda c: c.decode().encode("utf-16")), refused(CSV, "UTF-16")),
    "byte order mark": (changed(CSV, lambda c: b"\xef\xbb\xbf" + c), accepted()),
    "lines of Windows": (changed(CSV, lambda c: c.replace(b"\n", b"\r\n")), accepted()),
    "blank lines": (changed(CSV, lambda c: c.replace(b"\n", b"\n\n")), accepted()),
    "semicolons": (changed(CSV, lambda c: c.replace(b'"a kite, flying"', b"a kite").replace(b",", b";")), accepted()),
    "tabs": (changed(CSV, lambda c: c.replace(b'"a kite, flying"', b"a kite").replace(b",", b"\t")), accepted()),
    "delimiters mixed": (last("3.png;nothing\n"), ROW),
    "no header": (header(""), refused("no annotations found")),
    "header twice": (header("image,caption,caption\n"), refused(CSV, "caption")),
    "header of other names": (header("bild,text\n"), refused("no annotations found")),
    "header in capitals": (header(" Image , CAPTION \n"), accepted()),
    "cut": (changed(CSV, lambda c: c[:-10]), ROW),
    "empty": (content(CSV, ""), refused("no annotations found")),
    "header alone": (content(CSV, HEADER), refused("lists no usable image")),
    "a pipe": (content(CSV, Pipe()), refused()),
    "a link out": (both(content("../l.csv", good_csv()[CSV]), content(CSV, Link("{root}/../l.csv"))), refused()),
    "no image there": (lambda files: [files.pop(f"{i}.png") for i in (1, 2, 3)], refused("images not found", "1.png")),
    "two lists": (
        content("captions_train.tsv", "image\tcaption\n1.png\ta\n"),
        refused("several lists", "data.annotations"),
    ),
}

JSON_LINES: Rows = {
    "not JSON": (line("{image: 3.png}"), LINE),
    "cut": (changed(LINES, lambda c: c[:-10]), LINE),
    "garbage behind": (line('{"image": "3.png", "caption": "nothing"} x'), LINE),
    "a list": (line([1, 2]), LINE),
    "null": (line("null"), LINE),
    "key twice": (line('{"image": "3.png", "caption": "a", "caption": "b"}'), LINE),
    "nested deeply": (line("[" * 100_000), LINE),
    "a number of 10000 digits": (line('{"image": "3.png", "caption": "a", "x": ' + "9" * 10_000 + "}"), LINE),
    "of 2 MB": (entry(x="y" * 2_000_000), LINE),
    "caption a number": (entry(caption=5), in_line("caption", (3, 3))),
    "caption null": (entry(caption=None), in_line("caption", (3, 3))),
    "caption true": (entry(caption=[True]), in_line("caption", (3, 3))),
    "captions none": (entry(caption=[]), accepted((3, 3))),
    "captions nested": (entry(caption=[["nothing"]]), in_line("caption", (3, 3))),
    "caption of half a letter": (entry(caption="\ud800"), in_line("caption", (3, 3))),
    "caption missing": (line({"image": "3.png"}), in_line("caption", (3, 3))),
    "image missing": (line({"caption": "nothing"}), in_line("image")),
    "image a number": (entry(image=3), in_line("image")),
    "image a list": (entry(image=["3.png"]), in_line("image")),
    "image with a NUL": (entry(image="3.png\0"), in_line("image")),
    "image climbing out": (entry(image="a/../../3.png"), in_line("image")),
    "image not there": (gone("3.png"), in_line("image", action="skipped with its annotations")),
    "id NaN": (numbered(1, 2, float("nan")), in_line("image_id", LEFT, "kept")),
    "id twice": (numbered(1, 2, 2), in_line("image_id", LEFT, "kept")),
    "ids": (numbered(1, -2, 2**62), accepted()),
    "blank lines": (changed(LINES, lambda c: c.replace(b"\n", b"\r\n\n")), accepted()),
    "Latin-1": (line(b'{"image": "3.png", "caption": "n\xf6thing"}'), refused(LINES, "line 3", "UTF-8")),
    "one list": (changed(LINES, lambda c: b"[" + c.strip().replace(b"\n", b",\n") + b"]"), refused()),
}
