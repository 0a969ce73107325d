"""Tasks are found through the entry-point group `multitask.tasks`: listed without importing, loaded by name.

Authors: the plain entry point equals the class attribute `name`, further ones are marked (installers keep no order):

    [project.entry-points."multitask.tasks"]
    count = "counting:Counting"
    howmany = "counting:Counting [alias]"
"""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from .errors import UsageError, nearest

if TYPE_CHECKING:
    from .task import Task

GROUP = "multitask.tasks"


@dataclass(frozen=True, order=True)
class Plugin:
    """One installed task: its name and `names` (aliases too), who ships it, and its class as `module:Class`."""

    name: str
    names: tuple[str, ...]
    distribution: str
    version: str
    value: str

    def __str__(self) -> str:
        return f"task '{self.name}' of {self.distribution} {self.version} ({self.value})"


def installed() -> list[Plugin]:
    """All tasks by name, or those in `MTP_TASKS=det,caption` (UsageError: one is not installed); imports none."""
    found: defaultdict[tuple[str, str, str], list[tuple[bool, str]]] = defaultdict(list)
    for entry in entry_points(group=GROUP):
        value, _, mark = entry.value.partition("[")
        origin = (entry.dist.name, entry.dist.version) if entry.dist else ("unknown", "?")
        found[(*origin, value.strip())].append(("alias" in mark, entry.name))
    ordered = {key: tuple(name for _, name in sorted(names)) for key, names in found.items()}
    return _limited(sorted(Plugin(names[0], names, *key) for key, names in ordered.items()))


def find(name: str) -> Plugin:
    """The task of this name or alias, not imported. Raises UsageError when there is none, or more than one."""
    plugins = installed()
    found = [plugin for plugin in plugins if name in plugin.names]
    if not found:
        raise _unknown(f"no task '{name}' is installed", name, plugins)
    if len(found) > 1:
        raise UsageError(f"'{name}' is claimed by {' and by '.join(map(str, found))}: uninstall one of them")
    return found[0]


def load(name: str) -> type[Task]:
    """Import the task of this name or alias. Raises UsageError, in one line, whatever is wrong with it."""
    from .task import Task

    plugin = find(name)
    try:
        task = EntryPoint(plugin.name, plugin.value, GROUP).load()
    except (Exception, SystemExit) as error:  # a plugin may fail in any way, and must not take the others with it
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UsageError(f"{plugin} cannot be imported: {reason}") from error
    if not (isinstance(task, type) and issubclass(task, Task)):
        raise UsageError(f"{plugin} is not a subclass of multitask.task.Task")
    if (declared := getattr(task, "name", None)) != plugin.name:
        raise UsageError(f"{plugin} has name = {declared!r}: make both equal, mark its other entry points with [alias]")
    return task


def _limited(plugins: list[Plugin]) -> list[Plugin]:
    wanted = {word.strip() for word in os.environ.get("MTP_TASKS", "").split(",")} - {""}
    for word in sorted(wanted.difference(*(plugin.names for plugin in plugins))):
        raise _unknown(f"MTP_TASKS has '{word}', which is not installed", word, plugins)
    return [plugin for plugin in plugins if not wanted or wanted & set(plugin.names)]


def _unknown(problem: str, name: str, plugins: list[Plugin]) -> UsageError:
    hint = nearest(name, [name for plugin in plugins for name in plugin.names])
    known = ", ".join(plugin.name for plugin in plugins) or "none"
    limit = " (limited by MTP_TASKS)" if os.environ.get("MTP_TASKS") else ""
    return UsageError(f"{problem}{hint}; installed: {known}{limit}; a new entry point needs `pip install -e .` again")
