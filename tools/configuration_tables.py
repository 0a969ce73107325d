"""Writes the tables of every config key into docs/configuration.md, from the models themselves.

    python tools/configuration_tables.py docs/configuration.md

What stands above the line MARK is kept as it is.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from multitask import plugins
from multitask.config import Config

MARK = "<!-- below: written by tools/configuration_tables.py -->"
OURS = "multitask-prompts"  # tasks of other distributions document themselves


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """(dotted key, values, default, description) of every setting, sections within sections included."""
    schema = model.model_json_schema()
    for name, entry in schema["properties"].items():
        inner = _section(model, name)
        if inner is None or entry.get("default") != inner().model_dump(mode="json"):
            default = json.dumps(entry["default"]) if "default" in entry else "required"
            yield f"{prefix}{name}", _values(entry, schema), default, entry.get("description", "")
        yield from keys(inner, f"{prefix}{name}.") if inner else ()


def _section(model: type[BaseModel], name: str) -> type[BaseModel] | None:
    annotation = model.model_fields[name].annotation
    kinds = (annotation, *getattr(annotation, "__args__", ()))
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _values(entry: dict[str, Any], schema: dict[str, Any]) -> str:
    if "$ref" in entry:
        return "keys and values"
    if "anyOf" in entry:
        return " or ".join(_values(one, schema) for one in entry["anyOf"])
    if "enum" in entry:
        return ", ".join(json.dumps(value) for value in entry["enum"])
    if entry["type"] == "array":
        items = entry.get("prefixItems", [entry.get("items", {"type": "value"})])
        return "list of " + ", ".join(_values(item, schema) for item in items)
    words = {"object": "keys and values", "string": "text", "boolean": "true or false", "null": "null"}
    return words.get(entry["type"], entry["type"]) + _limits(entry)


def _limits(entry: dict[str, Any]) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    found = [f"{sign} {entry[key]:.10g}" for key, sign in signs.items() if key in entry]
    found += [f"multiple of {entry['multipleOf']}"] if "multipleOf" in entry else []
    return f" {', '.join(found)}" if found else ""


def tables() -> str:
    """Every key of a config, then of the options of each built-in task, as Markdown."""
    parts = ["## All keys", _table(keys(Config))]
    for plugin in plugins.installed():
        if plugin.distribution == OURS:
            options = plugins.load(plugin.name).Options
            parts += [f"## Options of `{plugin.name}`", _table(keys(options, f"tasks.{plugin.name}."))]
    return "\n\n".join(parts) + "\n"


def _table(rows: Iterator[tuple[str, str, str, str]]) -> str:
    head = ["| key | values | default | meaning |", "| --- | --- | --- | --- |"]
    lines = [f"| `{key}` | {values} | `{default}` | {meaning} |" for key, values, default, meaning in rows]
    return "\n".join(head + lines)


def page(old: str) -> str:
    """The page with its tables written anew."""
    return f"{old.partition(MARK)[0]}{MARK}\n\n{tables()}"


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(page(path.read_text(encoding="utf-8")), encoding="utf-8")
