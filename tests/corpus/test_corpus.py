"""Broken data sets of every kind: each is refused, or named where it is broken, or sound; nothing bad gets through.

`manifest` has those that were written by hand, with what must become of each; `mutations` makes more by chance, and
`reference` tells what must become of those. MTP_LONG=1 takes all of them.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from multitask.data.formats.layout import Place
from multitask.data.survey.inspection import Report, inspect
from multitask.errors import DataError

from .. import command_line as tools
from . import coco_values, reference_coco, reference_texts
from .cases import Accepted, Case, Expected, Files, Left, Refused, Told, write
from .manifest import CASES
from .mutations import Mutation, mutations
from .reference import Unsure, Verdict
from .soundness import check_report

LOADED = "import PIL.Image, multitask.cli.data_check, multitask.data.survey.inspection; PIL.Image.init()"
MEMORY = 1_500_000  # KiB over what a good set takes
LONG = os.environ.get("MTP_LONG") == "1"
MUTATIONS, COMMANDS = (500, 60) if LONG else (100, 12)
JUDGES = {
    "coco": reference_coco.judge,
    "voc": reference_texts.judge_voc,
    "yolo": reference_texts.judge_yolo,
    "captions": reference_texts.judge_csv,
}
MUTATED = mutations(MUTATIONS)
USED = [case for case in CASES if not isinstance(case.expected, Refused)]


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tools.Shell]:
    with tools.Shell(tmp_path_factory.mktemp("corpus"), LOADED) as found:
        yield found


@pytest.fixture(scope="module")
def idle(shell: tools.Shell) -> int:
    """KiB that the command takes to say what it can do."""
    return shell.mtp("data", "check", "--help").peak


def checked(shell: tools.Shell, idle: int, root: Path) -> tuple[tools.Done, dict[str, Any]]:
    """What the command says of a data set: its report is empty where it is refused."""
    done = shell.mtp("data", "check", str(root), "--json")
    assert "Traceback" not in done.out + done.err
    assert done.code in (0, 4), (done.code, done.err)
    assert done.peak - idle < MEMORY
    if not done.out:
        assert done.code == 4 and done.line.startswith("error: ")
        return done, {}
    report = json.loads(done.out)
    lost = any(fault["lost"] for split in report["splits"].values() for fault in split["faults"])
    assert done.code == (4 if lost else 0)
    return done, report


def faults(report: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    found = [fault for split in report["splits"].values() for fault in split["faults"]]
    return [(fault["file"], fault["where"], fault["field"], fault["action"]) for fault in found]


# ------------------------------------------------------------------------------------------------------------- by hand


def test_the_corpus_is_large_and_no_case_is_there_twice() -> None:
    names = list(map(str, CASES))
    assert len(set(names)) == len(names) >= 500
    kinds = {(case.format, type(case.expected)) for case in CASES}
    assert len(kinds) == 5 * 3  # every format is accepted, told of and refused


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_is_written_by_hand(case: Case, shell: tools.Shell, idle: int, tmp_path: Path) -> None:
    done, report = checked(shell, idle, case.write(tmp_path / "set"))
    if isinstance(case.expected, Refused):
        assert not report
        assert all(word in done.line for word in case.expected.words), done.line
        return
    assert report, done.err
    assert report["format"] == case.format
    assert faults(report) == told(case.expected)
    left = [sum(split[part] for split in report["splits"].values()) for part in ("images", "annotations")]
    assert tuple(left) == expected_left(case)


def told(expected: Expected) -> list[tuple[str, str, str, str]]:
    every = (expected, *expected.others) if isinstance(expected, Told) else ()
    return [(one.file, one.where, one.field, one.action) for one in every]


def expected_left(case: Case) -> Left:
    assert isinstance(case.expected, Accepted | Told)
    if case.expected.left is not None:
        return case.expected.left
    images, annotations = case.left
    return images, annotations - (isinstance(case.expected, Told) and case.expected.action == "skipped")


@pytest.mark.parametrize("case", USED[:: 1 if LONG else 4], ids=str)
def test_what_is_used_is_sound(case: Case, tmp_path: Path) -> None:
    check_report(inspect(Place(str(case.write(tmp_path / "set")))))


def test_names_cannot_steer_the_terminal(shell: tools.Shell, tmp_path: Path) -> None:
    files = coco_values.good()
    hostile = "\x1b]0;title\x07\x1b[2J[red]<b>\u202e\nerror: none"
    coco_values.put(coco_values.CAPTIONS, "images", 1, id=hostile, file_name=f"{hostile}.png")(files)
    coco_values.put(coco_values.INSTANCES, "annotations", 0, id=hostile)(files)
    coco_values.put(coco_values.INSTANCES, "categories", 1, name=hostile, id="\x1b[0m")(files)
    files[f"annotations/instances_{hostile.replace('/', '')}.json"] = "{}"
    done = shell.mtp("data", "check", str(write(tmp_path, files)))
    assert done.code == 4 and "\x1b" not in done.out + done.err and "\u202e" not in done.out + done.err
    assert not re.search("^error: none", done.out + done.err, re.MULTILINE)


# ----------------------------------------------------------------------------------------------------------- by chance


def inspected(root: Path) -> Report | None:
    """What the reader says; None where it refuses, in one line."""
    try:
        return inspect(Place(str(root)))
    except DataError as error:
        line = str(error)
    assert line and "\n" not in line
    return None


def expected_verdict(mutation: Mutation, files: Files) -> Verdict | None:
    """None where the reference does not know."""
    try:
        return JUDGES[mutation.format](files)
    except Unsure:
        return None


def used(report: Report, by_id: bool) -> dict[Any, dict[str, Any]]:
    """As `Verdict.used`."""
    found: dict[Any, dict[str, Any]] = {}
    for image in (image for table in report.splits.tables.values() for image in table.images):
        kinds = {
            kind: [one.id if by_id else one.category.name for one in image.objects[kind]] for kind in image.objects
        }
        found[image.id] = kinds | ({} if image.captions is None else {"captions": len(image.captions)})
    return found


@pytest.mark.parametrize("mutation", MUTATED, ids=str)
def test_what_chance_changed(mutation: Mutation, tmp_path: Path) -> None:
    files = mutation.files()
    report, expected = inspected(write(tmp_path / "set", files)), expected_verdict(mutation, files)
    if report is not None:
        check_report(report)
    if expected is None:
        return
    assert (report is None) == expected.refused, expected
    if report is not None:
        places = [(fault.file, fault.where, fault.field) for fault in report.faults]
        assert sorted(places) == sorted(expected.faults)
        assert used(report, mutation.format == "coco") == expected.used


@pytest.mark.parametrize("mutation", MUTATED[:: len(MUTATED) // COMMANDS], ids=str)
def test_the_command_says_the_same(mutation: Mutation, shell: tools.Shell, idle: int, tmp_path: Path) -> None:
    root = write(tmp_path / "set", mutation.files())
    (_, said), report = checked(shell, idle, root), inspected(root)
    assert bool(said) == (report is not None)
    if report is not None:
        assert faults(said) == [(fault.file, fault.where, fault.field, fault.action) for fault in report.faults]


def test_the_reference_knows_most_and_finds_all_sorts() -> None:
    verdicts = [found for mutation in MUTATED if (found := expected_verdict(mutation, mutation.files()))]
    assert len(verdicts) > 0.75 * len(MUTATED)
    refusals, faulty = (sum(map(bool, found)) for found in zip(*((v.refused, v.faults) for v in verdicts), strict=True))
    assert refusals > 0.1 * len(MUTATED) and faulty > 0.3 * len(MUTATED)
