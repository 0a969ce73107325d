"""`mtp train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import UsageError
from .console import output, score_table, speaks
from .find_rate import show_rates
from .options import Config, Data, Deterministic, Device, Init, Overrides, Seed, chosen_config, sleep_soon

Tasks = Annotated[str | None, typer.Option("--tasks", help="Tasks to learn, as det,caption.")]
Out = Annotated[Path | None, typer.Option("--out", help="Run folder; runs/DATE-TASKS if left out.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run in --out (the newest one if left out).")]
FindRate = Annotated[bool, typer.Option("--find-lr", help="Try learning rates, draw their losses, train nothing.")]


def train(
    tasks: Tasks = None,
    overrides: Overrides = None,
    data: Data = None,
    config: Config = None,
    init: Init = None,
    out: Out = None,
    resume: Resume = False,
    find_rate: FindRate = False,
    device: Device = "auto",
    seed: Seed = None,
    deterministic: Deterministic = False,
) -> None:
    """Train tasks on a data set, and score them.

    Without --config the recipe is `quickstart` on the embedded data set, and `finetune` where --data is given.
    """
    if resume and (config or init or tasks or data or find_rate or seed is not None):
        raise UsageError("--resume goes on with the settings of the run: give only --out and key=value with it")
    sleep_soon()
    settings = None if resume else chosen_config(config, overrides, tasks, data, seed, init)
    from ..train import resumed, start, tried_rates
    from .progress import TrainingDisplay

    with TrainingDisplay() as display:
        if settings and find_rate:
            curve = tried_rates(settings, device, deterministic, display)
        elif settings is None:
            run, scores = resumed(out, device, deterministic, display, overrides or ())
        else:
            run, scores = start(settings, out, device, deterministic, display)
    if find_rate and speaks():
        show_rates(curve, out or Path())
    elif speaks():
        score_table("scores on unseen images, free-running", scores)
        output.print(f"run: {run}", soft_wrap=True)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("train", no_args_is_help=False)(train)
