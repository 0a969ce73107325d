from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from multitask.config import Config, Section, load_config, parse_options, recipes, to_yaml
from multitask.errors import UsageError
from multitask.sections import TrainConfig


def printable(call: Callable[[], object]) -> bool:
    """Whether a call succeeds, or is refused in one line without escapes."""
    try:
        call()
    except UsageError as error:
        return str(error).isprintable()
    return True


def refused(name: str | None = None, *overrides: str, tasks: list[str] | None = None) -> str:
    with pytest.raises(UsageError) as error:
        load_config(name, overrides, tasks)
    assert str(error.value).isprintable()  # so: one line
    return str(error.value)


def written(folder: Path, text: str) -> str:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_recipes_load_by_name() -> None:
    assert set(recipes()) == {
        "quickstart", "smoke", "finetune", "pix2seq_vit_b_640", "pix2seq_r50_640", "pix2seq_v2_vit_b_640",
    }  # fmt: skip
    for name in recipes():
        config = load_config(name)
        longest = 5 * config.tasks["det"].get("max_instances", 100) + 2
        assert longest <= config.model.decoder.max_length  # what a full picture needs, with prompt and end
        assert config.train.warmup < config.train.steps
        assert config.model.pretrained is False  # a recipe fetches nothing that nobody asked for


def test_a_recipe_is_a_file_too(tmp_path: Path) -> None:
    text = "tasks: {det: {noise: no}, caption:}\ntrain:\n  lr: 3e-5\nmodel:\n"
    config = load_config(written(tmp_path, text))
    assert config.tasks == {"det": {"noise": "no"}, "caption": {}}
    assert config.train == TrainConfig(lr=3e-5)
    assert config.model == load_config(None, ["tasks.det={}"]).model


def test_overrides_reach_every_level_and_the_last_one_wins() -> None:
    words = ["train.lr=1", "train.lr=1e-4", "model.encoder=resnet50", "tasks.det.max_instances=20", "train.steps=1e4",
             "train.betas=[0.8, 0.9]", "tasks.det.augment.scale=[1, 2]", "data.path=/x #y",
             "model.pretrained=true"]  # fmt: skip
    config = load_config("quickstart", words)
    assert (config.train.lr, config.train.steps, config.train.betas) == (1e-4, 10_000, (0.8, 0.9))
    assert (config.model.encoder, config.data.path, config.model.pretrained) == ("resnet50", "/x #y", True)
    recipe = load_config("quickstart")
    changed = {"max_instances": 20, "augment": {**recipe.tasks["det"]["augment"], "scale": [1, 2]}}
    assert config.tasks["det"] == {**recipe.tasks["det"], **changed}
    assert recipe.train.lr == 1e-3


def test_a_recipe_is_limited_to_some_tasks(tmp_path: Path) -> None:
    assert list(load_config("quickstart", (), ["caption"]).tasks) == ["caption"]
    config = load_config("quickstart", ["tasks.count.most=3"], ["count", "det"])
    assert list(config.tasks) == ["count", "det"] and config.tasks["count"] == {"most": 3}
    assert config.tasks["det"] == load_config("quickstart").tasks["det"]
    text = "tasks: {det: , caption: }\ntrain: {task_weights: {det: 2, caption: 1}, best: det/AP}"
    train = load_config(written(tmp_path, text), (), ["caption"]).train
    assert (train.task_weights, train.best) == ({"caption": 1.0}, "")


def test_a_name_that_is_no_task_of_the_run_is_kept_to_be_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "tasks: {det: }\ntrain: {task_weights: {dte: 2}}")
    assert "names 'dte', not a task of this run; did you mean 'det'?" in refused(path, tasks=["det"])


