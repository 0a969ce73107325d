"""The commands of docs/downloads.md run, shortened, on small folders of the layouts that the pages describe."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from . import command_line as tools

PAGE = Path(__file__).parents[1] / "docs" / "downloads.md"
COMMANDS = {
    name: block.strip().splitlines()
    for name, block in re.findall(r"<!-- layout: (\w+) -->\n```sh\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
}
SHORT = ("train.steps=2", "train.warmup=0", "train.eval_every=0", "data.train_size=null", "data.val_size=null")
OBJECT = (
    "<object><name>{}</name><difficult>0</difficult>"
    "<bndbox><xmin>6</xmin><ymin>7</ymin><xmax>25</xmax><ymax>16</ymax></bndbox></object>"
)


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tools.Shell]:
    with tools.Shell(tmp_path_factory.mktemp("downloads")) as shell:
        yield shell


def coco(root: Path) -> None:
    """As the three archives of COCO 2017 unpack."""
    made = tools.coco_folder(root / "coco", ("person", "dog"))
    points = {"keypoints": ["nose", "left_eye", "right_eye"], "skeleton": [[1, 2], [1, 3]]}
    for short, split in (("train", "train2017"), ("val", "val2017")):
        (made / "images" / short).rename(made / split)
        for kind in ("instances", "captions"):
            (made / "annotations" / f"{kind}_{short}.json").rename(made / "annotations" / f"{kind}_{split}.json")
        path = made / "annotations" / f"instances_{split}.json"
        content = json.loads(path.read_text())
        for annotation in content["annotations"]:
            annotation |= {"segmentation": [[5, 6, 25, 6, 25, 16, 5, 16]], "area": 200, "iscrowd": 0}
        path.write_text(json.dumps(content))
        content["categories"] = [content["categories"][0] | points]
        content["annotations"] = [
            a | {"keypoints": [8, 9, 2, 12, 9, 2, 16, 9, 1], "num_keypoints": 3}
            for a in content["annotations"]
            if a["category_id"] == 1
        ]
        (made / "annotations" / f"person_keypoints_{split}.json").write_text(json.dumps(content))


def voc(root: Path) -> None:
    """As the archives of both years unpack."""
    for year, splits in (("VOC2007", ("train", "val", "trainval", "test")), ("VOC2012", ("train", "val", "trainval"))):
        folder = root / "VOCdevkit" / year
        (folder / "Annotations").mkdir(parents=True)
        (folder / "ImageSets" / "Main").mkdir(parents=True)
        for number, split in enumerate(splits):
            names = [f"{number:03d}{i}" for i in range(3)]
            (folder / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(names) + "\n")
            (folder / "ImageSets" / "Main" / f"dog_{split}.txt").write_text("".join(f"{name} -1\n" for name in names))
            for name in names:
                tools.noise_picture(folder / "JPEGImages" / f"{name}.jpg")
                size = "<size><width>50</width><height>40</height><depth>3</depth></size>"
                text = f"<annotation><filename>{name}.jpg</filename>{size}{OBJECT.format('dog')}</annotation>"
                (folder / "Annotations" / f"{name}.xml").write_text(text)


def objects365(root: Path) -> None:
    """Patches of each split in a folder of their own; the annotations name folders that are not there."""
    made = tools.coco_folder(root / "objects365", ("Person", "Sneakers"))
    for split in ("train", "val"):
        (made / "images" / split).rename(made / split)
        (made / split / "patch8").mkdir()
        for path in (made / split).glob("*.jpg"):
            path.rename(made / split / "patch8" / path.name)
        (made / "annotations" / f"captions_{split}.json").unlink()
        path = made / "annotations" / f"instances_{split}.json"
        content = json.loads(path.read_text())
        for image in content["images"]:
            image["file_name"] = f"images/v1/patch8/{image['file_name']}"
        path.rename(made / "annotations" / f"zhiyuan_objv2_{split}.json").write_text(json.dumps(content))
    (made / "images").rmdir()


LAYOUTS: dict[str, Callable[[Path], None]] = {"coco": coco, "voc": voc, "objects365": objects365}


def test_every_layout_of_the_page_is_tried() -> None:
    assert set(COMMANDS) == set(LAYOUTS)


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_commands_of_the_page_run_on_its_layout(name: str, shell: tools.Shell) -> None:
    LAYOUTS[name](shell.folder)
    for command in COMMANDS[name]:
        program, *words = shlex.split(command)
        assert program == "mtp"
        if words[0] == "train":
            words = [w for w in words if not w.startswith("pix2seq_") and w != "--config"]
            words += ["--config", "smoke", *SHORT]
        done = shell.mtp(*words)
        assert done.code == 0, done.err
        assert "skipped" not in done.err
