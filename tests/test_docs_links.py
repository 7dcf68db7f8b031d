"""Links between the repository's pages lead somewhere, and so do the pages that source files name."""

from __future__ import annotations

import re
import runpy
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SLUG = runpy.run_path(str(ROOT / "docs" / "heading_slugs.py"))["heading_slug"]
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "bench" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
SOURCES = [
    "src/**/*.py",
    "src/**/*.json",
    "cpp/**/*.[ch]pp",
    "cpp/**/*.inl",
    "cmake/*",
    "bench/*",
    "tests/*.py",
    "*.md",
]


def without_code(page: Path) -> str:
    """The text of a page without blocks and pieces of code."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`", "", text)


@cache
def anchors(page: Path) -> set[str]:
    """Anchors of the headings of a page, of those that occur twice too."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    found: set[str] = set()
    for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE):
        slug = SLUG(re.sub(r"[`*]|\]\(.*?\)|\[", "", title))
        found.add(slug if slug not in found else f"{slug}-1")
    return found


def dead(page: Path) -> Iterator[str]:
    """Relative links of a page that lead nowhere."""
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(page)):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            yield link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    assert not list(dead(page))


def test_a_dead_link_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A title\n[x](#a-title) [x](#a-tile) [x](other.md) `[x](code.md)`\n", encoding="utf-8")
    assert list(dead(page)) == ["#a-tile", "other.md"]


def test_pages_named_in_sources_exist() -> None:
    files = [path for pattern in SOURCES for path in ROOT.glob(pattern) if path.is_file()]
    named = {
        (path.relative_to(ROOT).as_posix(), name)
        for path in files
        for name in re.findall(r"docs/[\w/-]+\.md", path.read_text(encoding="utf-8"))
    }
    assert len(named) > 40
    assert not [(path, name) for path, name in named if not (ROOT / name).exists()]
