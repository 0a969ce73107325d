"""Pascal VOC: XML files and lists with one thing wrong. Image 1 has a kite and a dog, 2 nothing, 3 a dog."""

from __future__ import annotations

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

ONE, TWO, THREE = (f"Annotations/{i}.xml" for i in (1, 2, 3))
LIST = "ImageSets/Main/train.txt"
LEFT = (3, 3)
KITE = "<object><name>kite</name><difficult>0</difficult>{}</object>"
BOX = "<bndbox><xmin>5</xmin><ymin>6</ymin><xmax>20</xmax><ymax>25</ymax></bndbox>"
SIZE = "<size><width>40</width><height>30</height><depth>3</depth></size>"
DOG = "<object><name>dog</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>"


def good() -> Files:
    objects = {1: KITE.format(BOX) + DOG, 2: "", 3: DOG}
    files: Files = {
        f"Annotations/{i}.xml": f"<annotation><filename>{i}.png</filename>{SIZE}{found}</annotation>\n"
        for i, found in objects.items()
    }
    return files | {f"JPEGImages/{i}.png": picture(i) for i in (1, 2, 3)} | {LIST: "1\n2\n3\n"}


def edge(name: str, text: str) -> Spoil:
    old = {"xmin": 5, "ymin": 6, "xmax": 20, "ymax": 25}[name]
    return swap(ONE, f"<{name}>{old}<", f"<{name}>{text}<")


def bndbox(text: str) -> Spoil:
    return swap(ONE, BOX, text)


def corners(*edges: object) -> Spoil:
    names = ("xmin", "ymin", "xmax", "ymax")
    inner = "".join(f"<{name}>{value}</{name}>" for name, value in zip(names, edges, strict=True))
    return bndbox(f"<bndbox>{inner}</bndbox>")


def named(text: str) -> Spoil:
    return swap(ONE, "<name>kite</name>", text)


def size(text: str) -> Spoil:
    return swap(ONE, SIZE, text)


def wrapped(head: str, tail: str = "") -> Spoil:
    return changed(ONE, lambda c: head.encode() + c + tail.encode())


def declared(declaration: str, entity: str) -> Spoil:
    return both(wrapped(f"<!DOCTYPE annotation [{declaration}]>"), named(f"<name>{entity}</name>"))


def encoded(encoding: str, said: str | None = None) -> Spoil:
    head = f'<?xml version="1.0" encoding="{said}"?>' if said else ""
    return both(named("<name>Möwe</name>"), changed(ONE, lambda c: (head + c.decode()).encode(encoding)))


def told(
    field: str, where: str = "object 1", file: str = ONE, action: str = "skipped", left: Left | None = None
) -> Told:
    return Told(file, where, field, action, left)


def lost(field: str) -> Told:
    """Image 1 goes with its objects."""
    return told(field, "image 1", action="skipped with its annotations", left=(2, 1))


BNDBOX, XMIN, NAME, XML, DTD = told("bndbox"), told("xmin"), told("name"), lost("XML"), lost("file")
BOMB = "".join(f'<!ENTITY a{i + 1} "{f"&a{i};" * 10}">' for i in range(9))