FAULTS = [  # override of a config with the task det -> what the line says
    ("train.lrr=1", "train.lrr: unknown key; did you mean 'train.lr'?"),
    ("trian.lr=1", "trian.lr: unknown key; did you mean 'train.lr'?"),
    ("lr=1", "lr: unknown key; did you mean 'train.lr'?"),
    ("batchsize=3", "batchsize: unknown key; did you mean 'train.batch_size'?"),
    ("model.decoder.hedas=3", "model.decoder.hedas: unknown key; did you mean 'model.decoder.heads'?"),
    ("zzz=1", "zzz: unknown key; there are: tasks, text_model, bins, data, model, train, seed"),
    ("__class__=1", "__class__: unknown key"),
    ("model_config.extra=allow", "model_config.extra: unknown key"),
    ("train.lr=abc", "train.lr: expected a valid number, got 'abc'"),
    ("train.lr='1'", "train.lr: expected a valid number, got '1'"),
    ("train.lr=", "train.lr: expected a valid number, got None"),
    ("train.lr=.nan", "train.lr: expected a finite number, got nan"),
    ("train.lr=0", "train.lr: expected greater than 0, got 0"),
    ("train.lr.x=1", "train.lr: expected a valid number, got {'x': 1}"),
    ("train.steps=1.5", "train.steps: expected a valid integer, got 1.5"),
    ("train.steps=true", "train.steps: expected a valid integer, got True"),
    ("train.betas=[0.9, 2]", "train.betas.1: expected less than 1, got 2"),
    ("train.betas=[0.9]", "train.betas.1: is missing"),
    ("train.precision=fp16", "train.precision: expected 'auto', 'fp32' or 'bf16', got 'fp16'"),
    ("train.task_weights={dte: 1}", "train.task_weights names 'dte', not a task of this run; did you mean 'det'?"),
    ("train.task_weights.det=-1", "train.task_weights.det: expected greater than or equal to 0, got -1"),
    ("train.best=x/AP", "train.best names 'x', not a task of this run"),
    ("model.stride=12", "model.stride: expected 4, 8, 16 or 32, got 12"),
    ("model.pretrained=3", "model.pretrained: expected"),
    ("model.decoder.heads=7", "model.decoder: heads 7 does not divide dim 256"),
    ("model.transformer.dim=6", "model.transformer.dim: expected a multiple of 4, got 6"),
    ("model={encoder: vit, image_size: 100}", "model: image_size 100 is not a multiple of patch 16"),
    ("data=3", "data: expected keys and values, got 3"),
    ("tasks=[det]", "tasks: expected keys and values, got ['det']"),
    ("tasks.det=3", "tasks.det: expected keys and values, got 3"),
    ("seed=yes", "seed: expected a valid integer, got 'yes'"),
    ("seed=" + "9" * 5000, "seed: expected"),
    ("data.path=[", "not valid YAML"),
    ("data.path={a: 1, a: 2}", "key 'a' stands twice"),
    ("data.path=" + "[" * 150 + "]" * 150, "nested deeper"),
    ("train.lr", "expected key=value, such as train.lr=1e-4"),
    ("train..lr=1", "expected key=value"),
    ("=1", "expected key=value"),
    ("train.l\nr\x1b[31m=1", "did you mean 'train.lr'?"),
]  # fmt: skip


@pytest.mark.parametrize(("override", "message"), FAULTS, ids=[word[:30] for word, _ in FAULTS])
def test_a_bad_override_is_one_line_that_names_it(override: str, message: str) -> None:
    line = refused(None, "tasks.det={}", override)
    assert message in line
    assert line.startswith(f"override {override!r}"[:30]), line


