from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from multitask.decoding import generation
from multitask.decoding.generation import Request, generate
from multitask.decoding.sampling import row_noise
from multitask.decoding.stepping import Stepper
from multitask.errors import UsageError
from multitask.model.decoder import Memory
from multitask.sequence.grammar import END, Grammar, State, Stop
from multitask.sequence.ids import Ids
from multitask.sequence.prompting import Decoding

VOCAB, EOS = 50, 1
COORD, CLASSES, NOISE, WORDS = Ids(((5, 25),)), Ids(((25, 30),)), Ids.of(30), Ids(((31, 50),))
GREEDY = Decoding()


def cycle(window: int = 3, stop: Stop | None = None, max_tokens: int = 20) -> Grammar:
    """Boxes: four coordinates, the last two not below the first two, then a class; the end in place of a first."""

    def corner(following: int, not_below: int = 0) -> State:
        return State(((COORD, following),), read=COORD, window=window, not_below=not_below)

    first = State(((COORD, 1), (Ids.of(EOS), END)), read=COORD, window=window)
    name = State(((CLASSES | NOISE, 0),), read=CLASSES, window=0)
    return Grammar((first, corner(2), corner(3, 2), corner(4, 2), name), max_tokens, stop)


def sentence(max_tokens: int = 16) -> Grammar:
    return Grammar((State(((WORDS, 0), (Ids.of(EOS), END))),), max_tokens)


def fixed() -> Grammar:
    """Two coordinates, then a class that ends it: no `<eos>`."""
    return Grammar((State(((COORD, 1),)), State(((COORD, 2),), not_below=1), State(((CLASSES, END),))), 9)


def forked() -> Grammar:
    """Where a token leads depends on the token."""
    digits, letters = Ids(((5, 12), (40, 44))), Ids(((12, 20),))
    return Grammar((State(((digits, 0), (letters, 1))), State(((letters, 1), (digits, 0), (Ids.of(EOS), END)))), 11)


def anything() -> Grammar:
    return Grammar((State(((Ids(((0, VOCAB),)), 0),)),), 7)


def grammars() -> list[Grammar]:
    stopping = cycle(stop=Stop(NOISE, 2, 0.25))
    return [cycle(), cycle(window=1), sentence(), fixed(), forked(), anything(), stopping]


def memory_of(images: int, valid: torch.Tensor | None = None) -> Memory:
    return Memory(torch.randn(images, 16, 32, generator=torch.Generator().manual_seed(1)), valid)


def prompt(length: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, VOCAB, length)


def mixed(images: int = 3, decoding: Decoding = GREEDY) -> list[Request]:
    """Every grammar about every image, with prompts of one and of six tokens."""
    asked = [(g, image, length) for image in range(images) for g in grammars() for length in (1, 6)]
    return [Request(prompt(length, n), g, decoding, image, ("key", n)) for n, (g, image, length) in enumerate(asked)]


def probabilities(logits: np.ndarray, allowed: list[int]) -> dict[int, float]:
    best = max(logits[token] for token in allowed)
    weights = {token: math.exp(logits[token] - best) for token in allowed}
    return {token: weight / sum(weights.values()) for token, weight in weights.items()}


def choose(probs: dict[int, float], decoding: Decoding, uniform: float) -> int:
    """The best token, or the one that `uniform` falls on when the tempered and cut probabilities lie end to end."""
    best = max(probs, key=probs.get)
    if decoding.temperature == 0:
        return best
    tempered = {token: (p / probs[best]) ** (1 / decoding.temperature) for token, p in probs.items()}
    tempered = {token: p / sum(tempered.values()) for token, p in tempered.items()}
    ranked = sorted(tempered, key=lambda token: -tempered[token])
    kept, mass = [], 0.0
    for token in ranked[: decoding.top_k or None]:
        if mass >= decoding.top_p:
            break
        kept.append(token)
        mass += tempered[token]
    passed = 0.0
    for token in sorted(kept):
        passed += tempered[token]
        if passed > uniform * mass:
            return token
    return max(kept)


def read(state: State, probs: dict[int, float], token: int) -> tuple[int, float, float]:
    if state.read is None:
        return token, probs[token], float(token)
    readable = [t for t in state.read if t in probs]
    best = max(readable, key=probs.get)
    near = [t for t in readable if abs(t - best) <= state.window]
    mass = sum(probs[t] for t in near)
    return best, mass, sum(t * probs[t] for t in near) / mass


