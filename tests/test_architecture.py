"""The rules of CONTRIBUTING.md that a machine can check; each checker also meets samples that break its rule."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

Check = Callable[[str, str], Iterator[str]]  # source and place of a file -> its breaches

ROOT = Path(__file__).parents[1]
CEILING = 260  # lines: a longer file holds more than one concept
LEVELS = {  # imports go down or stay on their level
    **dict.fromkeys(["__main__", "cli", "testing", "tiny"], 4),
    **dict.fromkeys(["train", "evaluate", "predict", "training", "assembly", "inference", "results", "wishes"], 3),
    **dict.fromkeys(["attention", "comparison", "convert_weights", "reports", "self_test"], 3),
    **dict.fromkeys(["data", "decoding", "model", "checkpoint", "draw", "heat", "hub", "runs", "curves"], 2),
    **dict.fromkeys(["annotations", "canvas", "charting", "config", "example", "plugins"], 1),
    **dict.fromkeys(["processes", "run_folder", "sections"], 1),
    **dict.fromkeys(["figures", "metric", "searched", "sequence", "skeleton", "task", "walks"], 1),
    **dict.fromkeys(["errors", "files", "geometry", "machine", "yamlio", "__version__"], 0),
}
# What task files may import.
FOR_TASKS = {"annotations", "errors", "example", "figures", "metric", "searched", "sequence", "skeleton", "task"}
HOMES = {  # libraries that stay behind one door, so that another can take their place
    "einops": ("multitask/model/",),
    "huggingface_hub": ("multitask/hub.py",),
    "jinja2": ("multitask/reports/page.py",),
    "matplotlib": ("multitask/charting.py",),
    "hotcoco": ("tasks/coco/scoring.py",),
    "pycocotools": ("multitask/data/masks.py", "tasks/coco"),
    "sentencepiece": ("multitask/sequence/text.py",),
    "tensorboard": ("multitask/training/tensorboard.py",),
    "timm": ("multitask/model/encoder.py", "multitask/training/optimisation.py"),  # the latter for its EMA
}
MAPPED = {"tasks", "prompts", "configs"}  # folders at the root whose import names lie under multitask
CODE_IN_DATA = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
BANNED_CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen"}
BANNED_CALLS |= {"yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load"}
FORMAT_WORDS = {  # keys of COCO's JSON that happen to be spelt like a task
    "multitask/data/checks.py": {"segmentation"},
    "multitask/data/formats/coco_files.py": {"caption"},
    "multitask/data/formats/caption_lists.py": {"caption"},
    "multitask/data/formats/caption_rows.py": {"caption"},
    "multitask/data/formats/coco_objects.py": {"segmentation"},
    "multitask/data/formats/coco_reader.py": {"caption", "segmentation"},
    "multitask/data/formats/coco_results.py": {"caption", "segmentation", "keypoints"},
    "multitask/data/formats/coco_writer.py": {"caption", "segmentation"},
    "multitask/data/formats/sample_reader.py": {"caption", "segmentation"},
    "multitask/data/formats/shard_writer.py": {"segmentation"},
}

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TASK_POINTS = PROJECT["entry-points"]["multitask.tasks"]
TASK_MODULES = {value.partition(":")[0] for value in TASK_POINTS.values()}


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py") if "build" not in path.parts)


SHIPPED = sources("multitask", "tasks", "prompts", "configs")
ALL = SHIPPED + sources("tests", "examples", "benchmarks", "tools", "docs")


def place(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module_name(where: str) -> str:
    """`tasks/noise.py` -> `multitask.tasks.noise`, `multitask/cli/__init__.py` -> `multitask.cli`."""
    parts = where.removesuffix(".py").removesuffix("/__init__").split("/")
    return ".".join(["multitask", *parts] if parts[0] in MAPPED else parts)


def imports(tree: ast.AST, where: str) -> Iterator[tuple[str, int]]:
    """Every imported name in full, and its line: `from ..task import Task` -> `multitask.task.Task`."""
    package = module_name(where).split(".") if where.endswith("__init__.py") else module_name(where).split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            prefix = [*base, *([node.module] if node.module else [])]
            yield from ((".".join([*prefix, alias.name]), node.lineno) for alias in node.names)


def top(name: str) -> str:
    return name.partition(".")[0]


def part(name: str) -> str:
    """The room of the engine that a module lies in: `multitask.data.shapes` -> `data`; the front door has none."""
    return name.split(".")[1] if "." in name else ""


def wrong_direction(source: str, where: str) -> Iterator[str]:
    """Imports upwards, past the contract, of one task by another, or of anything by the data folders."""
    own = part(module_name(where))
    for name, line in imports(ast.parse(source), where):
        if own in ("prompts", "configs"):
            allowed = name.startswith("__future__.")
        elif top(name) != "multitask" or not own:
            continue
        elif own == "tasks":
            allowed = part(name) in FOR_TASKS or (
                part(name) == "tasks" and ".".join(name.split(".")[:3]) not in TASK_MODULES
            )
        else:
            allowed = LEVELS.get(part(name), 9) <= LEVELS.get(own, -1)
        if not allowed:
            yield f"{where}:{line}: may not import {name}"


def absolute_in_tasks(source: str, where: str) -> Iterator[str]:
    """Tasks import relatively: a type checker does not see the mapped name in an editable install."""
    for node in ast.walk(ast.parse(source)):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
        if where.startswith("tasks/") and "multitask" in map(top, names):
            yield f"{where}:{node.lineno}: import relatively"


def out_of_home(source: str, where: str) -> Iterator[str]:
    """Libraries imported outside the file that wraps them."""
    for name, line in imports(ast.parse(source), where):
        homes = HOMES.get(top(name))
        if homes and not where.startswith(homes):
            yield f"{where}:{line}: {top(name)} belongs in {' and '.join(homes)}"


def bare_imports(source: str, where: str) -> Iterator[str]:
    """`import tasks` works from the root of a checkout, and makes a second copy of every module."""
    for node in ast.walk(ast.parse(source)):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
        if MAPPED & set(map(top, names)):
            yield f"{where}:{node.lineno}: its import name is multitask.{names[0]}"


def task_names(source: str, where: str) -> Iterator[str]:
    """Literals of one word that are, or have as a part, the name of a task: `"det"`, `"det/AP"`, `"<det>"`."""
    forbidden = TASK_POINTS.keys() - KINDS - FORMAT_WORDS.get(where, set())
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found = forbidden.intersection(re.split(r"[/<>.=,]", node.value))
            if found and len(node.value.split()) == 1:
                yield f"{where}:{node.lineno}: the engine names the task '{found.pop()}'"


def annotation_kinds(source: str) -> set[str]:
    """The values of `kind: ClassVar[str] = "boxes"`: a task may be called like what it predicts."""
    fields = (
        n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.AnnAssign) and isinstance(n.value, ast.Constant)
    )
    return {str(f.value.value) for f in fields if isinstance(f.target, ast.Name) and f.target.id == "kind"}  # type: ignore[union-attr]


def code_from_data(source: str, where: str) -> Iterator[str]:
    """What runs code found in files or strings, or takes an archive's word for where to write."""
    tree = ast.parse(source)
    for name, line in imports(tree, where):
        if top(name) in CODE_IN_DATA:
            yield f"{where}:{line}: imports {top(name)}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (fault := _dangerous(node, where)):
            yield f"{where}:{node.lineno}: {fault}"


