"""Hand-written YAML: read by the 1.2 core rules, checked against strict models, refused in one line that names the key.

`no` is a word, `1e-4` a number; duplicate keys, tags and alias bombs are refused; values share nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from .errors import UsageError, escaped, nearest

MAX_BYTES, MAX_NODES, MAX_DEPTH = 1_000_000, 100_000, 100  # a hand-written file never comes near any of them

_NUMBER = r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
_SPECIAL = r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
_INTEGER = r"[-+]?[0-9]{1,30}|0o[0-7]{1,20}|0x[0-9a-fA-F]{1,16}"  # longer ones could not even be printed
_CORE: dict[str, tuple[str, Callable[[str], Any]]] = {  # plain scalars by tag, in order of trial
    "null": (r"~|null|Null|NULL|", lambda text: None),
    "bool": (r"true|True|TRUE|false|False|FALSE", lambda text: text.lower() == "true"),
    "int": (_INTEGER, lambda text: int(text, 0 if text[:2] in ("0o", "0x") else 10)),
    "float": (rf"{_NUMBER}|{_SPECIAL}", lambda text: float(re.sub(r"\.(?=[inIN])", "", text))),
}
_TAG = "tag:yaml.org,2002:"
_SCALARS = {_TAG + name: make for name, (_, make) in _CORE.items()} | {_TAG + "str": str}

M = TypeVar("M", bound="Section")


class Section(BaseModel):
    """Frozen; unknown keys, NaN, and values of another type are refused; an empty YAML section means defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _empty(cls, value: Any) -> Any:
        return {} if value is None else value


def refusal(message: str) -> UsageError:
    """The error as one printable line, whatever characters the file or the command line had."""
    return UsageError(escaped(message))


class _Loader(yaml.SafeLoader):
    """SafeLoader that resolves plain scalars by the 1.2 core rules alone; values are built by `_build`."""


class _Dumper(yaml.SafeDumper):
    """Quotes exactly what `_Loader` would take for something else, and writes no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        """In double quotes, which alone can escape, where line separators such as U+0085 would be lost."""
        return self.represent_scalar(_TAG + "str", data, style=None if data.isprintable() else '"')


_Dumper.add_representer(str, _Dumper.represent_str)
_Loader.yaml_implicit_resolvers, _Dumper.yaml_implicit_resolvers = {}, {}  # the rules of YAML 1.1
for _name, (_pattern, _) in _CORE.items():
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(rf"({_pattern})\Z"), None)
    _Dumper.add_implicit_resolver(_TAG + _name, re.compile(rf"({_pattern})\Z"), None)


def read_yaml(source: Path | Traversable) -> Any:
    """The one document of a file or package resource as dicts, lists and scalars that share nothing.

    Raises UsageError in one line, with the line number where there is one: not a regular file, over 1 MB, not UTF-8,
    syntax, duplicate keys, tags, aliases that expand to more than 100,000 nodes, nesting deeper than 100.
    """
    try:
        if not source.is_file():
            raise refusal(f"{source}: not a file")
        with source.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise refusal(f"{source}: larger than {MAX_BYTES} bytes, not a settings file")
        return parse_yaml(content.decode("utf-8-sig"), str(source))
    except UnicodeDecodeError as error:
        raise refusal(f"{source}: byte {error.start} is not UTF-8 text") from None
    except OSError as error:
        raise refusal(f"{source}: cannot be read: {error.strerror}") from None


def parse_yaml(text: str, where: str) -> Any:
    """As `read_yaml`, for text; `where` stands for the file in errors."""
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        return None if node is None else _build(node, where, [0], 0)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f" line {mark.line + 1}:" if mark else ""
        raise refusal(f"{where}:{line} not valid YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise refusal(f"{where}: not valid YAML: {str(error).splitlines()[0]}") from None
    except RecursionError:
        raise refusal(f"{where}: nested deeper than {MAX_DEPTH} levels") from None


def parse_scalar(text: str, where: str) -> Any:
    """A value typed after `key=`: a number, true, null or text as it stands; `[`, `{` and quotes start YAML syntax."""
    if text[:1] in tuple("[{\"'"):
        return parse_yaml(text, where)
    tag = next((name for name, (pattern, _) in _CORE.items() if re.fullmatch(pattern, text)), "str")
    return _build(yaml.ScalarNode(_TAG + tag, text), where, [0], 0)


def dump_yaml(value: Any) -> str:
    """YAML that `parse_yaml` reads back as an equal value (dicts, lists, str, numbers, bool, None)."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def _build(node: yaml.Node, where: str, count: list[int], depth: int) -> Any:
    """Expands aliases while counting nodes in `count`, so that a bomb or a cycle stops at the cap."""
    count[0] += 1
    line = f"{where}: line {node.start_mark.line + 1}" if node.start_mark else where
    if count[0] > MAX_NODES:
        raise refusal(f"{line}: aliases expand to more than {MAX_NODES} values")
    if depth > MAX_DEPTH:
        raise refusal(f"{line}: nested deeper than {MAX_DEPTH} levels")
    if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
        return [_build(item, where, count, depth + 1) for item in node.value]
    if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
        return _mapping(node, where, count, depth)
    if not isinstance(node, yaml.ScalarNode) or node.tag not in _SCALARS:
        raise refusal(f"{line}: tag '{node.tag.replace(_TAG, '!!')}' is not allowed; write plain values")
    try:
        return _SCALARS[node.tag](node.value)
    except ValueError:
        raise refusal(f"{line}: {node.value[:40]!r} is not a {node.tag.replace(_TAG, '')}") from None