OBJECTS: Rows = {
    "edge empty": (edge("xmin", ""), XMIN),
    "edge a word": (edge("xmin", "left"), XMIN),
    "edge with a unit": (edge("xmin", "5px"), XMIN),
    "edge with decimal comma": (edge("xmin", "5,5"), XMIN),
    "edge percent": (edge("xmin", "12%"), XMIN),
    "edge in hexadecimal": (edge("xmin", "0x5"), XMIN),
    "edge as Python writes it": (edge("xmin", "1_0"), XMIN),
    "edge NaN": (edge("xmin", "NaN"), XMIN),
    "edge infinite": (edge("xmin", "-Infinity"), XMIN),
    "edge 1e400": (edge("xmax", "1e400"), BNDBOX),
    "edge 1e999999999": (edge("xmax", "1e999999999"), BNDBOX),
    "edge of a million digits": (edge("xmax", "9" * 10**6), BNDBOX),
    "edge minus zero": (edge("xmin", "-0"), accepted()),
    "edge with fraction and blanks": (edge("xmin", "\n 5.25 "), accepted()),
    "edge missing": (swap(ONE, "<xmin>5</xmin>", ""), XMIN),
    "edge twice": (swap(ONE, "<xmin>5</xmin>", "<xmin>5</xmin><xmin>6</xmin>"), XMIN),
    "edge with a tag inside": (edge("xmin", "<b>1</b>5"), XML),
    "edge with a comment inside": (edge("xmin", "<!-- 1 -->5"), accepted()),
    "edges as attributes": (bndbox('<bndbox xmin="5" ymin="6" xmax="20" ymax="25"/>'), XMIN),
    "corners swapped": (corners(20, 25, 5, 6), BNDBOX),
    "width and height in place of a corner": (corners(25, 20, 10, 8), BNDBOX),
    "fractions of the image": (corners(0.1, 0.2, 0.5, 0.8), BNDBOX),
    "a single pixel": (corners(5, 6, 5, 6), accepted()),
    "counted from 0": (corners(0, 0, 20, 25), accepted()),
    "of the image before it was made smaller": (corners(50, 60, 200, 250), BNDBOX),
    "reaching out": (corners(5, 6, 50, 25), told("bndbox", action="clipped")),
    "far away": (corners(5, 6, 10**9, 25), BNDBOX),
    "no box": (bndbox(""), BNDBOX),
    "two boxes": (bndbox(BOX + BOX), XMIN),
    "a polygon": (bndbox("<polygon><x1>5</x1><y1>6</y1></polygon>"), BNDBOX),
    "no name": (named(""), NAME),
    "name empty": (named("<name/>"), NAME),
    "two names": (named("<name>kite</name><name>dog</name>"), NAME),
    "name with a tag inside": (named("<name>ki<b>t</b>e</name>"), XML),
    "name endless": (named(f"<name>{'kite ' * 10_000}</name>"), NAME),
    "name of markup": (named("<name>&lt;b&gt;kite[/red]</name>"), accepted()),
    "name in CDATA": (named("<name><![CDATA[<eos> & kite]]></name>"), accepted()),
    "name with line breaks": (named("<name>\n kite\n\t</name>"), accepted()),
    "difficult a word": (swap(ONE, "<difficult>0<", "<difficult>no<"), told("difficult")),
    "difficult 2": (swap(ONE, "<difficult>0<", "<difficult>2<"), told("difficult")),
    "difficult empty": (swap(ONE, "<difficult>0</difficult>", "<difficult/>"), accepted()),
    "parts": (swap(ONE, "</object>", f"<part><name>tail</name>{BOX}</part></object>"), accepted()),
    "empty object": (swap(ONE, "</annotation>", "<object/></annotation>"), told("name", "object 3", left=LEFT)),
}

