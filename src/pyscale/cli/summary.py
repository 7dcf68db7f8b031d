"""A scaling job on one screen: its verdict, the statistics that matter, the files, and what comes next."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pyscale.verdict import NextStep, Problem, verdict_of

from .progress import clock
from .terminal import painted, terminal_height, terminal_width, wrapped

__all__ = ["files_line", "merging_summary", "screen_summary", "verdict_lines", "verdict_text"]

_COLOURS = {"good": "good", "fair": "fair", "undecided": "fair", "poor": "poor", "unusable": "poor"}
_MOST_STEP_LINES = 3
_LABEL, _COLUMN = 16, 14
_FIGURES = (".svg", ".png")
_ROWS = (
    ("Resolution", "d_min", 1.0, 2, "Å"),
    ("Completeness", "completeness", 100.0, 1, "%"),
    ("Multiplicity", "multiplicity", 1.0, 1, ""),
    ("I/sigma", "i_over_sigma", 1.0, 1, ""),
    ("R_meas", "r_meas", 1.0, 3, ""),
    ("R_pim", "r_pim", 1.0, 3, ""),
    ("CC½", "cc_half", 1.0, 3, ""),
)


def screen_summary(document: dict[str, Any], written: Sequence[Path], seconds: float) -> str:
    """Return what the terminal shows at the end of a job: one screen of 24 lines, if that is 80 columns wide.

    Parameters
    ----------
    document
        Of the job (docs/reference/json.md).
    written
        Files that it wrote.
    seconds
        That it took.
    """
    width = terminal_width()
    body = [painted(_subject(document)[:width], "dim", sys.stdout), *_statistics(document["merging_statistics"])]
    for text in (_outliers(document), _error_model(document)):
        body += wrapped(text, width, later="  ") if text else []
    files = wrapped(_files(written, seconds), width, later="  ")
    steps: list[str] = []
    for step in verdict_of(document).next_steps:
        added = _step_lines(step, width)
        if steps and len(steps) + len(added) > _MOST_STEP_LINES:
            break
        steps += added
    left = terminal_height() - len(body) - len(files) - len(steps) - 1
    return "\n".join([*verdict_lines(document, width, left), "", *body, *steps, *files])


def merging_summary(result: Any, written: Sequence[Path], seconds: float) -> str:
    """Return what the terminal shows of a `MergeResult`: statistics of each wavelength, what is to be known, files."""
    width, document = terminal_width(), result.to_dict()
    lines = wrapped(result.counts(), width, later="  ")
    for d in document["wavelengths"]:
        sets = _counted(len(d["data_sets"]), "data set")
        cell = f"{document['space_group']}, wavelength {d['wavelength']:.5f} Å"
        lines += ["", painted(f"{sets}, {cell}"[:width], "dim", sys.stdout), *_statistics(d["merging_statistics"])]
    for text in (*result.remarks(), _files(written, seconds)):
        lines += wrapped(text, width, later="  ")
    return "\n".join(lines)


def files_line(written: Sequence[Path]) -> str:
    """Say which files a command wrote."""
    return f"Written: {', '.join(os.path.relpath(path) for path in written)}"


def verdict_text(document: dict[str, Any], width: int = 100) -> str:
    """Return the whole verdict as lines of plain text, for the log."""
    verdict = verdict_of(document)
    lines = wrapped(f"Verdict: {verdict.headline}", width)
    lines += [line for text in verdict.sentences for line in wrapped(text, width, "  ", "  ")]
    for problem in verdict.problems:
        lines += wrapped(f"{problem.severity}: {problem.text}", width, "  - ", "    ")
    lines += [line for step in verdict.next_steps for line in _step_lines(step, width)]
    return "\n".join(lines)


def verdict_lines(document: dict[str, Any], width: int, most: int) -> list[str]:
    """Return the verdict for a terminal: its headline, and in what is left of so many lines what it is about."""
    verdict = verdict_of(document)
    colour = _COLOURS.get(verdict.grade, "fair")
    lines = [painted(line, colour, sys.stdout) for line in wrapped(verdict.headline, width)]
    told = [p for p in verdict.problems if not _is_in(p, verdict.headline)]
    for number, problem in enumerate(told):
        added = wrapped(problem.text, width, "- ", "  ")
        is_last = number == len(told) - 1
        if len(lines) + len(added) + (not is_last) > most:
            return [*lines, f"- {_counted(len(told) - number, 'more remark')} in log and report"]
        lines += added
    return lines


def _is_in(problem: Problem, headline: str) -> bool:
    """Whether a headline says all that a problem does."""
    return problem.text.rstrip(".").lower() in headline.lower()


def _step_lines(step: NextStep, width: int) -> list[str]:
    return wrapped(f"Next: {step.text}" + (f" ({step.option})" if step.option else ""), width, later="      ")


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _subject(document: dict[str, Any]) -> str:
    cell = " ".join(f"{value:.2f}".rstrip("0").rstrip(".") for value in document["unit_cell"])
    return f"{_counted(len(document['datasets']), 'data set')}, {document['space_group']}, cell {cell}"


def _statistics(statistics: dict[str, Any]) -> Iterator[str]:
    """The statistics overall and at both ends of the resolution range."""
    overall, shells = statistics["overall"], statistics["shells"]
    columns = {"overall": overall, "low": shells[0], "high": shells[-1]}
    if terminal_width() < _LABEL + _COLUMN * len(columns):
        columns = {"overall": overall}
    entries = columns.values()
    yield " " * _LABEL + "".join(f"{name:>{_COLUMN}}" for name in columns)
    for label, name, factor, digits, unit in _ROWS:
        if name == "d_min":
            cells = ["-" if e["d_min"] is None else f"{e['d_max']:.2f}-{e['d_min']:.2f}" for e in entries]
        else:
            known = [e[name] is not None and e.get(f"{name}_low", 0.0) is not None for e in entries]
            cells = [f"{factor * e[name]:.{digits}f}" if k else "-" for e, k in zip(entries, known, strict=True)]
        title = f"{label} ({unit})" if unit else label
        yield f"{title:{_LABEL}}" + "".join(f"{cell:>{_COLUMN}}" for cell in cells)
    for title, name in (("Observations", "n_obs"), ("Reflections", "n_unique")):
        yield f"{title:{_LABEL}}" + "".join(f"{e[name]:>{_COLUMN}}" for e in entries)


def _outliers(document: dict[str, Any]) -> str:
    rejected = sum(sum(entry["rejected"].values()) for entry in document["ledger"].values())
    back = document["merging_statistics"]["with_outliers"]["overall"]
    share = 100.0 * rejected / max(back["n_obs"], 1)
    r_meas = "" if back["r_meas"] is None or not rejected else f"; with them R_meas {back['r_meas']:.3f}"
    return f"{_counted(rejected, 'outlier')} rejected ({share:.2g} %){r_meas}"


def _error_model(document: dict[str, Any]) -> str:
    model = document["error_model"]
    if model["type"] is None:
        return ""
    limit = "" if model["isa"] is None else f", I/sigma of one observation at most {model['isa']:.1f}"
    return f"Error model: a = {model['a']:.3f}, b = {model['b']:.4f}{limit}"


def _names(written: Sequence[Path]) -> list[str]:
    """Paths from here; figures, of which there are many, by their number."""
    figures = Counter(os.path.relpath(path.parent) for path in written if path.suffix in _FIGURES)
    others = [os.path.relpath(path) for path in written if path.suffix not in _FIGURES]
    return others + [f"{n} figures in {folder}" for folder, n in figures.items()]


def _files(written: Sequence[Path], seconds: float) -> str:
    names = _names(written)
    reports = [name for name in names if name.endswith(".html")]
    others = [name for name in names if name not in reports]
    time = f"{clock(seconds)} min" if seconds >= 60 else f"{seconds:.1f} s"
    text = f"Written in {time}: {', '.join(others)}"
    return f"Report, for a browser: {reports[0]}. {text}" if reports else text
