"""docs/screens/: the report's example page as people meet it, by Chromium and poppler's pdftoppm.

    python docs/screens.py

Debian's packages are chromium and poppler-utils. Chromium's windows are not as narrow as a phone; a frame in one is.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

DOCS = Path(__file__).resolve().parent
PAGE = DOCS / "results/votes_and_merges.html"
BROWSER = "chromium --headless --no-sandbox --disable-gpu --no-first-run --hide-scrollbars".split()
# Width, height, how far down the page, in pixels; whether the system's setting is dark.
SCREENS = {"page": (1280, 1500, 0, False), "page_390": (390, 1500, 1640, False), "page_dark": (1280, 1500, 2350, True)}


def browse(folder: Path, *flags: str) -> None:
    subprocess.run(
        [*BROWSER, f"--user-data-dir={folder / 'profile'}", "--allow-file-access-from-files", *flags],
        check=True,
        capture_output=True,
        timeout=120,
    )


def screen(folder: Path, width: int, height: int, down: int, dark: bool) -> Image.Image:
    frame, shot = folder / "frame.html", folder / "shot.png"
    style = f"width: {width}px; height: {height + down}px; margin-top: -{down}px; border: 0"
    frame.write_text(f'<body style="margin: 0"><iframe src="{PAGE.as_uri()}" style="{style}"></iframe>')
    setting = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    browse(folder, setting, f"--window-size={max(width, 500)},{height}", f"--screenshot={shot}", frame.as_uri())
    return Image.open(shot).convert("RGB").crop((0, 0, width, height))


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
        shots["page_printed"] = sheets(folder, 3)
    for name, shot in shots.items():
        file = DOCS / f"screens/{name}.png"
        file.parent.mkdir(exist_ok=True)
        shot.quantize(128, Image.Quantize.MAXCOVERAGE).save(file, optimize=True)  # rare colours too
        print(f"{file}: {file.stat().st_size / 1024:.0f} KB")


if __name__ == "__main__":
    main()
