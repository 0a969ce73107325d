"""`mtp eval`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ..errors import UsageError
from .console import output, score_table
from .options import (
    Config,
    CudaGraphs,
    Data,
    Device,
    Model,
    Overrides,
    Precision,
    chosen_config,
    data_words,
    sleep_soon,
    task_names,
)

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
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def evaluate(
    overrides: Overrides = None,
    model: Model = None,
    data: Data = None,
    split: Split = None,
    tasks: Tasks = None,
    batch_size: Batch = 16,
    oracle_boxes: Oracle = False,
    save_results: Results = None,
    self_test: SelfTest = False,
    results: Answers = None,
    config: Config = None,
    device: Device = "auto",
    precision: Precision = "fp32",
    cuda_graphs: CudaGraphs = False,
    json_: Json = False,
) -> None:
    """Score a model by free-running decoding, a file of answers (--results), or the ground truth itself (--self-test).

    The latter two take --config and settings.
    """
    if results and (self_test or model or oracle_boxes or save_results):
        raise UsageError("--results is scored without a model: give only --task, --data, --split and settings with it")
    if (self_test or results) and (cuda_graphs or precision != "fp32"):
        raise UsageError("--precision and --cuda-graphs go with a model: leave them out")
    if self_test and save_results:
        raise UsageError("--save-results goes with a model: leave --self-test out")
    if self_test and oracle_boxes:
        raise UsageError("--self-test always asks about the true boxes: leave --oracle-boxes out")
    if not (self_test or results) and (
        config or any(not word.startswith(("data.", "tasks.")) for word in overrides or ())
    ):
        own = "a model has its own, but for data.KEY=VALUE and tasks.NAME.KEY=VALUE"
        raise UsageError(f"--config and settings go with --self-test or --results; {own}")
    sleep_soon()
    from ..evaluate import Scores, as_json
    from .progress import counting_bar

    scores: dict[str, Scores]
    if results:
        from ..results import score_file

        scores = score_file(results, chosen_config(config, overrides, tasks, data, None), split)
    elif self_test:
        from ..evaluate import score_truth

        scores = score_truth(chosen_config(config, overrides, tasks, data, None), split)
    else:
        from ..decoding.speed import Speed
        from ..evaluate import score_run

        words = [*data_words(data), *(overrides or ())]
        with counting_bar("scoring") as progress:
            chosen = task_names(tasks)
            scores = score_run(
                model,
                words,
                split,
                chosen,
                device,
                batch_size,
                progress,
                oracle_boxes,
                save_results,
                Speed(precision, cuda_graphs),
            )
    if json_:
        typer.echo(json.dumps(as_json(scores), indent=1))
        return
    for title, found in scores.items():
        score_table(title, found)
    output.print("no model was used" if self_test or results else "free-running decoding", style="dim")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("eval")(evaluate)