def _mapping(node: yaml.MappingNode, where: str, count: list[int], depth: int) -> dict[Any, Any]:
    result: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        line = f"{where}: line {key_node.start_mark.line + 1}"
        if not isinstance(key_node, yaml.ScalarNode):
            raise refusal(f"{line}: a key must be a single word or number")
        key = _build(key_node, where, count, depth + 1)
        if key in result:
            raise refusal(f"{line}: key '{key}' stands twice")
        result[key] = _build(value_node, where, count, depth + 1)
    return result


def check(model_type: type[M], raw: Any, source: str, prefix: str = "", origins: Mapping[str, str] | None = None) -> M:
    """`raw` as a `model_type`. Raises UsageError: `source`, the dotted key after `prefix`, and what is expected there.

    `origins` maps keys that came from elsewhere than `source` to a name for that place.
    """
    try:
        return model_type.model_validate(raw)
    except ValidationError as error:
        faults = error.errors(include_url=False)
    first = min(faults, key=lambda fault: fault["type"] == "missing")  # a key may be missing since it is misspelt
    unknown, reason = first["type"] == "extra_forbidden", first["msg"].removeprefix("Value error, ")
    path = _path(first["loc"], raw, first["type"] == "missing")
    for key, origin in (origins or {}).items():  # the whole key says more than the section where validation stopped
        if f"{key}.".startswith(f"{path}.") or f"{path}.".startswith(f"{key}.") or (not path and key in reason):
            source, path = origin, key if unknown else path
    if unknown:
        reason = "unknown key" + _suggest(prefix + path, [prefix + key for key in _keys(model_type)])
    elif first["type"] == "missing":
        reason = "is missing"
    elif first["type"] == "invalid_key":
        reason = f"a key must be text, got {shorten(first['input'])}"
    elif first["type"] not in ("value_error", "too_short"):
        expected = re.sub("a valid dictionary.*", "keys and values", reason.removeprefix("Input should be "))
        reason = f"expected {expected}, got {shorten(first['input'])}"
    raise refusal(": ".join(filter(None, (source, (prefix + path).rstrip("."), reason))))


def _path(loc: tuple[int | str, ...], raw: Any, missing: bool) -> str:
    """The dotted key of an error: `loc` without the members of unions, which are no part of the data."""
    keys = []
    for part in loc:
        try:
            raw = raw[part]
        except (LookupError, TypeError):
            break
        keys.append(str(part))
    return ".".join([*keys, str(loc[-1])] if missing else keys)


def _keys(model_type: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every dotted key of a model, sections included."""
    for name, field in model_type.model_fields.items():
        yield prefix + name
        for kind in (field.annotation, *get_args(field.annotation)):  # a section, or a section | None
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from _keys(kind, f"{prefix}{name}.")


def _suggest(key: str, known: Sequence[str]) -> str:
    """The valid key closest to `key`: the same name in another section, else the closest spelling, else a list."""
    section, _, name = key.rpartition(".")
    names = {k.rpartition(".")[2]: k for k in reversed(known)}
    siblings = [k.rpartition(".")[2] for k in known if k.rpartition(".")[0] == section]
    if name in names:
        return f"; did you mean '{names[name]}'?"
    return nearest(key, known) or f"; there are: {', '.join(siblings or known)}"


def shorten(value: Any) -> str:
    """The value as Python writes it, cut to 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