def test_a_bad_file_is_one_line_that_names_it(tmp_path: Path) -> None:
    for text, message in {
        "tasks: {det: }\ntrain: {lrr: 1}": "train.lrr: unknown key; did you mean 'train.lr'?",
        "task: {det: }": "task: unknown key; did you mean 'tasks'?",
        "train: {lr: 1e-3}": "tasks: is missing",
        "tasks: {}": "tasks: ",
        "tasks: {det: [1]}": "tasks.det: expected keys and values, got [1]",
        "tasks: {3: }": "expected a valid string",
        "- tasks": "expected keys and values",
        "3": "expected keys and values",
        "tasks: {det: }\ndata: {path: 3}": "data.path: expected a valid string, got 3",
        "tasks: {det: }\n7: 3": "a key must be text, got 7",
        "tasks: {det: }\nnull: 3": "a key must be text, got None",
        "tasks: {det: }\ntrain: {lr: " + "x" * 500 + "}": "xxx...",
        "": "tasks: is missing",
    }.items():
        line = refused(path := written(tmp_path, text))
        assert line.startswith(f"{path}: ") and message in line, line
        assert len(line) < len(path) + 200


def test_an_override_is_not_blamed_for_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "tasks: {det: }\ntrain: {lrr: 1}")
    assert refused(path, "train.lr=1e-4").startswith(f"{path}: train.lrr")
    assert refused(path, "train.lr=1e-4", "train.stepz=3").startswith(
        (f"{path}: train.lrr", "override 'train.stepz=3'")
    )


def test_unknown_recipes_and_files() -> None:
    assert "did you mean 'quickstart'?" in refused("quickstrt")
    assert "there are: " in refused("zzzzz")
    assert refused("none.yaml") == "none.yaml: not a file"
    assert "../quickstart: not a file" in refused("../quickstart")
    assert "not among the chosen tasks: caption" in refused("quickstart", "tasks.det.noise=false", tasks=["caption"])


class Inner(Section):
    low: float = Field(0.5, ge=0, le=1)


class Options(Section):
    most: int = Field(10, ge=1)
    inner: Inner = Inner()
    maybe: Inner | None = None


def test_options_of_a_task_get_the_same_errors() -> None:
    assert parse_options(Options, {"most": 3, "inner": None}, "tasks.count") == Options(most=3)
    faults: list[tuple[dict[str, Any], str]] = [
        ({"mots": 3}, "tasks.count.mots: unknown key; did you mean 'tasks.count.most'?"),
        ({"low": 3}, "tasks.count.low: unknown key; did you mean 'tasks.count.inner.low'?"),
        ({"most": 0}, "tasks.count.most: expected greater than or equal to 1, got 0"),
        ({"inner": {"low": "a"}}, "tasks.count.inner.low: expected a valid number, got 'a'"),
        ({"maybe": {"low": 2}}, "tasks.count.maybe.low: expected less than or equal to 1, got 2"),
    ]
    for raw, message in faults:
        with pytest.raises(UsageError) as error:
            parse_options(Options, raw, "tasks.count")
        assert str(error.value) == message
    with pytest.raises(UsageError, match=r"^a/b\.yaml: mots: unknown key; did you mean 'most'\?$"):
        parse_options(Options, {"mots": 3}, "a/b.yaml")


@pytest.mark.parametrize("name", recipes())
def test_a_config_survives_yaml_and_json(name: str, tmp_path: Path) -> None:
    config = load_config(name, ["text_model='1e-4'", "train.betas=[0.1, 0.2]", "tasks.det.odd=[1, {a: no}]"])
    assert load_config(written(tmp_path, to_yaml(config))) == config
    assert Config.model_validate(config.model_dump(mode="json")) == config


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.lists(st.text("abtrainmodeltasks.=[]{}'1e-\n", min_size=1, max_size=20), max_size=3))
def test_any_words_give_a_config_or_one_line(words: list[str]) -> None:
    assert printable(lambda: load_config("smoke", words))


raw_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3),
)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.sampled_from(["tasks", "data", "model", "train", "seed", "bins", "nonsense"]), raw_values)
def test_any_values_give_options_or_one_line(key: str, value: Any) -> None:
    assert printable(lambda: parse_options(Config, {"tasks": {"det": {}}, key: value}, "x"))


def test_the_config_is_read_without_torch() -> None:
    code = "import sys, multitask.config as c; c.load_config('smoke'); print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert run.stdout.strip() == "False"
