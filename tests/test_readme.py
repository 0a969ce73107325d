"""README and guides keep their word: commands run, code works, keys and links exist."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

from multitask.config import Config, recipes
from multitask.data.shapes import ShapesDataset

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

# Commands that are not run here, and why. Everything else is.
NOT_RUN = {
    "pip install -e .": "needs a package registry; continuous integration runs it, of the plugin too",
    "pip install -e '.[dev]'": "needs a package registry; continuous integration runs it",
    "pytest": "is what runs here; continuous integration runs it",
    "pip install torch torchvision --index-url https://download.pytorch.org/whl/cpu": "needs that registry",
    "python benchmarks/decode.py": "measures",
    "python benchmarks/scaling.py": "measures",
    "python benchmarks/predict.py": "measures",
    "python benchmarks/precision.py runs/demo": "measures",
    "mtp train --init owner/name@v1 --data other": "fetches weights; tests/training/test_initial.py plays the hub",
    "mtp convert-weights resnet50.pth resnet50.safetensors": "asks at a terminal; tests/test_convert_weights.py",
    "torchrun --standalone --nproc-per-node 2 -m multitask train --tasks det --data photos --out runs/two": (
        "starts processes; tests/training/test_sharing.py and tests/stress do so"
    ),
    "torchrun --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint first:29400 --max-restarts 3 "
    "-m multitask train --config pix2seq_v2_vit_b_640 --data coco --out runs/large": "needs two machines",
}
# Goes at the end of every training, where it wins over the settings before it.
TINY = (
    "bins=64 data.workers=0 data.val_size=4 model.image_size=64 model.encoder=test_efficientnet model.pretrained=false "
    "model.decoder={dim: 32, depth: 1, heads: 2, mlp_dim: 64, max_length: 320} "
    "train.steps=3 train.batch_size=4 train.warmup=1 train.eval_every=0"
)
TINY_SETTINGS = [f"{key}={value}" for key, value in re.findall(r"([\w.]+)=(\{.*?\}|\S+)", TINY)]


def _load(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


tools = _load("command_line", Path(__file__).with_name("command_line.py"))


class Block(NamedTuple):
    """A fenced block: the page, the word after `<!-- test: ` above it, its language, its text."""

    page: str
    mark: str
    language: str
    text: str


def blocks(page: Path) -> Iterator[Block]:
    pattern = r"(?:<!-- test: (\S+) -->\n)?^```(\w*)\n(.*?)^```$"
    for found in re.finditer(pattern, page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        yield Block(page.name, found[1] or "", found[2], found[3])


BLOCKS = [block for page in PAGES for block in blocks(page)]


def marked(mark: str) -> str:
    """The text of the one block of that mark."""
    (text,) = [block.text for block in BLOCKS if block.mark == mark]
    return text


def commands(page: str) -> list[str]:
    """Those of the shell blocks of a page, in order; `a && b` are two."""
    lines = [line for b in BLOCKS if b.language == "sh" and b.page == page for line in b.text.splitlines()]
    return [part.strip() for line in lines for part in line.split("&&") if part.strip()]


COMMANDS = {page.name: commands(page.name) for page in PAGES if page.name != "downloads.md"}  # it has a test of its own
PLUGIN = [command for command in COMMANDS["README.md"] if "largest" in command]


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """A folder with what the commands speak of: `photos/`, `more/`, `img.jpg` and so on."""
    folder = tmp_path_factory.mktemp("reader")
    tools.coco_folder(folder / "photos", ["dog", "cat", "person"])
    tools.coco_folder(folder / "paintings", ["dog"])
    faces(tools.coco_folder(folder / "faces", ["face"]))
    searched(tools.coco_folder(folder / "lvis", ["dog", "cat"]))
    tools.noise_picture(folder / "img.jpg")
    tools.noise_picture(folder / "more" / "another.png")
    with tools.Shell(folder) as shell:
        yield shell


def faces(root: Path) -> None:
    """Two sets of keypoints on the same images."""
    for path in (root / "annotations").glob("instances_*.json"):
        content = json.loads(path.read_text())
        content["categories"][0] |= {"keypoints": ["left_eye", "right_eye"]}
        for annotation in content["annotations"]:
            annotation["keypoints"] = [10, 8, 2, 20, 8, 2]
        for stem in ("keypoints5", "keypoints68"):
            path.with_name(path.name.replace("instances", stem)).write_text(json.dumps(content))
        path.unlink()


def searched(root: Path) -> None:
    """What LVIS says of each image besides."""
    for path in (root / "annotations").glob("instances_*.json"):
        content = json.loads(path.read_text())
        for image in content["images"]:
            image |= {"neg_category_ids": [2 - image["id"] % 2], "not_exhaustive_category_ids": []}
        for category in content["categories"]:
            category["frequency"] = "f"
        path.write_text(json.dumps(content))


def shortened(command: str) -> list[str]:
    """Its words, with the tiny settings behind them where it trains a new model."""
    words = shlex.split(command, comments=True)[1:]
    return words + (TINY_SETTINGS if words[0] == "train" and "--resume" not in words else [])


@pytest.mark.parametrize("page", [name for name, found in COMMANDS.items() if found])
def test_every_command_runs(shell: object, page: str) -> None:
    """In the order of the page, all pages in one folder, the README first."""
    ran = 0
    for command in COMMANDS[page]:
        if command in NOT_RUN or command in PLUGIN:
            continue
        assert command.startswith("mtp "), f"{page}: {command!r} is neither run nor excused"
        words = shortened(command)
        done = shell.mtp(*words)
        assert done.code == 0, f"{page}: {command}\n{done.err}"
        ran += 1
    assert ran


def test_excuses_are_for_commands_that_are_there() -> None:
    everything = {command for found in COMMANDS.values() for command in found}
    assert NOT_RUN.keys() <= everything


def test_what_predictions_are_called(shell: object) -> None:
    """After the README's commands."""
    assert (shell.folder / "img.det.json").is_file() and (shell.folder / "img.det.jpg").is_file()
    names = {path.name for path in (shell.folder / "results").glob("*.json")}
    assert names >= {"img.det-caption.json", "another.det-caption.json"}


