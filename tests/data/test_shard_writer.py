"""From a table to shards, and back."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multitask.data.formats import shard_writer
from multitask.data.formats.shard_writer import write
from multitask.data.table import Table, TableDataset, TableImage, TableObject
from multitask.errors import DataError
from multitask.skeleton import Skeleton
from multitask.task import Category

from .shard_folder import HEIGHT, SIZE, WIDTH, folder, layout, png, read, shown

CHAIR, KITE, PERSON_CATEGORY = Category(2, "chair"), Category(7, "kite"), Category(3, "person")
POSED = Skeleton(
    names=("a", "b", "c"), edges=((0, 1),), flip_pairs=((0, 2),), sigmas=(0.1, 0.2, 0.3), categories=("person",)
)
TENTH = st.integers(0, 50).map(lambda tenths: tenths / 10)


@st.composite
def objects(draw: st.DrawFn, key: int) -> TableObject:
    x, y, w, h = draw(TENTH), draw(TENTH), draw(TENTH) + 1, draw(TENTH) + 1
    category = draw(st.sampled_from([CHAIR, KITE, PERSON_CATEGORY]))
    found = TableObject(key, category, np.array([x, y, x + w, y + h]), draw(TENTH), draw(st.booleans()))
    if draw(st.booleans()):
        found.mask = {"size": [HEIGHT, WIDTH], "counts": [draw(st.integers(0, 1199))]}
        found.mask["counts"].append(WIDTH * HEIGHT - found.mask["counts"][0])
    else:
        found.parts = tuple(np.array([[x, y], [x + 5, y], [x, y + 1 / 3]]) for _ in range(draw(st.integers(1, 2))))
    visibility = np.array(draw(st.lists(st.integers(0, 2), min_size=3, max_size=3)))
    found.points = np.where(visibility[:, None] > 0, [[x, y], [y, x], [0.1, w]], 0.0), visibility
    return found


@st.composite
def image(draw: st.DrawFn, number: int) -> TableImage:
    """An object may lack its outline or its points; the objects of a kind are in the order of their ids."""
    every = [draw(objects(key)) for key in range(draw(st.integers(0, 3)))]
    kinds = draw(st.lists(st.sampled_from(["boxes", "polygons", "keypoints"]), unique=True))
    kept = {kind: [one for one in every if draw(st.integers(0, 3))] for kind in kinds}
    if "keypoints" in kept:
        kept["keypoints"] = [one for one in kept["keypoints"] if one.category == PERSON_CATEGORY]
    texts = st.lists(st.text(max_size=9).map(lambda text: " ".join(text.split())).filter(bool), max_size=3)
    key: int | str = draw(st.sampled_from([number, f"image {number}"]))
    name = draw(st.sampled_from([f"{number}.png", f"deep/er.{number}.JPG", f"no-suffix-{number}"]))
    return TableImage(key, name, SIZE, "", kept, draw(st.none() | texts))


def order(table: Table) -> list[Any]:
    """As `shown`, whatever the order of objects."""
    return [(*rest, {k: sorted(v, key=str) for k, v in kinds.items()}) for *rest, kinds in shown(table)]


@settings(derandomize=True, deadline=None, max_examples=80)
@given(st.data())
def test_what_is_written_is_read_again(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    root = tmp_path_factory.mktemp("set")
    images = [data.draw(image(number)) for number in range(data.draw(st.integers(1, 3)))]
    for number, one in enumerate(images):
        (root / "in" / one.name).parent.mkdir(parents=True, exist_ok=True)
        (root / "in" / one.name).write_bytes(png(number))
    categories = [CHAIR, PERSON_CATEGORY, KITE]
    table = Table(root / "in", root / "in", images, categories, data.draw(st.sampled_from([POSED])))
    assert write(table, "train", root / "out") == []
    again = read(root / "out")
    assert again.faults == []
    assert order(again) == order(table)
    assert (again.categories, again.skeleton) == (categories, POSED)
    first, second = (TableDataset(one, "train") for one in (table, again))
    for i in range(len(images)):
        assert first.kinds(i) == second.kinds(i)
        assert (first[i].load() == second[i].load()).all()
    assert write(again, "train", root / "twice") == []
    for path in (root / "out").rglob("*.*"):
        assert path.read_bytes() == (root / "twice" / path.relative_to(root / "out")).read_bytes()


def test_members_carry_no_trace_of_who_wrote_them(tmp_path: Path) -> None:
    table = read(folder(tmp_path / "in"))
    write(table, "train", tmp_path / "out")
    with tarfile.open(tmp_path / "out/train/train-000000.tar") as tar:
        members = tar.getmembers()
    assert [member.name for member in members] == [
        f"0000000{number}.{suffix}" for number in range(3) for suffix in ("png", "json")
    ]
    assert {(m.mtime, m.uid, m.gid, m.uname, m.mode) for m in members} == {(0, 0, 0, "", 0o644)}


def test_a_full_shard_is_followed_by_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = read(folder(tmp_path / "in"))
    for most, names in (("MOST_IMAGES", 2), ("MOST_BYTES", 2 * table.images[0].slice.length)):  # type: ignore[union-attr]
        with monkeypatch.context() as patch:
            patch.setattr(shard_writer, most, names)
            write(table, "train", tmp_path / most)
        assert sorted(path.name for path in (tmp_path / most / "train").iterdir()) == [
            "train-000000.tar", "train-000001.tar",
        ]  # fmt: skip
        assert shown(read(tmp_path / most)) == shown(table)


def test_splits_share_their_categories_or_have_their_own(tmp_path: Path) -> None:
    table = read(folder(tmp_path / "in"))
    write(table, "train", tmp_path / "out")
    write(table, "val", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").rglob("*.json")) == ["dataset.json"]
    other = Table(table.root, table.folder, [], [Category(7, "sea")])
    other.images = [TableImage(1, "x.png", SIZE, "", {"boxes": []}, slice=table.images[0].slice)]
    write(other, "test", tmp_path / "out")
    found = layout(tmp_path / "out")
    assert found.read("test").categories == [Category(7, "sea")]
    assert found.read("val").categories == found.read("train").categories == table.categories


def test_an_image_that_is_gone_is_named(tmp_path: Path) -> None:
    table = Table(tmp_path, tmp_path, [TableImage(1, "gone.png", SIZE, "", captions=["A"])])
    with pytest.raises(DataError, match=r"gone.png: does not exist"):
        write(table, "train", tmp_path / "out")