def _dangerous(call: ast.Call, where: str) -> str:
    name = ast.unparse(call.func)
    given = {k.arg: k.value.value if isinstance(k.value, ast.Constant) else ... for k in call.keywords}
    constant = bool(call.args) and isinstance(call.args[0], ast.Constant)
    faults = [
        (name in BANNED_CALLS or name.endswith((".extractall", ".unpack_archive")), f"calls {name}"),
        (name == "torch.load" and given.get("weights_only") is not True, "torch.load without weights_only=True"),
        (name == "torch.load" and where != "multitask/convert_weights.py", "torch.load outside convert_weights.py"),
        (
            name.endswith("import_module") and not constant and where != "multitask/__init__.py",
            "imports a computed name",
        ),
        (given.get("weights_only", True) is not True, "weights_only is not True"),
        (given.get("allow_pickle", False) is not False, "allow_pickle is not False"),
        (given.get("shell", False) is not False, "shell is not False"),
    ]
    return next((fault for found, fault in faults if found), "")


def too_long(source: str, where: str) -> Iterator[str]:
    lines = len(source.splitlines())
    if lines > CEILING:
        yield f"{where}: {lines} lines, over {CEILING}: split it by concept"


def cycles(modules: dict[str, str]) -> list[str]:
    """The first ring of modules that import each other at their top level; packages and late imports do not count."""
    known = {module_name(where) for where in modules}
    graph = {}
    for where, source in modules.items():
        tree = ast.parse(source)
        tree.body = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        if not where.endswith("__init__.py"):
            graph[module_name(where)] = {owner(name, known) for name, _ in imports(tree, where)} - {""}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def owner(name: str, known: set[str]) -> str:
    """The module that has a name: `multitask.task.Task` -> `multitask.task`; empty for what is not ours."""
    parts = name.split(".")
    prefixes = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
    return next((prefix for prefix in prefixes if prefix in known), "")


