"""PASCAL VOC: an XML file of boxes for each image, and lists of the images of each split.

    Annotations/*.xml    JPEGImages/    ImageSets/Main/SPLIT.txt

or XML files beside the images. Categories and objects are numbered over all splits, so that these agree.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from ...errors import DataError
from ...task import Category
from .. import checks
from ..checks import Size
from ..faults import Unusable
from ..images import EXTENSIONS, image_size
from ..paths import file_name
from ..table import Table, TableImage, TableObject
from . import voc_xml
from .layout import Place
from .voc_xml import Texts, VocImage, head, may_be_voc

LOOKED_FOR = "Annotations/*.xml, VOCdevkit/VOC*/Annotations/*.xml or *.xml beside images"
_OF_A_CLASS = re.compile(rb"\S+[ \t]+(-1|0|1)")  # a line of a list such as aeroplane_train.txt


# -------------------------------------------------------------------------------------------------- what lies where


def find(place: Place) -> VocLayout | None:
    """VOC's annotations at a place: a folder, the one year of a VOCdevkit, or XML files beside images."""
    sources = _sources(place) if place.here.is_dir() else {}
    return VocLayout(place.here, sources) if sources else None


@dataclass(frozen=True)
class Source:
    """Where a split lies: XML files by stem, the list of those that belong to it (None: all), folders of images."""

    xml: Mapping[str, Path]
    names: Path | None
    folders: Sequence[Path]

    def listed(self, root: Path) -> Iterator[tuple[str, str]]:
        """The stem of each image, and where it is listed. Raises DataError for a list that cannot be read."""
        if self.names is None:
            yield from ((stem, "") for stem in self.xml)
            return
        for number, line in enumerate(voc_xml.read_list(self.names, root), 1):
            if name := line.strip():
                path = PurePosixPath(name)
                bare = name in self.xml or path.suffix.lower() not in (*EXTENSIONS, ".xml")
                yield name if bare else path.stem, f"line {number}"


def _sources(place: Place) -> dict[str, Source]:
    images = place.image_folder()
    if (chosen := place.chosen(".xml")) is not None:
        return _splits(place.here, _of_voc(chosen), images)
    base = _year(place)
    for folder in (base / "Annotations", base / "annotations", base):
        if xml := _xml(folder):
            return _splits(base, xml, images)
    beside = [path for path in sorted(base.iterdir()) if path.name.startswith(("train", "val", "test"))]
    return {path.name: Source(xml, None, [images or path]) for path in beside if (xml := _xml(path))}


def _year(place: Place) -> Path:
    """The data set in a VOCdevkit; the place itself where it is none."""
    folders = [path for pattern in ("VOC[0-9]*", "VOCdevkit/VOC[0-9]*") for path in sorted(place.here.glob(pattern))]
    years = [path for path in folders if _xml(path / "Annotations")]
    if len(years) > 1:
        names = ", ".join(path.relative_to(place.here).as_posix() for path in years)
        raise DataError(f"{place.path}: several data sets ({names}); give one of them as the path")
    return years[0] if years else place.here


def _xml(folder: Path) -> dict[str, Path]:
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    return _of_voc([path for path in paths if path.suffix.lower() == ".xml" and not path.name.startswith(".")])


def _of_voc(paths: Sequence[Path]) -> dict[str, Path]:
    """XML files by stem; none where the root tags of the first few are another format's."""
    return {path.stem: path for path in paths} if any(map(may_be_voc, paths[:5])) else {}


def _splits(base: Path, xml: Mapping[str, Path], images: Path | None) -> dict[str, Source]:
    folders = [images] if images else [base / "JPEGImages", base / "images", base]
    lists = sorted((base / "ImageSets" / "Main").glob("[!.]*.txt"))
    lists = [path for path in lists if not _is_of_a_class(path)]
    found = {path.stem: Source(xml, path, folders) for path in lists} or {"all": Source(xml, None, folders)}
    return found if xml else {}


def _is_of_a_class(path: Path) -> bool:
    """Whether the lines have a second column, of -1, 0 or 1."""
    lines = [line.strip() for line in head(path).split(b"\n")]
    whole = [line for line in lines[:-1] or lines if line]
    return bool(whole) and all(map(_OF_A_CLASS.fullmatch, whole))


# --------------------------------------------------------------------------------------------------------- reading


