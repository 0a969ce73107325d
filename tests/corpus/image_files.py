"""Image files that are damaged or odd, in a COCO set: image 3 is broken each time."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import Any

from PIL import Image

from .cases import Folder, Link, Pipe, Rows, accepted, both, changed, content, gone, picture
from .coco_values import LEFT, good, image, lost

FILE = "images/train/3.png"
LOST = lost("file_name")
TURNED = Image.Exif()
TURNED[0x0112] = 6  # stored lying on its side
NOISE = Image.effect_noise((40, 30), 90).convert("RGB")


def noise(form: str, **options: Any) -> bytes:
    stream = BytesIO()
    NOISE.save(stream, form, **options)
    return stream.getvalue()


def flipped(file: bytes, at: int) -> bytes:
    return file[:at] + bytes([file[at] ^ 255]) + file[at + 1 :]


PICTURES: Rows = {
    "missing": (gone(FILE), LOST),
    "empty": (content(FILE, b""), LOST),
    "cut": (content(FILE, noise("PNG")[:900]), LOST),
    "cut JPEG": (content(FILE, noise("JPEG")[:500]), LOST),
    "cut in the header": (changed(FILE, lambda c: c[:20]), LOST),
    "a byte flipped": (content(FILE, flipped(noise("PNG"), 200)), LOST),
    "bytes behind": (changed(FILE, lambda c: c + bytes(999)), accepted()),
    "text": (content(FILE, "no picture"), LOST),
    "a web page": (content(FILE, "<!DOCTYPE html><html>404</html>"), LOST),
    "a pointer of Git LFS": (content(FILE, "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"), LOST),
    "a drawing": (content(FILE, "<svg xmlns='http://www.w3.org/2000/svg'/>"), LOST),
    "PostScript": (content(FILE, "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 30\n"), LOST),
    "of another size": (content(FILE, picture(3, size=(41, 30))), LOST),
    "of the same pixels, lying": (content(FILE, picture(3, size=(30, 40))), LOST),
    "turned, annotated as stored": (content(FILE, picture(3, "JPEG", exif=TURNED)), accepted()),
    "turned, annotated upright": (
        both(content(FILE, picture(3, "JPEG", exif=TURNED)), image(width=30, height=40)),
        accepted(),
    ),
    "16 bits of grey": (content(FILE, picture(3, mode="I;16")), accepted()),
    "one bit": (content(FILE, picture(3, mode="1")), accepted()),
    "palette": (content(FILE, picture(3, mode="P")), accepted()),
    "transparent": (content(FILE, picture(3, mode="RGBA")), accepted()),
    "CMYK": (content(FILE, picture(3, "JPEG", "CMYK")), accepted()),
    "floating point": (content(FILE, picture(3, "TIFF", "F")), LOST),
    "animated": (content(FILE, picture(3, "GIF", save_all=True, append_images=[NOISE])), accepted()),
    "another format than its name says": (content(FILE, picture(3, "WEBP")), accepted()),
    "of 4 thousand million pixels": (
        changed(FILE, lambda c: c.replace(struct.pack(">II", 40, 30), struct.pack(">II", 65_000, 65_000))),
        LOST,
    ),
    "a pipe": (content(FILE, Pipe()), LOST),
    "a folder": (content(FILE, Folder()), LOST),
    "a device": (content(FILE, Link("/dev/urandom")), LOST),
    "a link out": (both(content("../beside.png", picture(3)), content(FILE, Link("{root}/../beside.png"))), LOST),
    "a link to another disk": (content(FILE, Link("/proc/self/environ")), LOST),
    "a link to itself": (content(FILE, Link("3.png")), LOST),
    "a link inside": (both(content("all/3.png", picture(3)), content(FILE, Link("../../all/3.png"))), accepted()),
}

__all__ = ["LEFT", "PICTURES", "good"]