KINDS = annotation_kinds((ROOT / "multitask" / "annotations.py").read_text())
ENGINE = [path for path in SHIPPED if place(path).startswith("multitask/")]
RULES: dict[str, tuple[Check, list[Path]]] = {
    "imports go down": (wrong_direction, SHIPPED),
    "tasks import relatively": (absolute_in_tasks, SHIPPED),
    "libraries stay behind their door": (out_of_home, SHIPPED),
    "mapped folders have one name": (bare_imports, ALL),
    "the engine names no task": (task_names, ENGINE),
    "data runs no code": (code_from_data, SHIPPED),
    "files hold one concept": (too_long, SHIPPED),
}


@pytest.mark.parametrize("rule", RULES)
def test_rule(rule: str) -> None:
    check, paths = RULES[rule]
    assert paths
    assert [fault for path in paths for fault in check(path.read_text(encoding="utf-8"), place(path))] == []


def test_no_module_imports_itself_in_a_ring() -> None:
    assert cycles({place(path): path.read_text(encoding="utf-8") for path in SHIPPED}) == []


BREACHES = [
    (wrong_direction, "multitask/data/formats/coco.py", "from ...train import train"),
    (wrong_direction, "multitask/sequence/text.py", "from multitask.model import decoder"),
    (wrong_direction, "multitask/config.py", "def f():\n    from .model.encoder import build"),
    (wrong_direction, "multitask/task.py", "from . import checkpoint"),
    (wrong_direction, "multitask/errors.py", "import multitask.config"),
    (wrong_direction, "multitask/train.py", "from multitask.tasks.detection import Detection"),
    (wrong_direction, "multitask/train.py", "from . import cli"),
    (wrong_direction, "multitask/new_room.py", "from .errors import MtpError"),
    (wrong_direction, "multitask/cli/train.py", "from .. import a_public_name"),
    (wrong_direction, "tasks/detection.py", "from ..model.decoder import Decoder"),
    (wrong_direction, "tasks/detection.py", "from ..config import Config"),
    (wrong_direction, "tasks/detection.py", "from .captioning import Captioning"),
    (wrong_direction, "tasks/detection.py", "from . import captioning"),
    (wrong_direction, "prompts/__init__.py", "import json"),
    (absolute_in_tasks, "tasks/detection.py", "from multitask.task import Task"),
    (absolute_in_tasks, "tasks/detection.py", "import multitask.task"),
    (out_of_home, "multitask/model/decoder.py", "import timm.layers"),
    (out_of_home, "multitask/data/shapes.py", "def f():\n    from einops import rearrange"),
    (out_of_home, "multitask/sequence/vocabulary.py", "import sentencepiece"),
    (out_of_home, "tasks/detection.py", "from pycocotools.coco import COCO"),
    (bare_imports, "tests/test_x.py", "import tasks"),
    (bare_imports, "examples/counting/counting.py", "from tasks.detection import Detection"),
    (bare_imports, "benchmarks/speed.py", "import prompts.text"),
    (task_names, "multitask/train.py", "if task.name == 'det': ..."),
    (task_names, "multitask/train.py", "best = 'caption/CIDEr-D'"),
    (task_names, "multitask/train.py", "key = f'det/{name}'"),
    (task_names, "multitask/train.py", "token = '<det>'"),
    (task_names, "multitask/data/shapes.py", "x = entry['caption']"),
    (code_from_data, "multitask/checkpoint.py", "import pickle"),
    (code_from_data, "multitask/checkpoint.py", "from pickle import load"),
    (code_from_data, "multitask/checkpoint.py", "torch.load(path)"),
    (code_from_data, "multitask/checkpoint.py", "torch.load(path, weights_only=True)"),
    (code_from_data, "multitask/convert_weights.py", "torch.load(path)"),
    (code_from_data, "multitask/convert_weights.py", "torch.load(path, weights_only=False)"),
    (code_from_data, "multitask/checkpoint.py", "numpy.load(path, allow_pickle=True)"),
    (code_from_data, "multitask/checkpoint.py", "numpy.load(path, allow_pickle=flag)"),
    (code_from_data, "multitask/config.py", "yaml.load(text, Loader)"),
    (code_from_data, "multitask/config.py", "eval(text)"),
    (code_from_data, "multitask/config.py", "exec(text)"),
    (code_from_data, "multitask/config.py", "importlib.import_module(config.task)"),
    (code_from_data, "tasks/detection.py", "subprocess.run(command, shell=True)"),
    (code_from_data, "multitask/data/formats/coco.py", "archive.extractall(path)"),
    (too_long, "tasks/detection.py", "x = 1\n" * (CEILING + 1)),
]


