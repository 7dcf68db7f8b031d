"""Every option, value and command that the tables of "coming from another program" name is one that pyscale has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyscale.cli import main
from pyscale.errors import UsageError
from pyscale.option_text import parse_arguments
from pyscale.options import SCALING_NAMES
from pyscale.options.export import EXPORT_NAMES
from pyscale.options.merge import MERGE_NAMES

PAGES = sorted((Path(__file__).parent.parent / "docs" / "coming-from").glob("*.md"))
NAMES = (SCALING_NAMES, MERGE_NAMES, EXPORT_NAMES)


def cells() -> Iterator[tuple[str, str]]:
    """Page and last cell (pyscale's) of every row of a table with keywords."""
    for page in PAGES:
        for table in re.findall(r"(?:^\|.*\n)+", page.read_text(encoding="utf-8"), re.MULTILINE):
            rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in table.splitlines()]
            column = next((n for n, title in enumerate(rows[0]) if title.strip() == "pyscale"), None)
            for row in rows[2:] if column is not None else []:
                yield page.stem, row[column]


CODES = [(page, code) for page, cell in cells() for code in re.findall(r"`([^`]+)`", cell)]
OPTIONS = sorted({(page, code) for page, code in CODES if re.fullmatch(r"[A-Za-z_.0-9]+=\S+", code)})
COMMANDS = sorted({code.split()[1] for _, code in CODES if code.startswith("pyscale ")})


def test_tables_were_found() -> None:
    assert {page for page, _ in OPTIONS} == {"aimless", "dials", "xscale"}
    assert len(OPTIONS) > 80
    assert set(COMMANDS) >= {"scale", "merge", "export", "show", "apply", "slice"}


@pytest.mark.parametrize(("page", "code"), OPTIONS)
def test_options_exist_and_take_the_value(page: str, code: str) -> None:
    errors = []
    for names in NAMES:
        try:
            parse_arguments([code], names)
        except UsageError as error:
            errors.append(str(error))
        else:
            return
    pytest.fail(f"{page}.md: {code}: {'; '.join(errors)}")


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_exist(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"pyscale {command}")
