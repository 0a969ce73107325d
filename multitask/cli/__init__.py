"""The command `mtp`: words to config to one call. torch is imported only when a command needs it."""

from __future__ import annotations

from .app import main

__all__ = ["main"]
