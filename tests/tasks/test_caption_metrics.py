"""Caption scores against their definitions, the published worked example, and values of the COCO caption tools."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multitask.annotations import Boxes, Captions
from multitask.example import Example, Prediction
from multitask.tasks.caption_metrics import CaptionScores
from multitask.tasks.captions.cider import best_constant_caption
from multitask.tasks.captions.scores import bleu, cider_d, rouge_l
from multitask.tasks.captions.words import tokenize

from . import caption_reference as slow

WORDS = "a the dog cat runs sits on grass red big near man".split()


def sentence(rng, longest=9, shortest=0):
    weights = 1 / np.arange(1, len(WORDS) + 1)
    return " ".join(rng.choice(WORDS, size=rng.integers(shortest, longest + 1), p=weights / weights.sum()))


def corpus(rng, images):
    references = [tuple(sentence(rng, shortest=1) for _ in range(rng.integers(1, 6))) for _ in range(images)]
    return [sentence(rng) for _ in range(images)], references


def split(candidates, references):
    return [text.split() for text in candidates], [[text.split() for text in texts] for texts in references]


# Expected words: those that the COCO caption tools (pycocoevalcap 1.2, Stanford PTBTokenizer 3.4.1) give.
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A dog's tail isn't grey .", "a dog 's tail is n't grey"),
        (
            "Two dogs can't run; they won't, I'd, we're, you'll, they've, I'm, it's.",
            "two dogs ca n't run they wo n't i 'd we 're you 'll they 've i 'm it 's",
        ),
        ("the dogs' bowl - and the colour is grey", "the dogs bowl and the colour is grey"),
        (
            'A man (in a red "t-shirt") stands near a T-shirt -- wall... and … so — en–dash',
            "a man -lrb- in a red t-shirt -rrb- stands near a t-shirt wall and so en dash",
        ),
        (
            "It costs $5.99 or 50% off, 1,000 people at 3:30 p.m. & more",
            "it costs $ 5.99 or 50 % off 1,000 people at 3:30 p.m. & more",
        ),
        ("A black/white dog and cat w/ ball", "a black/white dog and cat w / ball"),
        ("Mr. Smith in the U.S. with Dr. No, No. 5", "mr. smith in the u.s. with dr. no no. 5"),
        ("‘quoted’ and “curly” don’t", "quoted and curly do n't"),
        (
            "I cannot, gonna, wanna, gotta, lemme, gimme; 'tis 'twas",
            "i can not gon na wan na got ta lem me gim me 't is 't was",
        ),
        ("A boy in a #23 jersey [left] {right}", "a boy in a # 23 jersey -lsb- left -rsb- -lcb- right -rcb-"),
        ("rock 'n' roll at 6 o'clock, ma'am; the '80s and 90's", "rock 'n' roll at 6 o'clock ma'am the '80s and 90 's"),
        ("café naïve 1/2 3-year-old ice-cream -year 6ft 10am", "café naïve 1/2 3-year-old ice-cream year 6ft 10am"),
        ("what?? yes!! no? ok! so:", "what ?? yes !! no ok so"),
        ("", ""),
        ("  spaces and\ttabs  ", "spaces and tabs"),
        ("dog,cat dog.cat plan B. etc. the end.", "dog cat dog.cat plan b. etc. the end"),
        ("<unk> hello", "<unk> hello"),
        ("ISN'T CAN'T He'S", "is n't ca n't he 's"),
    ],
)
def test_words_are_those_of_the_coco_tools(text, words):
    assert tokenize(text) == words.split()


@given(st.text())
@settings(derandomize=True, deadline=None)
def test_any_text_can_be_split(text):
    assert all(word and word == word.strip() and word not in ".,'\"" for word in tokenize(text))


def test_long_nonsense_is_split_in_linear_time():
    start = time.process_time()
    for piece in ("a.", "1,", "a-", "'", "<", "#", "n't", "9.-"):
        tokenize(piece * 20_000)
    assert time.process_time() - start < 20  # a second; what grows with the square of the length takes hours


def test_unigram_precision_of_papineni_2002_is_two_sevenths():
    score = bleu(["the the the the the the the"], [["The cat is on the mat.", "There is a cat on the mat."]])
    assert score[0] == pytest.approx(2 / 7, abs=1e-8)


def test_bigram_precision_of_papineni_2002():
    """Section 2.1.1 there: candidate 1 has modified unigram precision 17/18 and modified bigram precision 10/17."""
    candidate = "It is a guide to action which ensures that the military always obeys the commands of the party ."
    references = [
        "It is a guide to action that ensures that the military will forever heed Party commands .",
        "It is the guiding principle which guarantees the military forces "
        "always being under the command of the Party .",
        "It is the practical guide for the army always to heed the directions of the party .",
    ]
    score = bleu([candidate], [references])[:2]
    assert score == pytest.approx([17 / 18, math.sqrt(17 / 18 * 10 / 17)], abs=1e-8)


def test_scores_are_those_of_the_coco_tools():
    """Expected values computed with pycocoevalcap 1.2."""
    candidates = [
        "a dog runs on the grass",
        "two people ride bikes down a street",
        "a cat",
        "the the the the",
        "a red bus parked near a tall building in the city",
    ]
    references = [
        ["a brown dog runs on the green grass", "a dog is running on grass"],
        ["two men ride bikes down the street", "people riding bicycles on a road", "two cyclists on a street"],
        ["a cat sleeps on a red sofa", "a sleeping cat"],
        ["a bus in the street", "the bus is red"],
        ["a red bus near a building", "a bus parked in the city", "the tall building is near a red bus"],
    ]
    expected = [0.89999999997, 0.7348469228080091, 0.5129927839819195, 0.30307732568741313]
    assert bleu(candidates, references) == pytest.approx(expected, abs=1e-9)
    assert rouge_l(candidates, references) == pytest.approx(0.663494313330201, abs=1e-9)
    assert cider_d(candidates, references) == pytest.approx(1.897012581625073, abs=1e-9)


@pytest.mark.parametrize("images", [1, 2, 5, 20, 500])
def test_scores_equal_the_slow_reference(images):
    """One corpus of 500 pairs and more, and as many in small corpora, so that no error can hide in a mean."""
    rng = np.random.default_rng(images)
    for _ in range(-(-140 // images)):
        candidates, references = corpus(rng, images)
        split_pair = split(candidates, references)
        assert bleu(candidates, references) == pytest.approx(slow.bleu(*split_pair), abs=1e-6)
        assert rouge_l(candidates, references) == pytest.approx(slow.rouge_l(*split_pair), abs=1e-6)
        assert cider_d(candidates, references) == pytest.approx(slow.cider_d(*split_pair), abs=1e-6)


def test_an_answer_equal_to_its_only_reference_is_perfect():
    texts = ["a dog runs on grass", "two cats sit near a wall"]
    references = [[text] for text in texts]
    assert bleu(texts, references) == pytest.approx([1.0] * 4, abs=1e-8)
    assert rouge_l(texts, references) == pytest.approx(1.0)
    assert cider_d(texts, references) == pytest.approx(10.0)


def test_the_order_of_images_does_not_matter():
    candidates, references = corpus(np.random.default_rng(0), 30)
    order = np.random.default_rng(1).permutation(30)
    mixed = [candidates[i] for i in order], [references[i] for i in order]
    for score in (bleu, rouge_l, cider_d):
        assert score(*mixed) == pytest.approx(score(candidates, references), abs=1e-12)


def test_empty_answers_score_nothing_and_empty_corpora_nan():
    references = [["a dog"], ["a cat sits"]]
    assert bleu(["", ""], references) == [0.0] * 4
    assert rouge_l(["", ""], references) == cider_d(["", ""], references) == 0.0
    assert rouge_l([""], [["."]]) == cider_d([""], [["."]]) == 0.0
    assert all(math.isnan(score) for score in [*bleu([], []), rouge_l([], []), cider_d([], [])])


@pytest.mark.parametrize("score", [bleu, rouge_l, cider_d])
def test_an_image_without_references_is_refused_by_its_place(score):
    with pytest.raises(ValueError, match="image 1 has no reference"):
        score(["a", "b"], [["a"], []])
    with pytest.raises(ValueError, match="argument"):
        score(["a"], [["a"], ["b"]])


@pytest.mark.parametrize("seed", range(10))
def test_best_constant_is_the_maximum_over_all_references(seed):
    _, references = corpus(np.random.default_rng(seed), 12)
    caption, score = best_constant_caption(references)
    every = {text: cider_d([text] * 12, references) for texts in references for text in texts}
    assert score == pytest.approx(max(every.values()), abs=1e-9)
    assert every[caption] == pytest.approx(score, abs=1e-9)


def test_best_constant_of_nothing_is_nan_and_of_one_image_its_first_reference():
    assert best_constant_caption([])[0] == "" and math.isnan(best_constant_caption([])[1])
    assert best_constant_caption([["a dog", "a cat"]]) == ("a dog", 0.0)


def test_best_constant_of_two_hundred_images_does_not_try_each_on_each():
    rng = np.random.default_rng(0)
    words = [f"w{i}" for i in range(2000)]
    weights = 1 / np.arange(1, 2001)
    probabilities = weights / weights.sum()
    references = [[" ".join(rng.choice(words, 11, p=probabilities)) for _ in range(5)] for _ in range(200)]
    start = time.process_time()
    best_constant_caption(references)
    assert time.process_time() - start < 10  # a second; scoring a thousand sentences one by one takes minutes


def image(number, truth, answer):
    size, file = (4.0, 4.0), f"{number}.jpg"
    example = Example(number, file, size, truth, lambda: np.zeros((4, 4, 3), dtype=np.uint8))
    return Prediction(number, file, size, answer), example


def test_the_metric_takes_first_answers_and_annotated_images_only():
    metric, boxes = CaptionScores(), Boxes(np.zeros((0, 4)), ())
    metric.update(*image(1, {"captions": Captions(("a dog runs", "the dog"))}, {"captions": Captions(("a dog", "x"))}))
    metric.update(*image(2, {"captions": Captions(("a cat sits",))}, {}))
    metric.update(*image(3, {"captions": Captions(("a red bus",))}, {"captions": Captions(())}))
    metric.update(*image(4, {"boxes": boxes}, {"captions": Captions(("a dog",))}))
    metric.update(*image(5, {"captions": Captions(())}, {"captions": Captions(("a dog",))}))
    candidates, references = ["a dog", "", ""], [["a dog runs", "the dog"], ["a cat sits"], ["a red bus"]]
    scores = bleu(candidates, references)
    assert metric.compute() == {
        "CIDEr-D": cider_d(candidates, references),
        **{f"BLEU-{n}": scores[n - 1] for n in (1, 2, 3, 4)},
        "ROUGE-L": rouge_l(candidates, references),
        "CIDEr-D of the best constant": best_constant_caption(references)[1],
    }
    assert next(iter(metric.compute())) == "CIDEr-D"


def test_the_metric_without_images_is_nan_and_shows_nothing():
    assert all(math.isnan(value) for value in CaptionScores().compute().values())
    worst, examples, *_ = CaptionScores().figures()
    assert worst.cases == examples.cases == []


def collected(images, seed=0):
    """A metric that has seen some images, numbered from 1; candidates and references."""
    metric, (candidates, references) = CaptionScores(), corpus(np.random.default_rng(seed), images)
    for number, (text, texts) in enumerate(zip(candidates, references, strict=True), 1):
        metric.update(*image(number, {"captions": Captions(texts)}, {"captions": Captions((text,))}))
    return metric, candidates, references


def test_images_that_are_drawn_several_times_count_several_times():
    metric, candidates, references = collected(30)
    counts = np.random.default_rng(1).integers(0, 4, 30)
    copies = [i for i, count in enumerate(counts) for _ in range(count)]
    found = metric.resampler().scores(counts)
    some = [candidates[i] for i in copies], [references[i] for i in copies]
    assert [found[f"BLEU-{n}"] for n in (1, 2, 3, 4)] == pytest.approx(slow.bleu(*split(*some)), abs=1e-9)
    assert found["ROUGE-L"] == pytest.approx(slow.rouge_l(*split(*some)), abs=1e-9)
    each = metric.corpus().cider_d
    assert found["CIDEr-D"] == pytest.approx(np.mean([each[i] for i in copies]))
    assert np.mean(each) == pytest.approx(slow.cider_d(*split(candidates, references)), abs=1e-9)
    assert list(metric.resampler().ids) == [*range(1, 31)]
    assert all(math.isnan(value) for value in metric.scores(np.zeros(30, dtype=int)).values())


def test_numbers_that_need_java_are_named():
    assert CaptionScores.unavailable == ("METEOR", "SPICE") and not {"METEOR", "SPICE"} & {*CaptionScores().compute()}


def test_a_report_shows_the_worst_captions_and_some_of_all():
    metric, candidates, references = collected(30)
    worst, examples, bars, lengths, frequent = metric.figures()
    each = metric.corpus().cider_d
    assert [each[case.image - 1] for case in worst.cases] == sorted(each)[:8]
    shown = [each[case.image - 1] for case in examples.cases]
    assert shown == sorted(shown, reverse=True) and (shown[0], shown[-1]) == (max(each), min(each))
    for case in worst.cases:
        assert [one.texts for one in case.truth] == [references[case.image - 1]]
        assert [one.texts for one in case.answer] == [(candidates[case.image - 1],)]
        assert case.words.startswith(f"CIDEr-D {each[case.image - 1]:.2f}, ")
    assert bars.stacks["captions"].sum() == 30
    for x, y in lengths.lines.values():
        assert len(x) == len(y) == 10 and y.sum() == pytest.approx(1)
    mean = np.mean([len(text.split()) for text in candidates])
    assert lengths.lines["answers"][0] @ lengths.lines["answers"][1] == pytest.approx(mean)
    assert frequent.note == f"{len(set(candidates))} different captions of 30 images."


def test_what_is_said_again_and_again_is_listed():
    metric = CaptionScores()
    for number, text in enumerate(["A dog.", "a dog", "a cat", "", "a dog !"]):
        metric.update(*image(number, {"captions": Captions(("a dog runs",))}, {"captions": Captions((text,))}))
    assert metric.figures()[-1].rows == [("a dog", 3), ("a cat", 1), ("(nothing)", 1)]


def test_perfect_captions_are_in_the_histogram():
    metric, rng = CaptionScores(), np.random.default_rng(0)
    for number in range(100):
        text = sentence(rng, shortest=5)
        metric.update(*image(number, {"captions": Captions((text,))}, {"captions": Captions((text,))}))
    assert metric.corpus().cider_d.max() > 10  # by a rounding
    (bars,) = [figure for figure in metric.figures() if figure.title == "How good captions are"]
    assert bars.stacks["captions"].sum() == 100
