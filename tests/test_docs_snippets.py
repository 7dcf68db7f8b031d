"""The snippets of the documentation run, each page in a folder of its own."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
SNIPPETS = runpy.run_path(str(ROOT / "docs" / "snippets.py"))
PAGES = SNIPPETS["pages"]()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    SNIPPETS["write_data"](folder)
    return folder


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_snippets_run_and_print_where_an_output_is_shown(page: Path, data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "page"
    shutil.copytree(data, folder)
    session: Any = SNIPPETS["Session"](folder)
    for block in SNIPPETS["blocks"](page.read_text(encoding="utf-8")):
        printed = session.run(block["language"], block["code"])
        assert bool(printed.strip()) or block["output"] is None, block["code"]
        assert "Traceback" not in printed


def test_pages_that_a_newcomer_reads_first_are_run() -> None:
    names = {page.relative_to(ROOT).as_posix() for page in PAGES}
    assert names >= {"README.md", "docs/start/quick-start.md", "docs/start/tutorial.md", "docs/guides/large-jobs.md"}
