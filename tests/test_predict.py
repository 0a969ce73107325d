"""Reading, answering and writing at once: the same results in the same order, whatever goes wrong."""

from __future__ import annotations

import errno
import json
import threading
import warnings
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from multitask import predict
from multitask.annotations import Boxes
from multitask.draw import save_picture
from multitask.errors import DataError
from multitask.example import Example, Prediction
from multitask.predict import Order, predict_images

BATCH, WAIT = 3, 20  # images; seconds after which what should come does not


class Model:
    """Answers with one box, whose left edge is the value of the image's first pixel; `before` a batch is called."""

    def __init__(self, before: Callable[[int], object] = int) -> None:
        self.before, self.batches = before, []

    def predict(self, examples: Sequence[Example], names: Sequence[str], given: Sequence[Any], _: None) -> list[Any]:
        assert len(examples) == len(given) > 0
        self.before(len(self.batches))
        self.batches.append([Path(example.file).stem for example in examples])
        return [{name: self._answer(example) for name in names} for example in examples]

    def _answer(self, example: Example) -> Prediction:
        left = float(example.load()[0, 0, 0])
        box = Boxes(np.array([[left, 1.0, left + 20, 30.0]]), ("cat",), np.array([0.5]))
        return Prediction(example.id, example.file, example.size, {"boxes": box})


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Eleven pictures; the first pixel of each tells its number."""
    (tmp_path / "in").mkdir()
    found = [tmp_path / "in" / f"{number:02}.png" for number in range(11)]
    for number, file in enumerate(found):
        Image.new("RGB", (60, 40), (number, 90, 90)).save(file)
    return found


@pytest.fixture
def order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Order]:
    """What to ask a model; there are two threads to read and write."""
    monkeypatch.setattr(predict, "cores", lambda: 3)
    out = tmp_path / "out"
    out.mkdir()
    return lambda model: Order("runs/a", model, ["find"], {}, 0.1, out)


def written(order: Order) -> list[str]:
    return sorted(path.name for path in order.out.iterdir())


def threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if "ThreadPoolExecutor" in thread.name}


def test_results_come_in_the_order_of_the_files(files, order):
    asked = order(Model())
    results = list(predict_images(files, BATCH, asked))
    assert [result.file for result in results] == [str(file) for file in files]
    assert [len(batch) for batch in asked.predictor.batches] == [3, 3, 3, 2]
    for number, (file, result) in enumerate(zip(files, results, strict=True)):
        record = json.loads(Path(result.json).read_text())
        assert record["image"] == {"file": str(file), "width": 60, "height": 40} and record["model"] == "runs/a"
        assert record["tasks"]["find"]["boxes"][0]["box_xyxy"] == [number, 1, number + 20, 30]
        assert result.rows == [["find", "cat", 0.5, f"{number}, 1, {number + 20}, 30"]]
        with Image.open(result.picture) as picture:
            assert picture.size == (512, 341)
    assert written(asked) == sorted(f"{file.stem}.find.{kind}" for file in files for kind in ("json", "png"))


def test_a_bad_image_is_told_with_its_batch(files, order):
    for number in (1, 5, 6, 7, 8):
        files[number].write_bytes(b"junk")
    asked = order(Model())
    results = list(predict_images(files, BATCH, asked))
    assert [Path(r.file).stem + "!" * bool(r.error) for r in results] == [
        "01!", "00", "02", "05!", "03", "04", "06!", "07!", "08!", "09", "10",
    ]  # fmt: skip
    assert all(r.error.startswith(f"{r.file}: is not an image") and not r.picture for r in results if r.error)
    assert asked.predictor.batches == [["00", "02"], ["03", "04"], ["09", "10"]]


def test_the_next_batch_is_read_and_the_last_one_written_while_the_model_answers(files, order, monkeypatch):
    ready = {name: threading.Event() for file in files for name in (f"read {file.stem}", f"{file.stem}.find.json")}
    plain_read, plain_write = predict.read_image, predict.write_atomic

    def read(file: Path) -> Any:
        ready[f"read {file.stem}"].set()
        return plain_read(file)

    def write(path: Path, content: bytes) -> None:
        plain_write(path, content)
        ready[path.name].set()

    def wait(batch: int) -> None:
        nexts = files[BATCH * (batch + 1) :][:BATCH]
        lasts = files[BATCH * batch - BATCH : BATCH * batch] if batch else []
        for name in [f"read {file.stem}" for file in nexts] + [f"{file.stem}.find.json" for file in lasts]:
            assert ready[name].wait(WAIT), name

    monkeypatch.setattr(predict, "read_image", read)
    monkeypatch.setattr(predict, "write_atomic", write)
    assert len(list(predict_images(files, BATCH, order(Model(wait))))) == len(files)


def test_about_two_batches_lie_in_memory(files, order, monkeypatch):
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    counts = []

    class Pixels(np.ndarray):
        __hash__ = object.__hash__  # of an array there is none

    def read(file: Path) -> Any:
        image = np.zeros((4, 6, 3), np.uint8).view(Pixels)
        counts.append(len(alive))
        alive.add(image)
        return image

    monkeypatch.setattr(predict, "read_image", read)
    many = [Path(f"{number}.png") for number in range(40)]
    assert len(list(predict_images(many, BATCH, order(Model())))) == 40
    assert len(counts) == 40 and max(counts) <= 2 * BATCH + 1  # one more is still being written


def test_before_an_error_of_the_model_comes_what_is_written(files, order):
    def fail(batch: int) -> None:
        if batch == 2:
            raise RuntimeError("out of memory")

    asked, told = order(Model(fail)), []
    with pytest.raises(RuntimeError, match="out of memory"):
        told.extend(Path(result.file).stem for result in predict_images(files, BATCH, asked))
    assert told == [f"{number:02}" for number in range(6)]
    assert len(written(asked)) == 12 and not threads()


def test_a_full_disk_ends_the_run_after_what_was_written(files, order, monkeypatch):
    def full(picture: Image.Image, path: Path) -> None:
        if path.name.startswith("04"):
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        save_picture(picture, path)

    monkeypatch.setattr(predict, "save_picture", full)
    asked = order(Model())
    results = predict_images(files, BATCH, asked)
    assert [Path(next(results).file).stem for _ in range(4)] == ["00", "01", "02", "03"]
    with pytest.raises(DataError, match=r"04\.find\.png: cannot be written: No space left on device; free space"):
        next(results)
    assert "04.find.json" not in written(asked) and not threads()


@pytest.mark.parametrize("told", [0, 1, 4])
def test_an_interrupted_run_leaves_whole_files_and_no_thread(files, order, told):
    def interrupt(batch: int) -> None:
        if batch == 3:
            raise KeyboardInterrupt

    asked = order(Model(interrupt))
    results = predict_images(files, BATCH, asked)
    for _ in range(told):
        next(results)
    if told:
        results.close()  # interrupted while a table was printed
    else:
        with pytest.raises(KeyboardInterrupt):
            for _ in results:
                pass
    assert not threads()
    for name in written(asked):  # and no temporary file
        path = asked.out / name
        if path.suffix == ".png":
            with Image.open(path) as picture:
                picture.load()
        else:
            assert json.loads(path.read_text())["schema"] == predict.SCHEMA


def test_threads_that_read_at_once_spoil_no_filters_of_warnings(files, order, monkeypatch):
    """Each sets its filters and takes them back: the first to end those of the second, which ends with the first's."""
    first_in, both_in, first_out = threading.Event(), threading.Event(), threading.Event()

    def read(file: Path) -> Any:
        first = file == files[0]
        assert first or first_in.wait(WAIT)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="PIL")
            (first_in if first else both_in).set()
            assert (both_in if first else first_out).wait(WAIT)
            warnings.warn_explicit("damaged", UserWarning, "Image.py", 1, module="PIL.Image")
        first_out.set()
        return np.zeros((4, 6, 3), np.uint8)

    monkeypatch.setattr(predict, "read_image", read)
    with warnings.catch_warnings(record=True) as seen:
        before = warnings.filters[:]
        assert len(list(predict_images(files[:2], BATCH, order(Model())))) == 2
        assert warnings.filters == before and not seen


def test_a_photograph_gives_a_photograph_and_anything_else_every_pixel(tmp_path):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
    picture = Image.fromarray(noise).resize((160, 120), Image.Resampling.BICUBIC)
    for name, kind, most in (("a.png", "PNG", 0), ("a.jpg", "JPEG", 24)):
        save_picture(picture, tmp_path / name)
        with Image.open(tmp_path / name) as found:
            assert found.format == kind
            assert np.abs(np.asarray(found).astype(int) - np.asarray(picture)).max() <= most


def test_a_picture_and_its_answers_have_one_name(tmp_path, order):
    files = [tmp_path / name for name in ("a.png", "a.JPG", "a.jpeg")]
    for file in files:
        Image.new("RGB", (8, 8)).save(file)
    done = list(predict_images(files, BATCH, order(Model())))
    assert [Path(r.picture).name for r in done] == ["a.find.png", "a.find-2.jpg", "a.find-3.jpg"]
    assert [Path(r.json).name for r in done] == ["a.find.json", "a.find-2.json", "a.find-3.json"]
