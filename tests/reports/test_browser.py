"""The page in a real browser: Chromium without a window, as Debian's package chromium-headless-shell has it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from html import unescape

import numpy as np
import pytest
from PIL import Image

from multitask.reports.report import Section, write_report

from .samples import NAMES, bars, captions, everything, gallery, image, lines, matrix, table

BROWSER = next(filter(None, map(shutil.which, ("chromium-headless-shell", "chromium", "google-chrome"))), None)
PHONE, DESK = (390, 844), (1280, 900)
PROBE = """<script>
addEventListener("load", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
  const root = document.documentElement;
  root.dataset.found = JSON.stringify({
    width: innerWidth,
    needed: root.scrollWidth,
    images: [...document.images].map(image => image.complete && image.naturalWidth),
    wide: [...document.querySelectorAll("main *")].filter(one => !one.closest(".scroll *")
      && one.getBoundingClientRect().right > innerWidth + 1).map(one => one.className || one.tagName),
    across: document.querySelectorAll(".case").length && new Set(
      [...document.querySelectorAll(".cases")[0].children].map(one => one.getBoundingClientRect().left)).size,
    print: Math.min(...[...document.querySelectorAll("main *")].map(one => parseFloat(getComputedStyle(one).fontSize))),
  });
});
</script>"""


@pytest.fixture(scope="module", autouse=True)
def _browser():
    if BROWSER is None and os.environ.get("MTP_BROWSER") == "required":
        pytest.fail("no browser: apt-get install chromium-headless-shell, or unset MTP_BROWSER")
    if BROWSER is None:
        pytest.skip("no browser: apt-get install chromium-headless-shell")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A report of two tasks: one as it should be, one full of odd names."""
    names = [f"category {i}" for i in range(30)]
    figures = [
        table(names),
        gallery(range(3)),
        lines(),
        bars(),
        matrix(names),
        captions("斑马 حمار 🦓 and some words more"),
    ]
    scores = {f"AP{i}": 0.1 * i for i in range(9)}
    sections = [Section("det", scores, figures, image), Section(NAMES[5], {NAMES[5]: None}, everything(), image)]
    return write_report(tmp_path_factory.mktemp("report"), NAMES[5], {"made": NAMES[5], "data": NAMES[2]}, sections)


def browse(path, size, folder, *options):
    """What the browser writes to stdout and stderr."""
    how = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=3000"]
    where = [f"--user-data-dir={folder / 'profile'}", f"--window-size={size[0]},{size[1]}", path.as_uri()]
    command = [BROWSER, *how, "--enable-logging=stderr", "--v=0", *options, *where]
    done = subprocess.run(command, capture_output=True, timeout=60, check=True)
    return done.stdout.decode(), done.stderr.decode()


def complaints(log):
    return [line for line in log.splitlines() if "CONSOLE" in line or "violates" in line]


def probed(path, size, folder):
    """What a script finds on a copy of the page that may run it."""
    copy, found = folder / "copy.html", path.read_text(encoding="utf-8")
    free, times = re.subn(r"<meta http-equiv[^>]*>", "", found)
    assert times == 1
    copy.write_text(free.replace("</body>", f"{PROBE}</body>"), encoding="utf-8")
    dump, _ = browse(copy, size, folder, "--dump-dom")
    return json.loads(unescape(re.search(r'data-found="([^"]*)"', dump)[1]))


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_a_page_is_shown_whole_and_without_a_complaint(page, tmp_path, size) -> None:
    _, log = browse(page, size, tmp_path, f"--screenshot={tmp_path / 'seen.png'}")
    assert not complaints(log)
    seen = np.asarray(Image.open(tmp_path / "seen.png").convert("RGB"))
    assert len(np.unique(seen.reshape(-1, 3), axis=0)) > 100  # pictures and print, not one colour


def test_a_phone_needs_no_scrolling_sideways(page, tmp_path) -> None:
    found = probed(page, PHONE, tmp_path)
    assert found["needed"] <= found["width"] <= 500 and not found["wide"]  # some browsers have no narrower window
    assert found["across"] == 1 and found["print"] >= 13
    assert len(found["images"]) >= 20 and all(found["images"])


def test_a_desk_shows_pictures_side_by_side(page, tmp_path) -> None:
    found = probed(page, DESK, tmp_path)
    assert found["needed"] <= found["width"] and found["across"] == 2 and all(found["images"])


def test_these_tests_would_see_a_fault(page, tmp_path) -> None:
    wrong = '<img src="data:image/png;base64,AAAA"><img src="https://127.0.0.1:9/a.png"><script>1</script>'
    bad = tmp_path / "bad.html"
    bad.write_text(
        page.read_text(encoding="utf-8").replace("<footer>", f'{wrong}<p style="width: 50rem">wide</p><footer>'),
        encoding="utf-8",
    )
    _, log = browse(bad, PHONE, tmp_path, "--dump-dom")
    assert len(complaints(log)) == 2
    found = probed(bad, PHONE, tmp_path)
    assert found["needed"] > found["width"] and not all(found["images"])
