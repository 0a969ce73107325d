"""What `mtp train --find-lr` leaves: a table, a picture, and the rate to train with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..files import write_atomic
from .console import errors, output, say

if TYPE_CHECKING:
    from ..training.rate_finder import RateCurve


def show_rates(curve: RateCurve, folder: Path) -> None:
    """Write find_lr.csv and find_lr.png to `folder`; say what is suggested. Without matplotlib there is no picture."""
    from ..curves import rate_page

    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "find_lr.csv", curve.table().encode())
    errors.print(f"wrote {folder / 'find_lr.csv'}", soft_wrap=True, markup=False)
    try:
        write_atomic(folder / "find_lr.png", rate_page(curve.rates, curve.losses, curve.suggested))
        errors.print(f"wrote {folder / 'find_lr.png'}", soft_wrap=True, markup=False)
    except UsageError as error:
        say(f"find_lr.csv without find_lr.png: {error}")
    if curve.suggested:
        output.print(f"train.lr={curve.suggested:.2g}")
    else:
        output.print("no rate is suggested: the loss falls by little at any; look at the data, or try more steps")
