"""Many vision tasks as one language-modelling problem: prompts in, tokens out."""

from __future__ import annotations

__version__ = "0.1.0"
