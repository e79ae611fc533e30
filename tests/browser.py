"""What a page does in headless Chromium: a script of ours is run in it and its answer read from the page."""

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# Runs first, so that nothing that goes wrong is missed.
WATCH = "<script>var problems = []; addEventListener('error', event => problems.push(event.message), true);</script>"
ANSWER = (
    "<script>document.body.append(Object.assign(document.createElement('pre'), {{id: 'answer', textContent: "
    "JSON.stringify((() => {{ {script} }})())}}));</script>"
)


def answer(page: Path, script: str, *, fragment: str = "", flags=()) -> tuple[dict, str]:
    """(what `script`, the body of a function, returns in the loaded page; what the console said)"""
    text = page.read_text(encoding="utf-8").replace("<head>", f"<head>{WATCH}", 1)
    probe = page.with_name("probe.html")
    probe.write_text(text.replace("</body>", f"{ANSWER.format(script=script)}</body>"), encoding="utf-8")
    dom, console = _dump(probe, fragment, flags)
    return json.loads(html.unescape(re.search(r'<pre id="answer">(.*?)</pre>', dom, re.DOTALL)[1])), console


def answer_in_frame(page: Path, script: str, *, width: int, flags=()) -> dict:
    """The same in a frame of `width` pixels, which a window of Chromium's least width may not have."""
    outer = page.with_name("frame.html")
    frame = f'<iframe src="{page.name}" style="width: {width}px; height: 900px; border: 0"></iframe>'
    outer.write_text(
        f"<!doctype html><body>{frame}<script>onload = () => {{ "
        f"const page = document.querySelector('iframe').contentWindow, found = (() => {{ {script} }})(); "
        "document.body.append(Object.assign(document.createElement('pre'), "
        "{id: 'answer', textContent: JSON.stringify(found)})); }</script></body>",
        encoding="utf-8",
    )
    dom, _ = _dump(outer, "", ("--allow-file-access-from-files", *flags))
    return json.loads(html.unescape(re.search(r'<pre id="answer">(.*?)</pre>', dom, re.DOTALL)[1]))


def printed(page: Path) -> list[tuple[float, list[tuple[str, float, float]]]]:
    """Of each sheet of the page on paper its width and its words, each with where it begins and ends, in points."""
    paper = page.with_suffix(".pdf")
    _run(page, "", ("--no-pdf-header-footer", f"--print-to-pdf={paper}"))
    boxes = subprocess.run(["pdftotext", "-bbox", paper, "-"], capture_output=True, text=True, timeout=60, check=True)
    word = re.compile(r'<word xMin="([\d.-]+)".*? xMax="([\d.-]+)".*?>(.*?)</word>')
    width = re.compile(r' width="([\d.]+)"')
    return [
        (float(width.match(sheet)[1]), [(text, float(low), float(high)) for low, high, text in word.findall(sheet)])
        for sheet in boxes.stdout.split("<page")[1:]
    ]


def _dump(page: Path, fragment: str, flags) -> tuple[str, str]:
    """(the document after loading, the lines of the console)"""
    done = _run(page, fragment, ("--dump-dom", *flags))
    return done.stdout, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


def _run(page: Path, fragment: str, flags) -> subprocess.CompletedProcess:
    return subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            f"--user-data-dir={page.parent / 'profile'}",
            "--enable-logging=stderr",
            "--window-size=1280,900",
            *flags,
            f"{page.as_uri()}{fragment}",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "HOME": str(page.parent)},
        check=False,
    )