FILES: Rows = {
    "empty": (content(ONE, b""), XML),
    "cut": (changed(ONE, lambda c: c[:200]), XML),
    "garbage behind": (wrapped("", "</annotation>"), XML),
    "two roots": (wrapped("", "<annotation/>"), XML),
    "tags crossing": (swap(ONE, "</name></object>".replace("</object>", ""), "</nam>"), XML),
    "ampersand": (named("<name>kite & dog</name>"), XML),
    "unknown entity": (named("<name>&kite;</name>"), XML),
    "another root": (changed(ONE, lambda c: c.replace(b"annotation>", b"annotations>")), XML),
    "namespace": (swap(ONE, "<annotation>", '<annotation xmlns="http://voc">'), XML),
    "prefixes": (changed(ONE, lambda c: c.replace(b"object>", b"v:object>")), XML),
    "nested deeply": (swap(ONE, "</annotation>", "<a>" * 200 + "</a>" * 200 + "</annotation>"), XML),
    "nested very deeply": (wrapped("<a>" * 200_000), XML),
    "17 MB": (wrapped("<!--" + "x" * 17_000_000 + "-->"), DTD),
    "NUL": (named("<name>ki\0te</name>"), XML),
    "escape code": (named("<name>\x1b[31mkite</name>"), XML),
    "comments and instructions": (wrapped("<?xml version='1.0'?><?php x ?><!-- <object> -->"), accepted()),
    "lines of Windows": (changed(ONE, lambda c: c.replace(b"><", b">\r\n<")), accepted()),
    "byte order mark": (changed(ONE, lambda c: b"\xef\xbb\xbf" + c), accepted()),
    "UTF-16": (encoded("utf-16", "UTF-16"), accepted()),
    "Latin-1": (encoded("latin-1", "ISO-8859-1"), accepted()),
    "Latin-1 that does not say so": (encoded("latin-1"), XML),
    "UTF-8 that says ASCII": (encoded("utf-8", "US-ASCII"), XML),
    "unknown encoding": (encoded("utf-8", "klingon"), XML),
    "document type": (wrapped("<!DOCTYPE annotation>"), DTD),
    "entity": (declared('<!ENTITY k "kite">', "&k;"), DTD),
    "entities of a thousand million words": (declared('<!ENTITY a0 "lol">' + BOMB, "&a9;"), DTD),
    "entity from a file": (declared('<!ENTITY k SYSTEM "file:///etc/passwd">', "&k;"), DTD),
    "entity from the web": (declared('<!ENTITY k SYSTEM "http://127.0.0.1:9/k">', "&k;"), DTD),
    "document type from the web": (wrapped('<!DOCTYPE annotation SYSTEM "http://127.0.0.1:9/k.dtd">'), DTD),
    "parameter entity": (wrapped('<!DOCTYPE annotation [<!ENTITY % p SYSTEM "file:///etc/passwd"> %p;]>'), DTD),
    "included file": (
        named('<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="/etc/passwd" parse="text"/>'),
        NAME,
    ),
    "no size": (size(""), accepted()),
    "size of noughts": (size("<size><width>0</width><height>0</height></size>"), accepted()),
    "width alone": (size("<size><width>40</width></size>"), accepted()),
    "size negative": (swap(ONE, "<width>40<", "<width>-40<"), lost("width")),
    "size with a fraction": (swap(ONE, "<width>40<", "<width>40.5<"), lost("width")),
    "size a word": (swap(ONE, "<width>40<", "<width>wide<"), lost("width")),
    "size NaN": (swap(ONE, "<height>30<", "<height>nan<"), lost("height")),
    "size twice": (size(SIZE + SIZE), lost("width")),
    "sides swapped": (size("<size><width>30</width><height>40</height></size>"), lost("file_name")),
    "no filename": (swap(ONE, "<filename>1.png</filename>", ""), accepted()),
    "filename with a path": (swap(ONE, ">1.png<", ">C:\\data\\1.png<"), accepted()),
    "filename climbing out": (
        both(content("../4.png", picture(4)), swap(ONE, ">1.png<", ">../../4.png<")),
        accepted(),
    ),
    "filename of another image": (swap(ONE, ">1.png<", ">2.png<"), accepted()),
    "image not there": (gone("JPEGImages/1.png"), lost("filename")),
    "image empty": (content("JPEGImages/1.png", b""), lost("file_name")),
    "image a link out": (
        both(content("../4.png", picture(1)), content("JPEGImages/1.png", Link("{root}/../4.png"))),
        lost("file_name"),
    ),
    "a pipe": (content(ONE, Pipe()), DTD),
    "a folder": (content(ONE, Folder()), DTD),
    "a device": (content(ONE, Link("/dev/zero")), DTD),
    "a link out": (both(content("../1.xml", good()[ONE]), content(ONE, Link("{root}/../1.xml"))), DTD),
    "a link to itself": (content(ONE, Link("1.xml")), DTD),
}

LISTS: Rows = {
    "without annotation": (content(LIST, "1\n2\n3\n4\n"), told("name", "line 4", LIST, left=LEFT)),
    "twice": (content(LIST, "1\n2\n3\n1\n"), told("name", "line 4", LIST, left=LEFT)),
    "climbing out": (content(LIST, "1\n2\n3\n../../etc/passwd\n"), told("name", "line 4", LIST, left=LEFT)),
    "NUL": (content(LIST, b"1\n2\n3\n4\0\n"), told("name", "line 4", LIST, left=LEFT)),
    "Latin-1": (content(LIST, b"1\n2\n3\nM\xf6we\n"), told("name", "line 4", LIST, left=LEFT)),
    "with suffixes": (content(LIST, "1.png\n2.xml\n3.PNG\n"), accepted()),
    "lines of Windows": (content(LIST, b"\xef\xbb\xbf1\r\n2\r\n\r\n3\r\n"), accepted()),
    "empty": (content(LIST, ""), refused("split 'train' has no usable image")),
    "UTF-16": (content(LIST, "1\n2\n3\n".encode("utf-16")), refused("split 'train' has no usable image")),
    "a pipe": (content(LIST, Pipe()), refused(LIST, "is not a regular file")),
    "a link out": (both(content("../l.txt", "1\n"), content(LIST, Link("{root}/../l.txt"))), refused(LIST, "outside")),
}