@torch.no_grad()
def reference(model, memory: Memory, request: Request) -> list[tuple]:
    """One sequence, without cache: every step decodes all of it again. Steps are (token, logprob, *read)."""
    grammar, image = request.grammar, slice(request.image, request.image + 1)
    own = Memory(memory.tokens[image], None if memory.valid is None else memory.valid[image])
    limit = min(len(request.prompt) + grammar.max_tokens, len(model.decoder.positions))
    uniform = row_noise([request.key], limit)[0].tolist()
    ids, steps, state, quiet = request.prompt.tolist(), [], 0, 0
    while state != END and len(ids) < limit:
        logits = model.logits(model.decode(torch.tensor([ids]), own))[0, -1].double().numpy()
        here = grammar.states[state]
        arcs = {token: target for tokens, target in here.arcs for token in tokens}
        allowed = [t for t in sorted(arcs) if not here.not_below or t >= ids[-here.not_below]]
        probs = probabilities(logits, allowed)
        token = choose(probs, request.decoding, uniform[len(ids)])
        steps.append((token, math.log(probs[token]), *read(here, probs, token)))
        if grammar.stop and any(t in arcs for t in grammar.stop.ids):
            met = sum(probs.get(t, 0.0) for t in grammar.stop.ids) > grammar.stop.threshold
            quiet = quiet + 1 if met else 0
        state = arcs[token]
        ids.append(token)
        if grammar.stop and quiet >= grammar.stop.run and state != END:
            break
    return steps[:-1] if state == END and steps[-1][0] == EOS else steps


def check(decoded, steps: list[tuple]) -> None:
    tokens, logprobs, best, best_prob, expected = zip(*steps, strict=True) if steps else [()] * 5
    assert decoded.tokens.tolist() == list(tokens)
    assert decoded.tokens.dtype == decoded.best.dtype == np.int64
    assert decoded.best.tolist() == list(best)
    np.testing.assert_allclose(decoded.logprobs, logprobs, atol=1e-4)
    np.testing.assert_allclose(decoded.best_prob, best_prob, atol=1e-4)
    np.testing.assert_allclose(decoded.expected, expected, atol=1e-3)


def same(one, other) -> None:
    assert one.tokens.tolist() == other.tokens.tolist()
    assert one.best.tolist() == other.best.tolist()
    for name in ("logprobs", "best_prob", "expected"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-4)


@pytest.mark.parametrize("padded", [False, True])
def test_equals_decoding_one_by_one_without_cache(tiny, padded):
    valid = torch.arange(16) < torch.tensor([[16], [7], [2]]) if padded else None
    memory, requests = memory_of(3, valid), mixed()
    decoded = generate(Stepper(tiny.decoder), memory, requests, EOS)
    expected = [reference(tiny, memory, r) for r in requests]
    for one, steps in zip(decoded, expected, strict=True):
        check(one, steps)
    assert len({len(steps) for steps in expected}) > 4  # they end at different places
    assert len({tuple(d.tokens) for d in decoded}) > len(decoded) // 2


DECODINGS = [
    Decoding(temperature=1.0),
    Decoding(temperature=0.5, top_k=3),
    Decoding(temperature=2.0, top_p=0.6),
    Decoding(temperature=1.5, top_k=4, top_p=0.8),
]


@pytest.mark.parametrize("decoding", DECODINGS, ids=str)
def test_drawing_equals_the_reference_with_the_same_noise(tiny, decoding):
    memory, requests = memory_of(1), mixed(1, decoding)
    for one, request in zip(generate(Stepper(tiny.decoder), memory, requests, EOS), requests, strict=True):
        check(one, reference(tiny, memory, request))


def test_greedy_and_drawn_queries_share_a_batch(tiny):
    memory = memory_of(2)
    requests = [
        Request(r.prompt, r.grammar, (GREEDY, *DECODINGS)[n % 5], r.image, r.key) for n, r in enumerate(mixed(2))
    ]
    for one, request in zip(generate(Stepper(tiny.decoder), memory, requests, EOS), requests, strict=True):
        check(one, reference(tiny, memory, request))


@pytest.mark.parametrize("decoding", [GREEDY, Decoding(temperature=1.0, top_p=0.9)], ids=["greedy", "drawn"])
def test_a_batch_of_eight_equals_eight_singles(tiny, decoding):
    memory = memory_of(8)
    requests = [Request(prompt(1 + 5 * (n % 2), n), grammars()[n % 7], decoding, n, ("batch", n)) for n in range(8)]
    together = generate(Stepper(tiny.decoder), memory, requests, EOS)
    for n, request in enumerate(requests):
        image = Memory(memory.tokens[n : n + 1])
        alone = Request(request.prompt, request.grammar, decoding, 0, request.key)
        same(generate(Stepper(tiny.decoder), image, [alone], EOS)[0], together[n])


