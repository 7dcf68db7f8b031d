"""The report in a real browser: on a desktop and a phone, light and dark, on screen and on paper."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import pyscale
from browser import DESKTOP, PHONE, Browser
from pyscale.report import render_comparison, render_document

HOSTILE = '</script><img src=x onerror="document.title=1">&amp;{{7*7}}'


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Reports of two sweeps, of many stills with hostile names, and of two jobs."""
    folder = tmp_path_factory.mktemp("pages")
    small = {"d_min": 4.0, "oscillation_width": 1.0}
    paths = pyscale.simulate(**small, n_sweeps=2, sweep_width=90.0).write(folder / "sweeps")
    sweeps = pyscale.scale(pyscale.read(*paths[:2])).to_dict()
    paths = pyscale.simulate(d_min=3.5, kind="stills", n_stills=40).write(folder / "stills")
    stills = hostile(pyscale.scale(pyscale.read(*paths[:2])).to_dict())
    html = {
        "sweeps": render_document(sweeps),
        "stills": render_document(stills),
        "two": render_comparison([sweeps, stills], ["a/x.json", f"{HOSTILE}/x.json"]),
    }
    found = {name: folder / f"{name}.html" for name in html}
    for name, path in found.items():
        path.write_text(html[name], encoding="utf-8")
    return found


def hostile(document: dict[str, Any]) -> dict[str, Any]:
    """The document of files and data sets whose names are markup."""
    first = document["datasets"][0]["identifier"]
    ledger = {HOSTILE if name == first else name: entry for name, entry in document["ledger"].items()}
    decisions = {HOSTILE if name == first else name: entry for name, entry in document["decisions"].items()}
    datasets = [document["datasets"][0] | {"identifier": HOSTILE}, *document["datasets"][1:]]
    warned = {"warnings": [HOSTILE], "sources": [HOSTILE]}
    return document | {"datasets": datasets, "ledger": ledger, "decisions": decisions} | warned


@pytest.mark.parametrize("name", ["sweeps", "stills", "two"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_page(browser: Browser, pages: dict[str, Path], name: str, size: tuple[int, int]) -> None:
    browser.open(pages[name], size)
    n = browser.evaluate("document.querySelectorAll('[data-figure]').length")
    title = browser.evaluate("document.title")
    assert n > 3 and title.startswith("pyscale: ")
    browser.draw_all()
    assert browser.errors == []
    assert browser.evaluate("document.querySelectorAll('[data-figure] .main-svg').length") >= n
    assert browser.evaluate("document.documentElement.scrollWidth") <= size[0]
    assert browser.evaluate("document.querySelectorAll('main img').length") == 0
    assert too_wide(browser) == []
    if size == DESKTOP:
        assert browser.evaluate(
            "Array.from(document.querySelectorAll('table.shells'), t => t.parentElement).every(s => "
            "s.scrollWidth <= s.clientWidth)"
        )
    assert empty(browser) == []


def too_wide(browser: Browser) -> list[str]:
    """What reaches beyond the screen, but for tables that scroll in their box."""
    return list(
        browser.evaluate(
            """Array.from(document.querySelectorAll('main *')).filter(e =>
                 !e.closest('.scroll, nav') && e.getBoundingClientRect().right > window.innerWidth + 1
                 && e.getBoundingClientRect().width > 0 && !e.closest('svg')).map(e => e.outerHTML.slice(0, 80))"""
        )
    )


def empty(browser: Browser) -> list[str]:
    """Sections without content, and tables without rows."""
    return list(
        browser.evaluate(
            """[...Array.from(document.querySelectorAll('section')).filter(s =>
                  s.querySelectorAll('table, [data-figure], p, li').length === 0),
                ...Array.from(document.querySelectorAll('table')).filter(t => t.tBodies[0].rows.length === 0)
               ].map(e => e.outerHTML.slice(0, 80))"""
        )
    )


def test_plots_are_drawn_when_they_come_into_view(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["sweeps"])
    browser.wait("typeof Plotly !== 'undefined'")
    last = "document.querySelectorAll('[data-figure]')[document.querySelectorAll('[data-figure]').length - 1]"
    assert browser.evaluate(f"{last}.querySelector('.main-svg') === null")
    browser.draw_all()
    assert browser.evaluate(f"{last}.querySelector('.main-svg') !== null")


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two CSS colours (WCAG 2)."""

    def luminance(colour: str) -> float:
        parts = [float(x) / 255 for x in re.findall(r"[\d.]+", colour)[:3]]
        r, g, b = (x / 12.92 if x <= 0.03928 else ((x + 0.055) / 1.055) ** 2.4 for x in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_light_and_dark(browser: Browser, pages: dict[str, Path]) -> None:
    """Text stands out in both, and plots that have been drawn follow a change."""
    browser.open(pages["sweeps"])
    browser.draw_all()
    colours = []
    for dark in (False, True):
        browser.scheme(dark=dark)
        style = "getComputedStyle(document.{}).{}"
        paper = browser.evaluate(style.format("body", "backgroundColor"))
        ink = browser.evaluate(style.format("body", "color"))
        assert contrast(ink, paper) > 10
        badge = browser.evaluate(style.format("querySelector('.grade .badge')", "backgroundColor"))
        on_badge = browser.evaluate(style.format("querySelector('.grade .badge')", "color"))
        assert contrast(badge, on_badge) > 4.5
        button = "getComputedStyle(document.querySelector('.modebar-btn path')).fill"
        browser.wait(f"{button} === getComputedStyle(document.querySelector('.note')).color")
        browser.wait(f"document.querySelector('.xtick text').style.fill === '{ink}'")
        colours.append((ink, paper))
    assert colours[0] != colours[1]
    browser.scheme(dark=False)
    assert browser.errors == []


def test_tables_are_sorted(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["stills"])
    column = """(() => { const t = document.querySelector('#datasets table.sortable');
        const k = Array.from(t.tHead.rows[0].cells).findIndex(c => c.textContent === 'Merged');
        %s
        return Array.from(t.tBodies[0].rows, r => parseFloat(r.cells[k].textContent.replace(/\\u202f/g, ''))); })()"""
    click = "t.tHead.rows[0].cells[k].querySelector('button').click();"
    before = browser.evaluate(column % "")
    upwards = browser.evaluate(column % click)
    downwards = browser.evaluate(column % click)
    assert upwards == sorted(before) and downwards == upwards[::-1] and before != upwards
    assert browser.errors == []


def test_on_paper(browser: Browser, pages: dict[str, Path], tmp_path: Path) -> None:
    """Every plot is printed, though none has been looked at, and none is wider than the page."""
    browser.open(pages["sweeps"])
    browser.wait("typeof Plotly !== 'undefined'")
    widths = """window.printed = []; window.addEventListener('beforeprint', () => {
        window.links = Array.from(document.querySelectorAll('.sankey-link'), e => e.getAttribute('d').length > 0);
        window.printed = Array.from(document.querySelectorAll('[data-figure]'), e => e.layout && e.layout.width); })"""
    browser.evaluate(widths)
    browser.print(tmp_path / "page.pdf")
    n = browser.evaluate("document.querySelectorAll('[data-figure]').length")
    found = browser.evaluate("window.printed")
    flow = browser.evaluate("window.links")
    assert flow and all(flow)
    assert len(found) == n and all(w and w <= 690 for w in found)
    assert (tmp_path / "page.pdf").stat().st_size > 50_000
    assert browser.errors == []
