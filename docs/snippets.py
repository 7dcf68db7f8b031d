"""Run the snippets of the documentation and renew the outputs that are shown: `python docs/snippets.py [PAGE ...]`.

A block of `sh` or `python` below a line `<!-- run -->` is run, the blocks of a page in their order, in a folder of the
page's own that holds `integrated.expt` and `integrated.refl`, a small simulated data set. A block of `text` below
`<!-- output -->` that follows holds what it prints. `tests/test_docs_snippets.py` runs all of them.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyscale
from pyscale.cli import main

# Read by OpenMP when the core is loaded: threads that spin while they wait are slow on a busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
DOCS = Path(__file__).resolve().parent
_RUN = re.compile(
    r"^<!-- run -->\n```(?P<language>sh|python)\n(?P<code>.*?)^```\n"
    r"(?:\n<!-- output -->\n```text\n(?P<output>.*?)^```\n)?",
    re.MULTILINE | re.DOTALL,
)


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Work in a folder (`contextlib.chdir` is newer than the oldest Python in use)."""
    here = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(here)


@dataclass
class Session:
    """The blocks of a page run one after the other."""

    folder: Path
    names: dict[str, Any] = field(default_factory=dict)

    def run(self, language: str, code: str) -> str:
        """Run a block; returns what it printed, and raises what went wrong."""
        return self._shell(code) if language == "sh" else self._python(code)

    def _shell(self, code: str) -> str:
        lines = code.replace("\\\n", " ").splitlines()
        return "".join(self._pyscale(line) if line.startswith("pyscale ") else self._bash(line) for line in lines)

    def _pyscale(self, line: str) -> str:
        """Run a command in this process, which saves starting another, and what follows it in the shell."""
        arguments, rest = re.fullmatch(r"pyscale ([^|&;<>$`]*)(.*)", line).groups()  # type: ignore[union-attr]
        output = io.StringIO()
        errors = io.StringIO() if rest else output
        with inside(self.folder), contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            status = main(shlex.split(arguments))
        if rest:
            return errors.getvalue() + self._bash(f"(cat; exit {status}) {rest}", output.getvalue())
        if status:
            raise RuntimeError(f"exit status {status}\n{line}\n{output.getvalue()}")
        return output.getvalue()

    def _bash(self, line: str, given: str = "") -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", line],
            cwd=self.folder,
            input=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"exit status {done.returncode}\n{line}\n{done.stdout}")
        return done.stdout

    def _python(self, code: str) -> str:
        printed = io.StringIO()
        with inside(self.folder), contextlib.redirect_stdout(printed):
            exec(compile(code, "<snippet>", "exec"), self.names)
        return printed.getvalue()


def pages() -> list[Path]:
    """Return the pages with blocks to run."""
    found = [DOCS.parent / "README.md", *sorted(DOCS.rglob("*.md"))]
    return [page for page in found if _RUN.search(page.read_text(encoding="utf-8"))]


def blocks(text: str) -> Iterator[re.Match[str]]:
    """Find the blocks of a page."""
    return _RUN.finditer(text)


def write_data(folder: Path) -> None:
    """Write what pages start from."""
    pyscale.simulate(n_sweeps=2, same_crystal=True, sweep_width=75, oscillation_width=1, d_min=4.5, seed=1).write(
        folder
    )
    for kind in ("expt", "refl"):
        (folder / f"simulated.{kind}").rename(folder / f"integrated.{kind}")
    (folder / "truth.npz").unlink()


def renewed(page: Path, folder: Path) -> str:
    """Run a page and return its text with new outputs."""
    session = Session(folder)

    def replace(match: re.Match[str]) -> str:
        printed = session.run(match["language"], match["code"])
        if match["output"] is None:
            return match[0]
        start = match.start("output") - match.start()
        end = match.end("output") - match.start()
        return match[0][:start] + tidy(printed) + match[0][end:]

    return _RUN.sub(replace, page.read_text(encoding="utf-8"))


def tidy(printed: str) -> str:
    """Return an output without the time of day, blanks at line ends and empty lines at its ends."""
    lines = [re.sub(r"^\d\d:\d\d:\d\d ", "12:00:00 ", line.rstrip()) for line in printed.splitlines()]
    return "\n".join(lines).strip("\n") + "\n"


def renew() -> None:
    """Renew the pages that are named, or all."""
    for page in [Path(name).resolve() for name in sys.argv[1:]] or pages():
        with tempfile.TemporaryDirectory() as folder:
            write_data(Path(folder))
            page.write_text(renewed(page, Path(folder)), encoding="utf-8")


if __name__ == "__main__":
    renew()