def test_the_predictions_shown_have_the_shape_of_real_ones(shell: object) -> None:
    done = shell.mtp("predict", "--task", "det,caption", "img.jpg", "--min-score", "0", "--out", "shape")
    assert done.code == 0, done.err
    real = json.loads((shell.folder / "shape/img.det-caption.json").read_text())
    assert real["tasks"]["det"]["boxes"]
    assert shape(json.loads(marked("prediction"))) == shape(real)


def shape(value: object) -> object:
    """The value without its particulars: keys in order, of lists the first."""
    if isinstance(value, dict):
        return [(key, shape(v)) for key, v in value.items()]
    return [shape(value[0])] if isinstance(value, list) else type(value)


def explained(field: str) -> bool:
    """Whether the table of JSON fields has a row that ends with this one."""
    table = (ROOT / "README.md").read_text().partition("## Results as JSON")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    return any(re.search(rf"\b{field}`", row) for row in rows)


def test_every_field_of_a_prediction_is_explained() -> None:
    fields = set(re.findall(r'"(\w+)":', marked("prediction"))) - {"det", "caption", "boxes", "captions", "image"}
    assert {field for field in fields if not explained(field)} == set()


def test_every_field_of_outlines_and_poses_is_explained(shell: object) -> None:
    words = ["--class", "figure", "--box", "12,8,40,30", "--out", "objects"]
    done = shell.mtp("predict", "img.jpg", "--task", "segment,keypoints", *words)
    assert done.code == 0, done.err
    tasks = json.loads((shell.folder / "objects/img.segment-keypoints.json").read_text())["tasks"]
    (outline,), (pose,) = tasks["segment"]["polygons"], tasks["keypoints"]["keypoints"]
    assert outline["box_xyxy"] == pose["box_xyxy"] == [12, 8, 40, 30] and len(pose["points"]) == 9
    fields = {*outline, *pose, *pose["points"][0]} - {"points"}
    assert {field for field in fields if not explained(field)} == set()


def test_the_help_shown_is_the_real_one(shell: object) -> None:
    assert marked("help").strip() == shell.mtp("--help", COLUMNS="80").out.strip()


def test_the_run_folder_shown_is_the_real_one(shell: object) -> None:
    shown = next(b.text for b in BLOCKS if "checkpoints/" in b.text and not b.language)
    run = shell.folder / "runs/photos"
    checkpoint = next((run / "checkpoints").glob("step-*"))
    for path in [*run.iterdir(), *checkpoint.iterdir()]:
        assert path.name in shown, path


