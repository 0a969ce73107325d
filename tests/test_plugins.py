from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import multitask
from multitask import plugins
from multitask.errors import UsageError
from multitask.task import Task

Ship = Callable[..., None]

COUNTING = """
from multitask.task import Task
class Counting(Task):
    name = "count"
    kinds = ("boxes",)
"""


@pytest.fixture
def ship(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ship:
    """Installs a distribution with one module and some entry points, as an installer would lay it out."""
    monkeypatch.delenv("MTP_TASKS", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(distribution: str, entries: str, code: str = "", version: str = "1.0") -> None:
        module = f"shipped_by_{distribution}"
        (tmp_path / f"{module}.py").write_text(code)
        info = tmp_path / f"{distribution}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[{plugins.GROUP}]\n{entries.replace('MODULE', module)}\n")
        monkeypatch.delitem(sys.modules, module, raising=False)

    return write


def names() -> list[str]:
    return [plugin.name for plugin in plugins.installed()]


def test_the_built_in_tasks_come_in_by_entry_points() -> None:
    found = {plugin.name: plugin for plugin in plugins.installed() if plugin.distribution == "multitask-prompts"}
    assert found["det"].names == ("det", "detect", "detection")
    assert found["caption"].names == ("caption", "cap", "captioning", "describe")
    assert {plugin.version for plugin in found.values()} == {multitask.__version__}
    assert found["det"].value == "multitask.tasks.detection:Detection"


@pytest.mark.parametrize("plugin", plugins.installed(), ids=lambda plugin: plugin.name)
def test_every_installed_task_loads_by_all_its_names(plugin: plugins.Plugin) -> None:
    assert {plugins.load(name).name for name in plugin.names} == {plugin.name}


def test_a_third_party_task_is_listed_and_loaded_by_name_and_alias(ship: Ship) -> None:
    ship("counting", "count = MODULE:Counting\nhowmany = MODULE:Counting [alias]", COUNTING, "1.2")
    plugin = plugins.find("howmany")
    assert plugin == plugins.Plugin("count", ("count", "howmany"), "counting", "1.2", "shipped_by_counting:Counting")
    assert str(plugin) == "task 'count' of counting 1.2 (shipped_by_counting:Counting)"
    assert issubclass(plugins.load("howmany"), Task)
    assert plugins.load("count") is plugins.load("howmany")


@pytest.mark.parametrize("order", [("zz", "aa [alias]", "mm [alias]"), ("mm [alias]", "zz", "aa [alias]")])
def test_the_name_does_not_depend_on_the_order_of_entry_points(ship: Ship, order: tuple[str, ...]) -> None:
    lines = [f"{name.partition(' ')[0]} = MODULE:T {name.partition(' ')[2]}" for name in order]
    ship("ordered", "\n".join(lines))
    assert plugins.find("mm").names == ("zz", "aa", "mm")


def test_tasks_are_listed_in_the_order_of_their_names(ship: Ship) -> None:
    ship("late", "zzz = MODULE:T")
    ship("early", "aaa = MODULE:T")
    assert names() == sorted(names())
    assert {"aaa", "zzz", "det"} <= set(names())


def test_listing_imports_no_task_and_no_torch() -> None:
    code = "import sys; from multitask import plugins; plugins.installed(); plugins.find('det'); print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    modules = run.stdout.split()
    assert "multitask.plugins" in modules
    assert not [m for m in modules if m.partition(".")[0] in {"torch", "numpy", "sentencepiece"}]
    assert not [m for m in modules if m.startswith("multitask.tasks")]


BROKEN = {
    "raises": ("raise RuntimeError('no\\nsuch thing')", "cannot be imported: RuntimeError: no such thing"),
    "exits": ("import sys; sys.exit(3)", "cannot be imported: SystemExit: 3"),
    "syntax": ("class Broken(:", "cannot be imported: SyntaxError"),
    "missing": ("", "cannot be imported: AttributeError"),
    "no class": ("Broken = 7", "is not a subclass of multitask.task.Task"),
    "other class": ("class Broken: name = 'broken'", "is not a subclass of multitask.task.Task"),
    "unnamed": ("from multitask.task import Task\nclass Broken(Task): pass", "has name = None"),
    "misnamed": (COUNTING + "Broken = Counting", "has name = 'count': make both equal"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plugin_is_one_line_and_stops_no_other(ship: Ship, case: str) -> None:
    code, message = BROKEN[case]
    ship("bad", "broken = MODULE:Broken", code)
    ship("counting", "count = MODULE:Counting", COUNTING)
    with pytest.raises(UsageError) as caught:
        plugins.load("broken")
    assert str(caught.value).startswith("task 'broken' of bad 1.0 (shipped_by_bad:Broken) ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert {"broken", "count"} <= set(names())
    assert plugins.load("count").name == "count"


@pytest.mark.parametrize("value", ["no_such_module_here:T", "not a reference", ":", "a.b.c:d:e"])
def test_an_entry_point_that_leads_nowhere_is_one_line(ship: Ship, value: str) -> None:
    ship("bad", f"broken = {value}")
    with pytest.raises(UsageError, match=r"task 'broken' of bad 1.0 .* cannot be imported"):
        plugins.load("broken")


def test_a_name_that_two_distributions_claim_is_refused_and_no_other(ship: Ship) -> None:
    ship("counting", "count = MODULE:Counting", COUNTING)
    ship("rival", "count = MODULE:Counting\nrival = MODULE:Rival", COUNTING + "class Rival(Counting): name = 'rival'")
    with pytest.raises(
        UsageError, match=r"'count' is claimed by task 'count' of counting 1\.0 .* and by .* of rival 1\.0"
    ):
        plugins.load("count")
    assert plugins.load("rival").name == "rival"
    assert names().count("count") == 2  # both are shown


def test_an_alias_cannot_take_a_name_over(ship: Ship) -> None:
    ship("rival", "rival = MODULE:T\ndet = MODULE:T [alias]")
    with pytest.raises(
        UsageError, match=r"'det' is claimed by .* of multitask-prompts .* and by task 'rival' of rival"
    ):
        plugins.find("det")


def test_an_unknown_name_gets_the_nearest_and_the_way_out(ship: Ship) -> None:
    ship("counting", "count = MODULE:Counting", COUNTING)
    with pytest.raises(UsageError, match=r"no task 'cuont' is installed; did you mean 'count'\?") as caught:
        plugins.load("cuont")
    assert "installed: caption, count, det" in str(caught.value)
    assert "needs `pip install -e .` again" in str(caught.value)


def test_the_environment_limits_the_tasks(ship: Ship, monkeypatch: pytest.MonkeyPatch) -> None:
    ship("counting", "count = MODULE:Counting\nhowmany = MODULE:Counting [alias]", COUNTING)
    monkeypatch.setenv("MTP_TASKS", " howmany, det,")
    assert names() == ["count", "det"]
    with pytest.raises(UsageError, match=r"no task 'caption' is installed.* count, det \(limited by MTP_TASKS\)"):
        plugins.load("caption")
    monkeypatch.setenv("MTP_TASKS", "dett")
    with pytest.raises(UsageError, match=r"MTP_TASKS has 'dett', which is not installed; did you mean 'det'\?"):
        plugins.installed()
    monkeypatch.setenv("MTP_TASKS", "")
    assert {"caption", "count", "det"} <= set(names())