@pytest.mark.parametrize(("check", "where", "source"), BREACHES)
def test_a_breach_is_found(check: Check, where: str, source: str) -> None:
    assert len(list(check(source, where))) == 1


SOUND = """
from __future__ import annotations
import numpy as np
from ..annotations import Boxes
from ..sequence.coordinates import bins_to_boxes
from ..task import Task
from .noise import noise_boxes

class Detection(Task):
    name = "det"

def f(model):
    model.eval()
    re.compile("x")
    np.load(path, allow_pickle=False)
"""


@pytest.mark.parametrize("rule", RULES)
def test_a_sound_file_passes(rule: str) -> None:
    where = "multitask/data/formats/coco_reader.py" if rule == "the engine names no task" else "tasks/detection.py"
    source = "x = entry['caption'], 'detached', 'a det.', model" if where.startswith("multitask") else SOUND
    assert list(RULES[rule][0](source, where)) == []


def test_a_ring_is_found() -> None:
    ring = {
        "multitask/a.py": "from .b import x",
        "multitask/b.py": "from . import c",
        "multitask/c.py": "from .a import y",
    }
    assert set(cycles(ring)) == {"multitask.a", "multitask.b", "multitask.c"}
    assert cycles({**ring, "multitask/c.py": "def f():\n    from .a import y"}) == []


def test_listing_tasks_on_the_command_line_imports_none_and_no_torch() -> None:
    code = """
import sys
from multitask.cli import main
sys.argv = ["mtp", "tasks"]
try:
    main()
finally:
    print("MODULES", *sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    listed, _, modules = run.stdout.partition("MODULES")
    assert run.returncode == 0, run.stderr
    assert all(name in listed for name in TASK_POINTS if "[alias]" not in TASK_POINTS[name])
    assert not [m for m in modules.split() if top(m) in ("torch", "timm", "torchvision")]
    assert not [m for m in modules.split() if m in TASK_MODULES]