def test_a_task_from_the_readme(shell: object, tmp_path: Path) -> None:
    """Its files in a folder, installed as an installer would: no file of the engine is touched."""
    for name in ("largest.py", "test_largest.py"):
        (tmp_path / name).write_text(marked(name))
    project = tomllib.loads(marked("pyproject.toml"))["project"]
    info = tmp_path / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    ((group, entries),) = project["entry-points"].items()
    lines = [f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")

    installed = {"PYTHONPATH": str(tmp_path), "MTP_TASKS": "largest,det"}
    listed = shell.fresh("tasks", "--check", **installed)
    assert listed.code == 0 and re.search(r"largest\W+biggest\W+mtp-largest\W+0\.1\.0\W+Names the", listed.out)
    assert [command.split()[:2] for command in PLUGIN] == [["mtp", "train"], ["mtp", "predict"]]
    train, predict = PLUGIN
    words = [word for word in shortened(train) if "caption" not in word]
    trained = shell.fresh(*words, "--out", "runs/largest", **installed)
    assert trained.code == 0 and re.search(r"largest\W+exact\W+\d", trained.out), trained.err
    assert shell.fresh(*shortened(predict), **installed).code == 0
    (labels,) = json.loads((shell.folder / "img.largest.json").read_text())["tasks"].values()
    assert set(labels["labels"]) <= {"disc", "rectangle", "triangle", "star", "figure"}
    checked = shell.python("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_largest.py", folder=tmp_path)
    assert checked.code == 0 and "1 passed" in checked.out


def test_the_task_from_the_readme_scores_the_truth(tmp_path: Path) -> None:
    (tmp_path / "largest.py").write_text(marked("largest.py"))
    module = _load("largest", tmp_path / "largest.py")
    dataset, metric = ShapesDataset("val", 20), module.Largest().metric(None)
    for example, shift in ((example, shift) for example in dataset for shift in (0, 1)):
        boxes = example.annotations["boxes"]
        sizes = (boxes.xyxy[:, 2] - boxes.xyxy[:, 0]) * (boxes.xyxy[:, 3] - boxes.xyxy[:, 1])
        answer = boxes.labels[sizes.argmax()] if not shift else "nothing of the kind"
        labels = module.Labels((answer,))
        metric.update(type("Said", (), {"annotations": {"labels": labels}}), example)
    assert metric.compute() == {"exact": 0.5}


PYTHON = [b for b in BLOCKS if b.language == "python" and not b.mark.endswith(".py")]


@pytest.mark.parametrize("page", sorted({block.page for block in PYTHON}))
def test_python_examples_run(shell: object, page: str) -> None:
    code = "\n".join(block.text for block in PYTHON if block.page == page)
    done = shell.python("-c", code)
    assert done.code == 0, done.err


# ---------------------------------------------------------------------------------------------------- what they say


def _page_maker() -> ModuleType:
    return _load("configuration_tables", ROOT / "tools" / "configuration_tables.py")


def test_the_tables_of_keys_are_up_to_date() -> None:
    page = ROOT / "docs" / "configuration.md"
    new = _page_maker().page(page.read_text(encoding="utf-8"))
    assert page.read_text(encoding="utf-8") == new, f"run: python tools/configuration_tables.py {page.name}"


def test_every_key_that_is_named_exists() -> None:
    maker = _page_maker()
    known = {key for key, *_ in maker.keys(Config)}
    tables = maker.tables()
    known |= set(re.findall(r"`(tasks\.[\w.]+)`", tables))
    sections = {".".join(key.split(".")[:n]) for key in known for n in range(1, key.count(".") + 1)}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        named = set(re.findall(r"(?<![\w./-])((?:data|model|train|tasks)\.[a-z_.]+[a-z])(?=[=`])", text))
        named = {re.sub(r"^(train\.task_weights)\.[a-z]+$", r"\1", name) for name in named}  # keys are tasks
        assert named - known - sections - {"tasks.count.absent", "data.txt", "data.yaml"} == set(), page.name


def test_every_recipe_is_described_and_no_other() -> None:
    for page in ("README.md", "docs/configuration.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        table = text.partition("| recipe | for |")[2] or text.partition("| name | for |")[2]
        rows = [line.split("|")[1] for line in table.partition("\n\n")[0].splitlines() if line.startswith("| `")]
        assert set(re.findall(r"`(\w+)`", " ".join(rows))) == set(recipes()), page


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith("https://"):
            continue
        file, _, anchor = target.partition("#")
        place = (page.parent / file).resolve() if file else page
        assert place.exists() and place.is_relative_to(ROOT), target
        assert not anchor or anchor in anchors(place), target


def test_files_that_are_named_exist() -> None:
    for page in PAGES:
        for name in re.findall(r"`((?:multitask|tests|tools|prompts|docs|examples)/[\w./*]+)`", page.read_text()):
            assert list(ROOT.glob(name)), f"{page.name}: {name}"


def test_continuous_integration_finds_the_test_command() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "<!-- ci: test -->\n```sh\npip install -e '.[dev]' && pytest\n```" in text
    assert "```sh\npip install -e . && mtp train --tasks det,caption\n```" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_figure_is_missing(page: Path) -> None:
    assert re.findall(r"\{\{.*?\}\}", page.read_text(encoding="utf-8")) == []
