"""Where the weights to begin with lie: a run or checkpoint here, or one on the Hugging Face hub. Imports no torch.

What the hub has as `owner/name` is the files of one checkpoint folder.
"""

from __future__ import annotations

import json
import os
import re
from functools import cache
from pathlib import Path

from .config import Config
from .errors import CheckpointError, UsageError
from .files import SealedFolder
from .run_folder import first_sound
from .yamlio import check

FILES = ("manifest.json", "config.json", "vocabulary.json", "text.model", "model.safetensors", "ema.safetensors")
HUB_ID = re.compile(r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?", re.ASCII)


def located(source: str) -> Path:
    """The folder that `model.init` means: `source` itself, or the copy here of what the hub has as `owner/name`.

    `owner/name@revision` is a branch, tag or commit. Raises CheckpointError when it cannot be fetched.
    """
    path, found = Path(source), HUB_ID.fullmatch(source)
    if path.exists() or path.parent.is_dir() or not found:  # runs/typo is no hub id where there is a folder `runs`
        return path
    return _fetched(*found.groups())


@cache  # one command asks twice: for the settings, then for the weights
def _fetched(repository: str, revision: str | None) -> Path:
    if os.environ.get("MTP_OFFLINE") == "1":
        raise CheckpointError(f"model.init: no '{repository}' here, and MTP_OFFLINE=1 forbids fetching it from the hub")
    try:
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(repository, revision=revision, allow_patterns=list(FILES)))
    except Exception as error:  # network and hub raise many kinds; all mean "no weights"
        where = f"'{repository}'" + (f" at '{revision}'" if revision else "")
        reason = next(iter(str(error).splitlines()), "")
        raise CheckpointError(
            f"model.init: no {where} here, and the hub gives none: {type(error).__name__}: {reason}"
        ) from error


def saved_config(source: str) -> Config:
    """The settings of the checkpoint that `model.init` means. Raises CheckpointError as `load_weights`."""
    return first_sound(located(source), "best", _config)[0]


def _config(folder: SealedFolder) -> Config:
    file = folder.path / "config.json"
    try:
        return check(Config, json.loads(folder.read(file.name)), str(file))
    except (UsageError, ValueError, RecursionError) as error:
        raise CheckpointError(str(error) if isinstance(error, UsageError) else f"{file}: not JSON: {error}") from error