def test_the_order_of_requests_does_not_matter(tiny):
    memory, requests = memory_of(3), mixed(3, Decoding(temperature=1.0))
    order = np.random.default_rng(0).permutation(len(requests))
    straight = generate(Stepper(tiny.decoder), memory, requests, EOS)
    shuffled = generate(Stepper(tiny.decoder), memory, [requests[i] for i in order], EOS)
    for place, i in enumerate(order):
        same(shuffled[place], straight[i])


def stay(rows: generation._Rows, over: np.ndarray) -> None:
    """In place of `_leave`: nobody goes before all do."""
    rows.limit[over] = 0
    if (rows.limit <= rows.position).all():
        rows.active = []


@pytest.mark.parametrize("steps", [1, 3, 8, 50])
def test_rows_that_have_ended_leave_and_nothing_else_changes(tiny, monkeypatch, steps):
    memory, requests = memory_of(3), mixed()
    sizes = []
    step = Stepper.step
    monkeypatch.setattr(generation, "STEPS", steps)
    monkeypatch.setattr(Stepper, "step", lambda self, t, cache: (sizes.append(len(t)), step(self, t, cache))[1])
    compacted = generate(Stepper(tiny.decoder), memory, requests, EOS)
    shrinking, sizes = sizes[1:], []  # without the prompts
    monkeypatch.setattr(generation._Rows, "_leave", stay)
    for one, other in zip(generate(Stepper(tiny.decoder), memory, requests, EOS), compacted, strict=True):
        same(one, other)
    assert shrinking[0] == len(requests) and shrinking == sorted(shrinking, reverse=True)
    assert shrinking[-1] < len(requests) / 2 or steps > 20
    assert set(sizes[1:]) == {len(requests)}


def test_a_device_is_waited_for_once_in_some_steps(tiny):
    stepper = Stepper(tiny.decoder)
    request = Request(prompt(1, 0), Grammar((State(((WORDS, 0),)),), 20), GREEDY, 0, 0)
    generate(stepper, memory_of(1), [request] * 5, EOS)
    counts = stepper.counts
    assert (counts.steps, counts.syncs) == (20, 3)
    assert counts.positions == 1 + 19 * 5  # the prompt of equal questions is read once
    assert counts.scores == 20 * 5 * len(WORDS)


def test_a_grammar_that_must_end_costs_no_step_more(tiny):
    stepper = Stepper(tiny.decoder)
    generate(stepper, memory_of(1), [Request(prompt(1, 0), fixed(), GREEDY, 0, 0)], EOS)
    assert (stepper.counts.steps, stepper.counts.syncs) == (3, 1)


@pytest.mark.parametrize("length", [1, 6])
def test_max_tokens_is_a_limit_on_the_answer_alone(tiny, length):
    grammar = Grammar((State(((WORDS, 0),)),), 5)
    request = Request(prompt(length, 0), grammar, GREEDY, 0, 0)
    assert len(generate(Stepper(tiny.decoder), memory_of(1), [request], EOS)[0].tokens) == 5


def test_the_decoder_length_ends_an_answer(tiny):
    endless = Grammar((State(((WORDS, 0),)),), 1000)
    lengths = (1, 6, 31, 32)
    requests = [Request(prompt(n, n), endless, GREEDY, 0, n) for n in lengths]
    assert [len(d.tokens) for d in generate(Stepper(tiny.decoder), memory_of(1), requests, EOS)] == [
        32 - n for n in lengths
    ]


@pytest.mark.parametrize("others", [[], [1], [32]])
def test_a_prompt_longer_than_the_decoder_is_refused(tiny, others):
    requests = [Request(prompt(n, n), sentence(), GREEDY, 0, n) for n in (*others, 33)]
    with pytest.raises(UsageError, match=r"33 positions needs model\.decoder\.max_length"):
        generate(Stepper(tiny.decoder), memory_of(1), requests, EOS)


def test_no_requests_no_answers(tiny):
    assert generate(Stepper(tiny.decoder), memory_of(1), [], EOS) == []


def biased(model, ids: Ids, by: float):
    with torch.no_grad():
        model.decoder.output_bias[ids.array()] += by
    return model


def test_eos_ends_an_answer_and_is_no_part_of_it(tiny):
    model = biased(tiny, Ids.of(EOS), 100.0)
    free = Grammar((State(((Ids(((0, VOCAB),)), 0),)),), 4)
    ended, kept = generate(
        Stepper(model.decoder), memory_of(1), [Request(prompt(1, 0), g, GREEDY, 0, 0) for g in (sentence(), free)], EOS
    )
    assert ended.tokens.tolist() == [] == ended.logprobs.tolist()
    assert kept.tokens.tolist() == [EOS] * 4  # where it ends nothing it is a token like any other


