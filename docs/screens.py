"""docs/screens/: the README, the demo's end and the report's example page as people meet them.

    python merginguriel demo > demo.txt
    python docs/screens.py demo.txt     # without it, all but the demo's end

By Chromium and poppler's pdftoppm: Debian's packages chromium and poppler-utils. Chromium's windows are not as narrow
as a phone; a frame in one is.
"""

import html
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from markdown_it import MarkdownIt
from PIL import Image

DOCS = Path(__file__).resolve().parent
README, PAGE = DOCS.parent / "README.md", DOCS / "results/votes_and_merges.html"
BROWSER = "chromium --headless --no-sandbox --disable-gpu --no-first-run --hide-scrollbars".split()
# Width, height, how far down the page, in pixels; whether the system's setting is dark.
SCREENS = {"page": (1280, 1500, 0, False), "page_390": (390, 1500, 1640, False), "page_dark": (1280, 1500, 2350, True)}


# The README in the manner of the places that show it, the demo in that of a terminal of 80 columns.
READING = """body {font: 16px/1.5 sans-serif; max-width: 62em; margin: 2em auto; color: #1f2328}
table {border-collapse: collapse} th, td {border: 1px solid #d1d9e0; padding: 6px 13px; text-align: left}
img {max-width: 100%} a {color: #0969da} pre {background: #f6f8fa; padding: 1em} code {font-size: 85%}"""
TERMINAL = "body {margin: 0; background: #17181c} pre {color: #e8e8e6; font: 15px/1.35 monospace; padding: 12px}"


def browse(folder: Path, *flags: str) -> None:
    subprocess.run(
        [*BROWSER, f"--user-data-dir={folder / 'profile'}", "--allow-file-access-from-files", *flags],
        check=True,
        capture_output=True,
        timeout=120,
    )


def screen(folder: Path, width: int, height: int, down: int, dark: bool, page: Path = PAGE) -> Image.Image:
    frame, shot = folder / "frame.html", folder / "shot.png"
    style = f"width: {width}px; height: {height + down}px; margin-top: -{down}px; border: 0"
    frame.write_text(f'<body style="margin: 0"><iframe src="{page.as_uri()}" style="{style}"></iframe>')
    setting = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    browse(folder, setting, f"--window-size={max(width, 500)},{height}", f"--screenshot={shot}", frame.as_uri())
    return Image.open(shot).convert("RGB").crop((0, 0, width, height))


def written(folder: Path, style: str, body: str) -> Path:
    page = folder / "written.html"
    base = f'<meta charset="utf-8"><base href="{README.as_uri()}">'
    page.write_text(f"<!doctype html>{base}<style>{style}</style><body>{body}", encoding="utf-8")
    return page


def readme(folder: Path) -> Image.Image:
    """Its first screen."""
    text = MarkdownIt().enable("table").render(README.read_text(encoding="utf-8"))
    return screen(folder, 1280, 1000, 0, False, written(folder, READING, text))


def demo(folder: Path, output: Path) -> Image.Image:
    """What it prints at last, after its report."""
    lines = output.read_text(encoding="utf-8").rstrip().splitlines()
    lines = lines[max(place for place, line in enumerate(lines) if line.startswith("report: ")) :]
    page = written(folder, TERMINAL, f"<pre>{html.escape(chr(10).join(lines))}</pre>")
    return screen(folder, 760, 45 + 20 * len(lines), 0, True, page)


def sheets(folder: Path, count: int) -> Image.Image:
    """The first sheets of the page on paper, beside each other."""
    paper = folder / "page.pdf"
    browse(folder, "--no-pdf-header-footer", f"--print-to-pdf={paper}", PAGE.as_uri())
    subprocess.run(["pdftoppm", "-r", "75", "-png", "-l", str(count), paper, folder / "sheet"], check=True)
    drawn = [Image.open(file).convert("RGB") for file in sorted(folder.glob("sheet-*.png"))]
    width, height = drawn[0].size
    whole = Image.new("RGB", ((width + 12) * len(drawn) - 12, height), "#888888")
    for place, sheet in enumerate(drawn):
        whole.paste(sheet, (place * (width + 12), 0))
    return whole


def main() -> None:
    missing = [program for program in ("chromium", "pdftoppm") if not shutil.which(program)]
    if missing:
        raise SystemExit(f"no {' and no '.join(missing)} here; install chromium and poppler-utils")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shots = {name: screen(folder, *how) for name, how in SCREENS.items()}
        shots |= {"page_printed": sheets(folder, 3), "readme": readme(folder)}
        if sys.argv[1:]:
            shots["demo"] = demo(folder, Path(sys.argv[1]))
    for name, shot in shots.items():
        file = DOCS / f"screens/{name}.png"
        file.parent.mkdir(exist_ok=True)
        shot.quantize(128, Image.Quantize.MAXCOVERAGE).save(file, optimize=True)  # rare colours too
        print(f"{file}: {file.stat().st_size / 1024:.0f} KB")


if __name__ == "__main__":
    main()
