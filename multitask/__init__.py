"""Many vision tasks as one language-modelling problem: prompts in, tokens out.

The public names. Each is loaded when it is first used, so that `import multitask` is quick and imports no torch.
Authors of tasks find the rest in `multitask.task`, `multitask.annotations` and `multitask.testing`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .annotations import Annotation as Annotation
    from .annotations import Boxes as Boxes
    from .annotations import Captions as Captions
    from .annotations import Keypoints as Keypoints
    from .annotations import Labels as Labels
    from .annotations import Polygons as Polygons
    from .assembly import open_run as open_run
    from .attention import AttentionMap as AttentionMap
    from .attention import attention_maps as attention_maps
    from .attention import draw_attention as draw_attention
    from .config import load_config as load_config
    from .data.images import read_image as read_image
    from .errors import MtpError as MtpError
    from .example import Example as Example
    from .example import Prediction as Prediction
    from .task import Decoded as Decoded
    from .task import Grammar as Grammar
    from .task import Passage as Passage
    from .task import Query as Query
    from .task import State as State
    from .task import Target as Target
    from .task import Task as Task
    from .task import TaskOptions as TaskOptions
    from .task import View as View

__version__ = "0.1.0"

_NAMES = {
    "annotations": "Annotation Boxes Captions Keypoints Labels Polygons",
    "assembly": "open_run",
    "attention": "AttentionMap attention_maps draw_attention",
    "config": "load_config",
    "data.images": "read_image",
    "errors": "MtpError",
    "example": "Example Prediction",
    "task": "Decoded Grammar Passage Query State Target Task TaskOptions View",
}
_HOME = {name: module for module, names in _NAMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'multitask' has no attribute '{name}'")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
