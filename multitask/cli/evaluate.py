"""`mtp eval`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from ..errors import UsageError
from .console import output, score_table
from .options import Config, Data, Device, Model, Overrides, chosen_config, task_names

Tasks = Annotated[str | None, typer.Option("--tasks", help="Tasks to score; all that the model has if left out.")]
Split = Annotated[str | None, typer.Option("--split", help="Split to score; found in the folder if left out.")]
Batch = Annotated[int, typer.Option("--batch-size", min=1, help="Images decoded together.")]
Oracle = Annotated[
    bool, typer.Option("--oracle-boxes", help="Ask about the true boxes, where a task asks about those of another.")
]
SelfTest = Annotated[bool, typer.Option("--self-test", help="Score the ground truth itself: the ceiling of any model.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def evaluate(
    overrides: Overrides = None,
    model: Model = None,
    data: Data = None,
    split: Split = None,
    tasks: Tasks = None,
    batch_size: Batch = 16,
    oracle_boxes: Oracle = False,
    self_test: SelfTest = False,
    config: Config = None,
    device: Device = "auto",
    json_: Json = False,
) -> None:
    """Score a model by free-running decoding, or the ground truth itself (--self-test, with --config and settings)."""
    if self_test and oracle_boxes:
        raise UsageError("--self-test always asks about the true boxes: leave --oracle-boxes out")
    if not self_test and (config or overrides):
        raise UsageError("--config and settings go with --self-test; a model has its own: use --model")
    from ..evaluate import Scores, as_json
    from .progress import evaluation_bar

    scores: dict[str, Scores]
    if self_test:
        from ..evaluate import score_truth

        scores = score_truth(chosen_config(config, overrides, tasks, data, None), split)
    else:
        from ..evaluate import score_run

        with evaluation_bar() as progress:
            scores = score_run(model, data, split, task_names(tasks), device, batch_size, progress, oracle_boxes)
    if json_:
        typer.echo(json.dumps(as_json(scores), indent=1))
        return
    for title, found in scores.items():
        score_table(title, found)
    output.print("free-running decoding" if not self_test else "no model was used", style="dim")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("eval")(evaluate)
