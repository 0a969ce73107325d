"""`mtp predict`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError
from .console import errors, output, printable, table
from .options import CudaGraphs, Device, Model, Precision, sleep_soon, task_names

if TYPE_CHECKING:
    from ..predict import Result

Images = Annotated[list[str], typer.Argument(help="Image files, folders or patterns such as 'photos/*.jpg'.")]
TaskWord = Annotated[str | None, typer.Option("--task", "--tasks", help="What to do, as det or det,caption.")]
Ask = Annotated[str | None, typer.Option("--ask", help="The same in words: 'find dogs and cats'.")]
Out = Annotated[Path, typer.Option("--out", help="Folder for the pictures and JSON files.")]
Classes = Annotated[str | None, typer.Option("--class", help="Category names to look for, as 'dog,cat'.")]
Box = Annotated[
    list[str] | None, typer.Option("--box", help="Box to ask about, x0,y0,x1,y1 in pixels; may be repeated.")
]
MinScore = Annotated[float, typer.Option("--min-score", min=0, max=1, help="Leave out answers below this score.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of sampled answers.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="Option of a task, as tasks.det.stop_run=2; may be repeated.")
]
Attention = Annotated[bool, typer.Option("--attention", help="Also draw where the decoder looked, for each answer.")]
Batch = Annotated[int, typer.Option("--batch-size", min=1, help="Images decoded together.")]


def predict(
    images: Images,
    task: TaskWord = None,
    ask: Ask = None,
    model: Model = None,
    out: Out = Path(),
    classes: Classes = None,
    box: Box = None,
    min_score: MinScore = 0.3,
    attention: Attention = False,
    seed: Seed = 0,
    batch_size: Batch = 8,
    settings: Settings = None,
    device: Device = "auto",
    precision: Precision = "fp32",
    cuda_graphs: CudaGraphs = False,
) -> None:
    """Ask a model about images: prints a table, writes IMAGE.TASK.png (JPEG for a JPEG) and IMAGE.TASK.json for each.

    An image that cannot be read is named and left out; the exit code is then 3.
    """
    names = task_names(task)
    sleep_soon()
    from ..decoding.speed import Speed
    from ..predict import Means, predict_files
    from ..wishes import Wish

    wish = Wish(names, ask, classes, tuple(box or ()), min_score)
    means = Means(model, _options(settings), device, Speed(precision, cuda_graphs), batch_size, seed)
    failed = 0
    for result in predict_files(images, wish, means, out, attention):
        show(result)
        failed += bool(result.error)
    if failed:
        raise typer.Exit(3)


def _options(settings: list[str] | None) -> list[str]:
    for word in settings or ():
        if not word.startswith("tasks."):
            raise UsageError(f"--set {word}: only options of tasks can be set, as tasks.NAME.KEY=VALUE")
    return settings or []


def show(result: Result) -> None:
    """Print what became of one image."""
    if result.error:
        errors.print(f"skipped: {printable(result.error)}", soft_wrap=True)
    else:
        table(result.file, ("task", "answer", "score", "where"), result.rows)
        written = (result.picture, result.json, *result.attention)
        output.print(f"wrote {', '.join(map(printable, written))}", soft_wrap=True)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("predict", no_args_is_help=True)(predict)
