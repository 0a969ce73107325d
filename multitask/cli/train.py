"""`mtp train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import UsageError
from .console import output, score_table
from .options import Config, Data, Deterministic, Device, Overrides, Seed, chosen_config

Tasks = Annotated[str | None, typer.Option("--tasks", help="Tasks to learn, as det,caption.")]
Out = Annotated[Path | None, typer.Option("--out", help="Run folder; runs/DATE-TASKS if left out.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run in --out (the newest one if left out).")]


def train(
    tasks: Tasks = None,
    overrides: Overrides = None,
    data: Data = None,
    config: Config = None,
    out: Out = None,
    resume: Resume = False,
    device: Device = "auto",
    seed: Seed = None,
    deterministic: Deterministic = False,
) -> None:
    """Train tasks on a data set, and score them.

    Without --config the recipe is `quickstart` on the embedded data set, and `finetune` where --data is given.
    """
    if resume and (config or overrides or tasks or data or seed is not None):
        raise UsageError("--resume goes on with the settings of the run: give no other settings with it, only --out")
    settings = None if resume else chosen_config(config, overrides, tasks, data, seed)
    from ..train import resumed, start
    from .progress import TrainingDisplay

    with TrainingDisplay() as display:
        if settings is None:
            run, scores = resumed(out, device, deterministic, display)
        else:
            run, scores = start(settings, out, device, deterministic, display)
    score_table("scores on unseen images, free-running", scores)
    output.print(f"run: {run}", soft_wrap=True)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("train", no_args_is_help=False)(train)
