"""`mtp eval`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..charting import need_matplotlib
from ..errors import UsageError
from .console import errors, output, printable
from .options import (
    Config,
    CudaGraphs,
    Data,
    Device,
    Model,
    Precision,
    chosen_config,
    data_words,
    sleep_soon,
    task_names,
)
from .scores import print_differences, print_json, print_tables

if TYPE_CHECKING:
    from ..config import Config as Settings
    from ..evaluate import Evaluation, Order

OUT = "leave the others out"
HOW = ("auto", 16, "fp32", False)  # a model answers, unless told otherwise
ALONE = "give only --task, --data, --split and settings with it"
OWN = "a model has its own, but for data.KEY=VALUE and tasks.NAME.KEY=VALUE"

Words = Annotated[
    list[str] | None,
    typer.Argument(
        help="Runs, as --model, or files of answers, as --results; settings as key=value.",
        metavar="[RUN|FILE|KEY=VALUE]...",
    ),
]
Tasks = Annotated[
    str | None, typer.Option("--tasks", "--task", help="Tasks to score; all that the model has if left out.")
]
Split = Annotated[str | None, typer.Option("--split", help="Split to score; found in the folder if left out.")]
Batch = Annotated[int, typer.Option("--batch-size", min=1, help="Images decoded together.")]
Oracle = Annotated[
    bool, typer.Option("--oracle-boxes", help="Ask about the true boxes, where a task asks about those of another.")
]
SelfTest = Annotated[bool, typer.Option("--self-test", help="Score the ground truth itself: the ceiling of any model.")]
Results = Annotated[
    Path | None, typer.Option("--save-results", help="Folder for the answers, one file a task in COCO's results form.")
]
Answers = Annotated[
    Path | None,
    typer.Option("--results", help="Score this file in COCO's results form, with --task and --data; no model."),
]
Categories = Annotated[bool, typer.Option("--per-category", help="Show the scores of each category, too.")]
Report = Annotated[
    Path | None, typer.Option("--report", help="Folder for a page of diagrams and the worst errors, and its pictures.")
]
Compare = Annotated[
    bool, typer.Option("--compare", help="Tell two runs or files apart: differences, with intervals by bootstrap.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def evaluate(
    words: Words = None,
    model: Model = None,
    data: Data = None,
    split: Split = None,
    tasks: Tasks = None,
    batch_size: Batch = HOW[1],
    oracle_boxes: Oracle = False,
    per_category: Categories = False,
    report: Report = None,
    compare: Compare = False,
    save_results: Results = None,
    self_test: SelfTest = False,
    results: Answers = None,
    config: Config = None,
    device: Device = HOW[0],
    precision: Precision = HOW[2],
    cuda_graphs: CudaGraphs = HOW[3],
    json_: Json = False,
) -> None:
    """Score a model by free-running decoding, a file of answers (--results), or the ground truth itself (--self-test).

    The latter two take --config and settings.
    """
    settings = [word for word in words or () if "=" in word]
    named = [word for word in words or () if "=" not in word]
    files = [*([str(results)] if results else []), *(word for word in named if word.endswith(".json"))]
    runs = [*([model] if model else []), *(word for word in named if not word.endswith(".json"))]
    no_model = bool(files) or self_test
    how = (device, batch_size, precision, cuda_graphs)
    strange = [word for word in settings if not word.startswith(("data.", "tasks."))]
    _refuse(
        (compare and files and runs, "--compare takes two runs, or two files of answers, not one of each"),
        (self_test and (files or runs), "--self-test needs no model and no file: leave them out"),
        (files and (runs or oracle_boxes or save_results), "--results is scored without a model: " + ALONE),
        (no_model and how != HOW, "--device, --batch-size, --precision and --cuda-graphs go with a model: " + OUT),
        (self_test and save_results, "--save-results goes with a model: leave --self-test out"),
        (self_test and oracle_boxes, "--self-test always asks about the true boxes: leave --oracle-boxes out"),
        (not no_model and (config or strange), f"--config and settings go with --self-test or --results; {OWN}"),
        (compare and len(files or runs) != 2, "--compare takes two runs, or two files of answers"),
        (compare and (report or per_category or save_results), "--compare prints differences alone: " + OUT),
        (not compare and len(files or runs) > 1, "one run or file is scored at a time; two with --compare"),
    )
    if report:
        need_matplotlib()
    _make_folders({"--report": report, "--save-results": save_results})
    sleep_soon()
    from ..decoding.speed import Speed
    from ..evaluate import Order

    names = task_names(tasks)
    if no_model:
        chosen = chosen_config(config, settings, tasks, data, None)
        found = _scored_without_model(files, chosen, split)
    else:
        speed = Speed(precision, cuda_graphs)
        order = Order([*data_words(data), *settings], split, names, oracle_boxes, device, batch_size, speed)
        found = _scored_runs(runs or [None], order)
    if save_results:
        _save(found[0], save_results)
    if compare:
        _compare(found, json_)
    elif json_:
        print_json(found, per_category)
    else:
        print_tables(found, per_category)
    if report:
        _report(found[0], report)
    if not json_:
        output.print("no model was used" if no_model else "free-running decoding", style="dim")


def _refuse(*cases: tuple[object, str]) -> None:
    """Raises UsageError for the first case that holds."""
    for holds, message in cases:
        if holds:
            raise UsageError(message)


def _make_folders(asked: Mapping[str, Path | None]) -> None:
    """Before anything is scored. Raises UsageError where one cannot be made."""
    for option, folder in asked.items():
        try:
            if folder:
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"{option} {folder}: no folder can be made there: {error.strerror}; name another"
            ) from error


def _scored_without_model(files: Sequence[str], config: Settings, split: str | None) -> list[Evaluation]:
    from ..results import score_file
    from ..self_test import score_truth

    return [score_file(Path(file), config, split) for file in files] or score_truth(config, split)


def _scored_runs(runs: Sequence[str | None], order: Order) -> list[Evaluation]:
    """All on the data of the first."""
    from ..evaluate import score_run
    from .progress import counting_bar

    found: list[Evaluation] = []
    for run in runs:
        with counting_bar("scoring") as progress:
            found.append(score_run(run, order, progress, found[0].config if found else None))
    return found


def _save(found: Evaluation, folder: Path) -> None:
    from ..evaluate import write_results

    for path in write_results(found.found, folder):
        errors.print(f"wrote {printable(path)}", soft_wrap=True)


def _compare(found: Sequence[Evaluation], as_json: bool) -> None:
    from ..comparison import compare

    a, b = found
    print_differences((a.title, b.title), list(compare(a.found, b.found)), as_json)


def _report(found: Evaluation, folder: Path) -> None:
    from ..reports.evaluation import report_evaluation

    errors.print(f"wrote {printable(report_evaluation(found, folder))}", soft_wrap=True)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("eval")(evaluate)