@dataclass(frozen=True)
class VocLayout:
    """A folder with VOC's annotation files."""

    root: Path
    sources: Mapping[str, Source]

    @property
    def splits(self) -> list[str]:
        return list(self.sources)

    @cached_property
    def _files(self) -> dict[Path, VocImage | Unusable]:
        """What the XML files of all splits say, or why they cannot be used."""
        sources = self.sources.values()
        paths = {source.xml.get(stem) for source in sources for stem, _ in source.listed(self.root)}
        return voc_xml.read_files(sorted(filter(None, paths)), self.root)

    @cached_property
    def _categories(self) -> dict[str, Category]:
        names = {name for file in self._files.values() for name in voc_xml.labels(file)}
        return {name: Category(number, name) for number, name in enumerate(sorted(names), 1)}

    def read(self, split: str) -> Table:
        source = self.sources[split]
        table = Table(self.root, self.root, [], list(self._categories.values()))
        wanted = self._wanted(source, table)
        pictures = self._pictures(source, wanted)
        table.folder = pictures.folder
        for stem, path in wanted.items():
            try:
                table.images.append(self._image(stem, path, pictures, table))
            except Unusable as error:
                table.faults.append(
                    error.fault(self._named(path), f"image {_spelt(stem)}", "skipped with its annotations")
                )
        if not table.present().images:
            first = f"; first fault: {table.faults[0]}" if table.faults else ""
            raise DataError(f"{self.root}: split '{split}' has no usable image{first}")
        return table

    def _named(self, path: Path) -> str:
        return _spelt(path.relative_to(self.root).as_posix())

    def _wanted(self, source: Source, table: Table) -> dict[str, Path]:
        """The XML files of a split by stem; what is listed in vain is noted."""
        wanted: dict[str, Path] = {}
        for stem, where in source.listed(self.root):
            table.entries += 1
            try:
                checks.new(stem, "name", wanted)
                if stem not in source.xml:
                    raise Unusable("name", stem, "has no XML file", "annotate the image, or take it off the list")
                wanted[stem] = source.xml[stem]
            except Unusable as error:
                table.faults.append(error.fault(self._named(source.names or self.root), where))
        return wanted

    def _pictures(self, source: Source, wanted: Mapping[str, Path]) -> _Pictures:
        """The first folder that holds an image of the split, or else the first that there is."""
        folders = [_Pictures(folder, source.xml) for folder in source.folders if folder.is_dir()]
        items = [(stem, self._files[path]) for stem, path in wanted.items()]
        return next((folder for folder in folders if any(folder.find(*item) for item in items)), folders[0])

    def _image(self, stem: str, path: Path, pictures: _Pictures, table: Table) -> TableImage:
        file = self._files[path]
        if isinstance(file, Unusable):
            raise file
        table.entries += len(file.objects)
        name = pictures.find(stem, file)
        if name is None:
            hint = "put the image there, or choose its folder with data.images"
            raise Unusable(
                "filename", file.texts.get("filename"), f"is no image in {self._named(pictures.folder)}/", hint
            )
        checks.new(name, "filename", pictures.taken)
        pictures.taken.add(name)
        size = voc_xml.image_size(file.texts) or _measured(pictures.folder / name, self.root)
        image = TableImage(checks.image_id(stem, "name"), file_name(name), size, self._named(path), {"boxes": []})
        for number, texts in enumerate(file.objects):
            try:
                found, cut = self._object(file.first + number, texts, size)
                image.objects["boxes"].append(found)
                if cut:
                    table.faults.append(cut.fault(image.file, f"object {number + 1}", "clipped"))
            except Unusable as error:
                table.faults.append(error.fault(image.file, f"object {number + 1}"))
        return image

    def _object(self, key: int, texts: Texts, size: Size) -> tuple[TableObject, Unusable | None]:
        category, crowd = self._categories[voc_xml.label(texts)], voc_xml.crowd(texts)
        xyxy, cut = voc_xml.box(texts, size)
        area = float((xyxy[2] - xyxy[0]) * (xyxy[3] - xyxy[1]))
        return TableObject(key, category, xyxy, area, crowd), cut


class _Pictures:
    """The images of a folder, each for one XML file."""

    def __init__(self, folder: Path, xml: Container[str]) -> None:
        self.folder, self.xml = folder, xml
        self.names = {path.stem + path.suffix.lower(): path.name for path in sorted(folder.iterdir())}
        self.taken: set[str] = set()

    def find(self, stem: str, file: VocImage | Unusable) -> str | None:
        """The image that the XML names, unless that is another XML file's; or else the one with its stem."""
        said = "" if isinstance(file, Unusable) else file.texts.get("filename", "")
        path = PurePosixPath(said.replace("\\", "/"))
        usable = [path.stem + path.suffix.lower()] if path.stem == stem or path.stem not in self.xml else []
        names = (*usable, *(stem + suffix for suffix in EXTENSIONS))
        return next((self.names[name] for name in names if name in self.names), None)


def _spelt(name: str) -> str:
    """A name from the disk, whose bytes need not be text, for messages."""
    return name.encode("utf-8", "backslashreplace").decode()


def _measured(path: Path, root: Path) -> Size:
    try:
        return image_size(path, root)
    except DataError as error:
        raise Unusable("size", None, "is missing, and the image cannot be read", str(error)) from None
