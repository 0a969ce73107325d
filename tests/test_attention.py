"""Where the decoder looks: the right position, on the right pixels, of the right object, in pictures of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from multitask import plugins
from multitask.annotations import Boxes
from multitask.attention import AttentionMap, AttentionWatch, attention_maps, draw_attention
from multitask.cli.predict import predict, show
from multitask.data.shapes import INFO
from multitask.data.transforms import place
from multitask.errors import UsageError
from multitask.example import Example
from multitask.heat import MOST_PANELS, PANEL, Panel, draw_panels
from multitask.inference import Predictor
from multitask.model.decoder import Decoder
from multitask.model.encoder import Features
from multitask.model.encoder_decoder import EncoderDecoder
from multitask.predict import Order, Result, predict_images
from multitask.task import Decoded, Passage, View
from multitask.testing import SIDE, tiny_examples, tiny_model, tiny_vocabulary

UNIT = np.array([[0.0, 0.0, 0.5, 0.25], [0.25, 0.0, 0.5, 0.5], [0.0, 0.75, 1.0, 1.0], [0.0, 0.0, 0.25, 0.25]])
SCORES = np.array([0.75, 0.25, 0.75, 0.5])


class Marks(nn.Module):
    """Encodes any image as 4 x 4 cells, of which cell n is marked by channel n."""

    def forward(self, images, extent=None):
        return Features(torch.eye(16, 32).expand(len(images), -1, -1), (4, 4))


class Bare(nn.Module):
    def forward(self, features):
        return features.tokens


def pointing(vocab_size: int) -> EncoderDecoder:
    """A model whose decoder looks, at position n of its input, at cell n of the image, whatever it reads."""
    torch.manual_seed(0)
    decoder = Decoder(vocab_size, 32, 1, 1, 8, 16)
    (layer,) = decoder.layers
    cross = layer.cross_attention
    with torch.no_grad():
        decoder.embedding.zero_()
        decoder.positions.copy_(torch.eye(16, 32))
        layer.self_attention.out.weight.zero_()
        cross.query.weight.copy_(torch.eye(32))
        cross.key_value.weight[:32] = 50 * torch.eye(32)
    return EncoderDecoder(Marks(), Bare(), decoder).eval()


@pytest.fixture(scope="module")
def world(toys):
    """Toy tasks, and how to ask them a model that points."""

    class Half(toys.Find):
        """Looks at the right half."""

        name = "half"

        def views(self, annotations, rng=None):
            return [View((20.0, 0.0, 40.0, 20.0))]

    class Mark(toys.Find):
        """The same boxes in every view: one of them unlikely, one of them in the padding."""

        name = "mark"

        def deserialize(self, query, samples, vocab):
            return {"boxes": Boxes(UNIT, ("disc", "star", "cat", "star"), SCORES)}

        def passages(self, query, answer, vocab):
            return [Passage(str(item), (item, 4), item) for item in range(4)] + [Passage("all", (0, 1))]

    class Halves(Mark):
        name = "halves"

        def views(self, annotations, rng=None):
            return [View((0.0, 0.0, 20.0, 10.0)), View((20.0, 0.0, 40.0, 10.0))]

    tasks = [toys.Find(), toys.Say(), Half(), Mark(), Halves()]
    vocab = toys.vocabulary(*tasks)
    model = pointing(len(vocab))
    world = type("World", (), {"vocab": vocab, "model": model})()
    world.predictor = lambda: Predictor(model, vocab, {task.name: task for task in tasks}, 32, torch.device("cpu"))
    return world


def scene(width: int, height: int) -> Example:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Example("a", "a.png", (width, height), {}, lambda reduce=1: pixels)


# ------------------------------------------------------------------------------------------------------------- places


@pytest.mark.parametrize("size", [(40, 20), (20, 40), (32, 32), (400, 200)])
def test_a_token_is_shown_where_the_position_before_it_looks(world, size):
    """The prompt has one token, so token n is written at position n, which looks at cell n, row by row."""
    side = max(size) / 4  # of a cell, in pixels of the image
    maps = attention_maps(world.predictor(), scene(*size), "find")
    assert len(maps) == 5
    for n, seen in enumerate(maps):
        row, column = divmod(n, 4)
        if column * side >= size[0] or row * side >= size[1]:
            continue  # padding: this decoder points there in vain
        assert seen.share[row, column] > 0.999
        heat = seen.over((size[0] * 3, size[1] * 3))  # of the image enlarged
        places = np.stack(np.nonzero(heat > 0.1), axis=1) / (3 * side) - [row + 0.5, column + 0.5]
        assert np.abs(places).max() <= 1 and heat.max() > 5
        cell = np.array([column, row, column + 1, row + 1]) * side
        assert seen.inside(cell) == pytest.approx(seen.share[row, column])
        assert seen.inside(cell + side * np.array([1, 1, 1, 1])) < 0.001
        assert seen.inside(cell + side * np.array([0.5, 0, 0, 0])) == pytest.approx(0.5, abs=0.001)


def test_padding_gets_nothing(world):
    last = attention_maps(world.predictor(), scene(40, 10), "find")[4]  # would look at the second row
    assert last.share[1:].max() == 0 and last.share[0].sum() == pytest.approx(1)
    np.testing.assert_allclose(last.over(), 1, atol=1e-4)


def test_a_view_of_a_part_is_laid_over_that_part(world):
    for n, seen in enumerate(attention_maps(world.predictor(), scene(40, 20), "half")[:4]):
        heat = seen.over()
        assert heat[:, :20].max() == 0
        y, x = np.nonzero(heat > 0.1)
        assert x.min() >= 20 + 5 * (n - 0.5) and x.max() < 20 + 5 * (n + 1.5) and y.max() < 7.5
        assert seen.inside(np.array([20 + 5 * n, 0, 25 + 5 * n, 5])) > 0.999
        assert seen.inside(np.array([0, 0, 20, 20])) == 0


@pytest.mark.parametrize("size", [(40, 20), (30, 32), (7, 32), (100, 61)])
def test_an_even_spread_is_even(size):
    placement = place(size, 32)
    shares = np.zeros((4, 4))
    for row, column in np.ndindex(4, 4):  # by the area of each cell that is picture, counted slowly
        x, y = (np.array([column, row])[:, None] + (np.arange(400) + 0.5) / 400) / 4
        shares[row, column] = (x < placement.size[0]).mean() * (y < placement.size[1]).mean()
    even = AttentionMap("", shares / shares.sum(), placement)
    rng = np.random.default_rng(1)
    for low, high in zip(rng.uniform(-5, max(size), (20, 2)), rng.uniform(0, max(size), (20, 2)), strict=True):
        box = np.concatenate([np.minimum(low, high), np.maximum(low, high)])
        sides = np.clip(box[2:], 0, size) - np.clip(box[:2], 0, size)
        assert even.inside(box) == pytest.approx(sides.prod() / np.prod(size), abs=5e-3)
    assert even.over().shape == (size[1], size[0]) and even.over((13, 5)).shape == (5, 13)
    same = AttentionMap("", (shares > 0) / (shares > 0).sum(), placement)  # also those that are partly padding
    np.testing.assert_allclose(same.over(), 1)


def test_a_smaller_map_is_the_larger_one_seen_from_afar():
    seen = AttentionMap("", np.random.default_rng(0).dirichlet(np.ones(64)).reshape(8, 8), place((128, 128), 128))
    large, small = seen.over(), seen.over((32, 32))
    np.testing.assert_allclose(small, large.reshape(32, 4, 32, 4).mean(axis=(1, 3)), atol=0.05 * large.max())
    assert large.mean() == pytest.approx(1, abs=0.1)


# ------------------------------------------------------------------------------------------------------ what is shown


def test_what_is_kept_of_an_answer_is_shown_with_its_row(world):
    predictor = world.predictor()
    predictor.floor = 0.5
    (answer,) = predictor.predict([scene(40, 20)], ["mark"])
    found = answer["mark"].annotations["boxes"]
    rows = found.take(found.scores >= 0.5)  # as the table has them
    maps = attention_maps(predictor, scene(40, 20), "mark")
    assert [(m.label, m.item) for m in maps] == [("0", 0), ("3", 1), ("all", None)]
    for seen in maps[:2]:
        assert seen.about.to_json() == rows.take([seen.item]).to_json()
    assert maps[2].about is None
    cells = [np.flatnonzero(seen.share.round(2)).tolist() for seen in maps]
    assert cells == [[0, 4], [3, 4], [0, 1]] and maps[0].share[0, 0] == pytest.approx(0.5, abs=1e-3)


def test_rows_are_counted_through_all_questions_about_an_image(world):
    maps = attention_maps(world.predictor(), scene(40, 20), "halves")
    assert [m.item for m in maps] == [0, 1, 2, 3, None, 4, 5, 6, 7, None]
    (answer,) = world.predictor().predict([scene(40, 20)], ["halves"])
    rows = answer["halves"].annotations["boxes"].to_json()
    assert [row for m in maps if m.about for row in m.about.to_json()] == rows


def test_only_the_tasks_asked_for_are_watched_and_images_are_kept_apart(world):
    predictor = world.predictor()
    watch = AttentionWatch(predictor, ["find", "say"])
    plain = predictor.predict([scene(40, 20), scene(20, 40)], ["say", "mark", "find"])
    watched = predictor.predict([scene(40, 20), scene(20, 40)], ["say", "mark", "find"], watch=watch)
    assert [{n: p.annotations[k].to_json() for n, p in a.items() for k in p.annotations} for a in plain] == [
        {n: p.annotations[k].to_json() for n, p in a.items() for k in p.annotations} for a in watched
    ]
    assert {key for key, maps in watch.maps.items() if maps} >= {(0, "find"), (1, "find")}
    assert {name for _, name in watch.maps} == {"find", "say"}
    assert [watch.maps[i, "find"][0].placement.image for i in (0, 1)] == [(40, 20), (20, 40)]


def test_nothing_is_looked_up_where_nobody_watches(world, monkeypatch):
    monkeypatch.setattr(Decoder, "weights", lambda *_: pytest.fail("computed"))
    world.predictor().predict([scene(40, 20)], ["find", "say"])


@pytest.fixture(scope="module")
def finder(toys) -> Predictor:
    """A network that looks where its weights say."""
    task = toys.Find()
    vocab = toys.vocabulary(task)
    return Predictor(toys.network(len(vocab)), vocab, {"find": task}, 32, torch.device("cpu"))


@torch.inference_mode()
def test_the_decoder_reads_what_it_wrote_about_that_image(toys, finder):
    scenes, model, watch = [toys.Dataset(3)[i] for i in range(3)], finder.model, AttentionWatch(finder, ["find"])
    (prompt,) = finder.tasks["find"].queries({}, finder.vocab)

    def compare(question, samples, answer, state):
        watch(question, samples, answer, state)
        (said,), placement = samples, place(scenes[question.image].size, 32)
        view = placement.render(scenes[question.image].load())[None].float() / 255
        memory = model.encode(view, torch.tensor([placement.size[::-1]], dtype=torch.float32))
        for n, seen in enumerate(watch.maps[question.image, "find"]):
            read = torch.tensor([[*prompt.prompt, *said.tokens[:n]]])  # all there was when token n was written
            expected = model.decoder.weights(read, memory)[-1, 0, :, -1].mean(dim=0)
            np.testing.assert_allclose(seen.share.reshape(-1), expected, atol=1e-5)

    finder.predict(scenes, ["find"], watch=compare)
    assert [len(watch.maps[i, "find"]) for i in range(3)] == [5, 5, 5]
    assert np.abs(watch.maps[0, "find"][2].share - watch.maps[1, "find"][2].share).max() > 1e-3


def test_layers(finder):
    predictor = finder
    shares = {
        layer: np.stack([m.share for m in attention_maps(predictor, scene(32, 20), "find", layer=layer)])
        for layer in (0, 1, -1, -2, None)
    }
    np.testing.assert_array_equal(shares[-1], shares[1])
    np.testing.assert_array_equal(shares[-2], shares[0])
    assert np.abs(shares[0] - shares[1]).max() > 1e-3
    np.testing.assert_allclose(shares[None], (shares[0] + shares[1]) / 2, atol=1e-7)
    np.testing.assert_allclose(shares[-1].sum(axis=(1, 2)), 1, atol=1e-6)
    for layer in (2, -3):
        with pytest.raises(UsageError, match=f"layer {layer}: the decoder has 2"):
            AttentionWatch(predictor, ["find"], layer)


# ---------------------------------------------------------------------------------------------------------- the tasks


@pytest.fixture(scope="module")
def four():
    """The installed tasks as in a model of the shapes, and a table of their tokens."""
    found = {name: plugins.load(name) for name in ("det", "caption", "segment", "keypoints")}
    tasks = {name: cls(cls().fitted(INFO)) for name, cls in found.items()}
    return tasks, tiny_vocabulary(tasks.values())


def spelt(task, vocab, example) -> list[tuple[list[Passage], Decoded, dict]]:
    """The passages of each sequence that is true of an example in the unit square, and the answer that it spells."""
    said = [(t.query(), Decoded.certain(t.tokens)) for t in task.serialize(example, vocab, None)]
    return [(task.passages(q, d, vocab), d, task.deserialize(q, [d], vocab)) for q, d in said]


def unit(example: Example) -> Example:
    placement = place(example.size, SIDE)
    return example.warp(placement.matrix, placement.size)


def test_an_object_is_told_by_its_category_and_its_four_coordinates(four):
    tasks, vocab = four
    ((passages, said, answer),) = spelt(tasks["det"], vocab, unit(tiny_examples(1)[0]))
    labels = answer["boxes"].labels
    assert len(labels) > 1 and len(passages) == 5 * len(labels)
    for item, label in enumerate(labels):
        own = passages[5 * item : 5 * item + 5]
        assert [p.label for p in own] == [label, "ymin", "xmin", "ymax", "xmax"] and {p.item for p in own} == {item}
        assert [p.tokens for p in own] == [(5 * item + field,) for field in (4, 0, 1, 2, 3)]
    tokens = said.tokens.copy()
    tokens[1] = vocab.eos  # the first object is no longer one
    (query,) = tasks["det"].queries({}, vocab)
    rest = tasks["det"].passages(query, replace(said, tokens=tokens), vocab)
    assert [(p.tokens, p.item) for p in rest] == [(p.tokens, p.item - 1) for p in passages[5:]]


def test_a_caption_is_told_word_by_word(four):
    tasks, vocab = four
    task = tasks["caption"]
    (query,) = task.queries({}, vocab)
    for text in ("a photo of a zebra's reflection.", "ein Käse 猫🐈 mit Löchern", "", "<eos> is no end"):
        said = Decoded.certain(np.array(vocab.encode_text(text), dtype=np.int64))
        passages = task.passages(query, said, vocab)
        assert [p.label for p in passages] == text.split()
        assert [place for p in passages for place in p.tokens] == list(range(len(said.tokens)))
        assert all(p.item is None for p in passages)


def test_poses_and_outlines_are_told_point_by_point(four):
    tasks, vocab = four
    example = next(e for e in map(unit, tiny_examples(9)) if len(e.annotations["keypoints"]))
    passages, _, _ = spelt(tasks["keypoints"], vocab, example)[0]
    assert tuple(p.label for p in passages) == INFO.skeleton.names
    assert [p.tokens for p in passages] == [(2 * n, 2 * n + 1) for n in range(len(passages))]
    for passages, said, answer in spelt(tasks["segment"], vocab, example):
        (parts,) = answer["polygons"].parts
        points = vocab.coord.start <= said.tokens[[p.tokens[0] for p in passages]]
        assert len(passages) == sum(map(len, parts)) and points.all() and {p.item for p in passages} == {0}
        assert [p.label for p in passages] == [f"point {n + 1}" for n in range(len(passages))]


def test_every_task_is_shown(four):
    tasks, vocab = four
    predictor = Predictor(tiny_model(len(vocab)), vocab, tasks, SIDE, torch.device("cpu"))
    given = {"boxes": Boxes(np.array([[10.0, 20, 60, 80], [30, 30, 90, 99]]), ("figure", "figure"))}
    example = tiny_examples(1)[0]
    for name, items in (("segment", {0, 1}), ("keypoints", {0, 1}), ("caption", {None})):
        maps = attention_maps(predictor, example, name, given)
        assert {m.item for m in maps} == items
        assert all(m.share.sum() == pytest.approx(1) and (m.about is None) == (m.item is None) for m in maps)


# ----------------------------------------------------------------------------------------------------------- pictures


def test_a_panel_is_bright_where_the_heat_is():
    image = np.full((64, 128, 3), 120, np.uint8)
    heat = np.zeros((PANEL // 2, PANEL))
    heat[32:64, 192:] = 3.0
    sheet = np.asarray(draw_panels(image, "", [Panel("a", heat)], np.array([0.0, 32, 64, 64])).convert("L"), dtype=int)
    assert (sheet[:4] == 255).mean() > 0.8  # titles above, on white
    panel = sheet[-(PANEL // 2 + 6) : -6, -(PANEL + 6) : -6]
    assert panel[40:60, 200:].min() > panel[70:100, 140:].max() + 100
    assert panel[65, 10] == 255 and panel[90, 1] == 255  # the frame
    dark = np.asarray(draw_panels(image, "", [Panel("a", 0 * heat)]).convert("L"))
    assert 0 < dark[-20, -20] < 120


def test_what_cannot_be_printed_is_a_question_mark_and_what_has_no_room_is_cut():
    def title(words: str) -> list:
        return np.asarray(draw_panels(np.zeros((9, 9, 3), np.uint8), words, []))[:20].tolist()

    assert title("a\x1b\u202eb\n") == title("a??b?") != title("ab")
    assert title("ab" * 40) == title("ab" * 400) != title("ab" * 4)


@pytest.mark.parametrize("size", [(1, 1), (3, 500), (500, 3), (1000, 700)])
def test_a_sheet_of_any_image(size):
    maps = [AttentionMap("a\n\x1b\u202eb" * 40, np.full((4, 4), 1 / 16), place(size, 32)) for _ in range(4)]
    sheet = draw_attention(np.zeros((size[1], size[0], 3), np.uint8), maps)
    assert sheet.width <= 3 * (PANEL + 6) and sheet.height <= 2 * (PANEL + 40)


def test_a_sheet_has_a_limit():
    seen = AttentionMap("word", np.full((2, 2), 0.25), place((8, 4), 32))
    most = draw_attention(np.zeros((4, 8, 3), np.uint8), [seen] * MOST_PANELS)
    more = draw_attention(np.zeros((4, 8, 3), np.uint8), [seen] * (MOST_PANELS + 9))
    assert most.size == more.size == (9 * (PANEL + 6), 8 * (PANEL // 2 + 26))
    assert not np.array_equal(np.asarray(most)[:20, : PANEL + 6], np.asarray(more)[:20, : PANEL + 6])  # it says so


# ------------------------------------------------------------------------------------------------------------ command


def asked(world, tmp_path: Path, names: list[str], files: list[str], min_score=0.5, batch=2) -> list[Result]:
    """What becomes of pictures of these names."""
    paths = [tmp_path / file for file in files]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (40, 20), (90, 120, 90)).save(path)
    predictor = world.predictor()
    predictor.floor = min_score
    (tmp_path / "out").mkdir()
    order = Order("runs/a", predictor, names, {}, min_score, tmp_path / "out", attention=True)
    return list(predict_images(paths, batch, order))


@pytest.mark.parametrize("batch", [1, 2, 8])
def test_a_picture_is_written_for_each_object_of_the_table(world, tmp_path, batch):
    results = asked(world, tmp_path, ["mark", "find"], ["a.png", "b.JPG", "x/a.png"], batch=batch)
    own = ["mark.attention-1", "mark.attention-2", "mark.attention", "find.attention"]
    assert [Path(p).name for p in results[0].attention] == [f"a.{name}.png" for name in own]
    assert [Path(p).name for p in results[1].attention] == [f"b.{name}.jpg" for name in own]
    again = [name.replace(".", "-2.") for name in own]  # the second `a`
    assert [Path(p).name for p in results[2].attention] == [f"a.{name}.png" for name in again]
    for result in results:
        assert [row[0] for row in result.rows].count("mark") == 2  # as many as there are numbers
        for path in (*result.attention, result.picture, result.json):
            assert Path(path).is_file()
        with Image.open(result.attention[0]) as picture:
            assert picture.size == (2 * (PANEL + 6), PANEL // 2 + 26)
            assert picture.format == ("JPEG" if result.attention[0].endswith("jpg") else "PNG")
    assert len(list((tmp_path / "out").iterdir())) == 3 * 6


def test_names_that_are_cut_short_replace_nothing(world, tmp_path):
    long = "x" * 130
    results = asked(world, tmp_path, ["mark", "find"], [f"{place}/{long}.png" for place in "abc"])
    written = [path for r in results for path in (r.picture, r.json, *r.attention)]
    assert len(set(written)) == len(list((tmp_path / "out").iterdir())) == 18


def test_answers_below_the_score_have_none(world, tmp_path):
    (result,) = asked(world, tmp_path, ["mark"], ["a.png"], min_score=0.9)
    assert not result.rows and [Path(p).name for p in result.attention] == ["a.mark.attention.png"]


def test_the_command_hands_on_what_is_wished(monkeypatch):
    wished = []
    monkeypatch.setattr("multitask.predict.predict_files", lambda *words: wished.append(words[-1]) or iter(()))
    for attention in (True, False):
        predict(["a.png"], attention=attention)
    assert wished == [True, False]


def test_what_is_written_is_told(capsys):
    show(Result("a.png", [], "a.det.png", "a.det.json", attention=["a.det.attention-1.png"]))
    assert capsys.readouterr().out.endswith("wrote a.det.png, a.det.json, a.det.attention-1.png\n")