@pytest.mark.parametrize("run", [1, 2, 3])
def test_the_stop_rule_ends_after_exactly_its_run(tiny, run):
    model = biased(tiny, NOISE, 100.0)
    grammar = cycle(stop=Stop(NOISE, run, 0.9), max_tokens=29)
    model.decoder.output_bias.data[EOS] = -100.0
    answer = generate(Stepper(model.decoder), memory_of(1), [Request(prompt(1, 0), grammar, GREEDY, 0, 0)], EOS)[0]
    assert len(answer.tokens) == 5 * run
    assert answer.tokens[4::5].tolist() == [30] * run


def test_the_run_of_the_stop_rule_must_be_unbroken(tiny):
    """Noise is likely in one state and impossible in the next, both of which the rule looks at."""
    wanted, odd = Ids.of(30, 31), Ids.of(31)
    states = (State(((wanted, 1),)), State(((wanted, 0),)))
    model = biased(tiny, Ids.of(30), 100.0)
    never = Grammar((states[0], State(((odd, 0),))), 9, Stop(Ids.of(30), 2, 0.5))
    broken = Grammar((states[0], State(((odd | Ids.of(30), 0),), not_below=1)), 9, Stop(Ids.of(31), 1, 0.5))
    always = Grammar(states, 9, Stop(Ids.of(30), 2, 0.5))
    requests = [Request(prompt(1, 0), g, GREEDY, 0, 0) for g in (never, broken, always)]
    lengths = [len(d.tokens) for d in generate(Stepper(model.decoder), memory_of(1), requests, EOS)]
    assert lengths == [3, 9, 2]  # a state that does not allow the ids is passed over, as in `never`


def test_samples_differ_and_a_key_names_its_sample(tiny):
    decoding = Decoding(samples=4, temperature=1.0)
    keys = [("image", 7, sample) for sample in range(4)] * 2
    requests = [Request(prompt(1, 0), sentence(), decoding, 0, key) for key in keys]
    answers = [tuple(d.tokens) for d in generate(Stepper(tiny.decoder), memory_of(1), requests, EOS)]
    assert len(set(answers[:4])) == 4
    assert answers[:4] == answers[4:]


@pytest.fixture
def spied(tiny, monkeypatch):
    """The model, and how many rows of the output layer each step multiplied."""
    seen, scores = [], Stepper.scores
    monkeypatch.setattr(Stepper, "scores", lambda self, h, out: (seen.append(out.tokens), scores(self, h, out))[1])
    return tiny, seen


def test_only_the_allowed_logits_are_computed(spied):
    model, seen = spied
    generate(Stepper(model.decoder), memory_of(1), [Request(prompt(3, 0), fixed(), GREEDY, 0, 0)] * 2, EOS)
    assert seen == [len(COORD), len(COORD), len(CLASSES)]


def test_a_mixed_batch_computes_the_union_of_what_its_rows_allow(spied):
    model, seen = spied
    requests = [Request(prompt(1, 0), g, GREEDY, 0, 0) for g in (fixed(), Grammar((State(((WORDS, 0),)),), 2))]
    generate(Stepper(model.decoder), memory_of(1), requests, EOS)
    assert seen == [len(COORD | WORDS), len(COORD | WORDS), len(CLASSES)]


def test_reading_survives_probabilities_that_vanish(tiny):
    """The best id of the read set is known even where the probability of all of them rounds to nothing."""
    model = biased(tiny, NOISE, 1000.0)
    state = State(((COORD | NOISE, 0),), read=COORD, window=2)
    request = Request(prompt(1, 0), Grammar((state,), 2), GREEDY, 0, 0)
    answer = generate(Stepper(model.decoder), memory_of(1), [request], EOS)[0]
    assert answer.tokens.tolist() == [30, 30]
    with torch.no_grad():
        hidden = model.decode(torch.tensor([request.prompt.tolist()]), memory_of(1))[0, -1]
    logits = dict(zip(COORD, model.logits(hidden, torch.tensor(list(COORD))).tolist(), strict=True))
    best, _, expected = read(state, probabilities_of(logits), 0)
    assert answer.best[0] == best
    assert answer.best_prob[0] < 1e-30
    assert answer.expected[0] == pytest.approx(expected, abs=1e-3)


def probabilities_of(logits: dict[int, float]) -> dict[int, float]:
    return {token: math.exp(value - max(logits.values())) for token, value in logits.items()}
