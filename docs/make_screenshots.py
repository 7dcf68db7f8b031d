"""Take the pictures of the report in docs/images: python docs/make_screenshots.py

Needs Chromium (tests/browser.py says which) and Pillow, which matplotlib brings (pip install '.[plots]').
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
sys.path.insert(0, str(ROOT / "tests"))

import pyscale  # noqa: E402
from browser import DESKTOP, PHONE, Browser, find_browser  # noqa: E402
from pyscale.report import render_report  # noqa: E402

_COLOURS = 128
#: Name, part of the page (none: its beginning), window, dark.
_PICTURES = (
    ("report-verdict", "", DESKTOP, False),
    ("report-shells", "#shells .plots", DESKTOP, False),
    ("report-ledger", "#ledger figure", DESKTOP, False),
    ("report-model", "#datasets details .plots", DESKTOP, True),
    ("report-phone", "", PHONE, False),
)
_HIGHEST = 860


def main() -> int:
    """Scale a simulated data set, open its report and take all pictures; returns the exit status."""
    command = find_browser()
    if command is None:
        sys.stderr.write("there is no Chromium: install it, or set PYSCALE_BROWSER\n")
        return 1
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, Browser(command) as browser:
        page = Path(folder) / "report.html"
        page.write_text(report(Path(folder)), encoding="utf-8")
        for name, part, size, dark in _PICTURES:
            browser.open(page, size, dark=dark)
            browser.draw_all()
            take(browser, part, IMAGES / f"{name}.png")
    sys.stdout.write(f"{sum(p.stat().st_size for p in IMAGES.glob('report-*.png')) / 1000:.0f} kB in docs/images\n")
    return 0


def report(folder: Path) -> str:
    """The report of two simulated sweeps with a shadow of decay."""
    simulation = {"d_min": 2.4, "n_sweeps": 2, "sweep_width": 120.0, "oscillation_width": 0.5, "seed": 1}
    files = pyscale.simulate(**simulation).write(folder)
    job = pyscale.read(*files[:2])
    job.sources[:] = [path.name for path in files[:2]]
    return render_report(pyscale.scale(job))


def take(browser: Browser, part: str, path: Path) -> None:
    """Take a picture of a part of the page, in few colours, which figures of lines hardly need more of."""
    box = (
        (0, _HIGHEST)
        if not part
        else browser.evaluate(
            f"(() => {{ const r = document.querySelector('{part}').getBoundingClientRect();"
            " return [r.top + window.scrollY, r.height]; })()"
        )
    )
    browser.screenshot(path, max(0, int(box[0]) - 8), min(int(box[1]) + 16, _HIGHEST))
    with Image.open(path) as picture:
        few = picture.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE)
    few.save(path, optimize=True)


if __name__ == "__main__":
    raise SystemExit(main())
