"""What is in files, as text for people."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from .data_ranges import data_set_ranges
from .dataset import job_of_files, load_job, read_files
from .errors import DataError
from .experiment import Experiment, ExperimentList
from .io.atomic import PathLike
from .io.imported import decision_texts
from .model_frame import is_legacy_model
from .model_needs import missing_for_models
from .options.importing import InputOptions
from .reflections import Flag, ReflectionTable

if TYPE_CHECKING:
    from rich.console import RenderableType

    from .dataset import Job

__all__ = ["describe_files", "describe_job", "describe_reflections"]

_MAX_ROWS = 50


def describe_files(paths: Sequence[PathLike], options: InputOptions | None = None) -> str:
    """Return as text what is in files: experiment lists and reflection tables, alone or together, and others.

    Files of other programs are shown even where they lack what scaling needs.

    Raises
    ------
    UsageError
        If a file cannot be opened.
    DataError
        If a file is corrupt, or experiments and reflections do not match.
    """
    files = read_files(paths, options)
    if files.imported or (files.lists and files.tables):
        return describe_job(job_of_files(files, paths), files.missing)
    if files.lists:
        return _render(_sections(ExperimentList.concatenate(files.lists), None, 0))
    return _render(_reflection_sections(files.tables))


def describe_job(job: Job, missing: Sequence[str] = ()) -> str:
    """Return as text: data sets, their ranges, columns, flags, stored scaling models, and what is missing."""
    tables = [d.reflections for d in job.data_sets]
    return _render(chain(_sections(job.experiments, tables, job.n_unindexed), _remarks(job, tables, missing)))


def describe_reflections(paths: Sequence[PathLike], indices: Sequence[str], options: InputOptions | None = None) -> str:
    """Return as text what files say of some reflections, "h k l" each; see `reflection_lookup.look_up`.

    Raises
    ------
    UsageError
        If an index is none, or a file cannot be opened.
    DataError
        If a file is corrupt or lacks what is needed, or experiments and reflections do not match.
    """
    from .job_checks import common_space_group
    from .reflection_lookup import look_up, parse_miller_index
    from .reflection_text import reflections_text

    wanted = [parse_miller_index(index) for index in indices]
    job = load_job(paths, options)
    return reflections_text(look_up(job, wanted), common_space_group(job).xhm())


def _remarks(job: Job, tables: Sequence[ReflectionTable], missing: Sequence[str]) -> Iterator[RenderableType]:
    """What was decided in reading, and what is missing for scaling or for some models."""
    yield from (text for text, _ in decision_texts(job.input_decisions))
    yield from (f"Missing: {text}" for text in missing_for_models(list(job.experiments), tables))
    yield from (f"Before it can be scaled: {text}" for text in missing)


def _render(sections: Iterator[RenderableType]) -> str:
    from rich.console import Console

    text = io.StringIO()
    console = Console(file=text, width=200, highlight=False, color_system=None)
    for section in sections:
        console.print(section, markup=False)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"


def _sections(
    experiments: ExperimentList, tables: Sequence[ReflectionTable] | None, n_unindexed: int
) -> Iterator[RenderableType]:
    complaints: list[str] = []
    rows = [
        [*_describe(e, complaints), str(len(tables[i])) if tables is not None else "-"]
        for i, e in enumerate(list(experiments)[:_MAX_ROWS])
    ]
    heads = ["#", "identifier", "images", "oscillation", "cell", "space group", "wavelength", "reflections"]
    yield from _table(f"{len(experiments)} data sets", heads, rows, len(experiments))
    yield from (f"Problem: {c}" for c in dict.fromkeys(complaints))
    if n_unindexed:
        yield f"{n_unindexed} more rows belong to no data set (id -1)"
    if tables is not None:
        rows = [data_set_ranges(experiments[i], t) for i, t in enumerate(tables[:_MAX_ROWS])]
        heads = ["#", "measured", "resolution", "images with reflections", "mean I/sigma", "I/sigma > 3"]
        yield from _table("ranges", heads, rows, len(tables))
        yield from _reflection_sections(tables)
    models = [(i, e) for i, e in enumerate(experiments) if e.scaling_model is not None]
    if models:
        rows = [_describe_model(i, e) for i, e in models[:_MAX_ROWS]]
        heads = ["#", "model", "parameters", "settings", "error model"]
        yield from _table(f"{len(models)} stored scaling models", heads, rows, len(models))


def _table(title: str, heads: list[str], rows: list[list[str]], n_rows: int) -> Iterator[RenderableType]:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for head in heads:
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    yield table
    if n_rows > len(rows):
        yield f"... and {n_rows - len(rows)} more"
    yield ""


def _describe(experiment: Experiment, complaints: list[str]) -> list[str]:
    def cell(value: Callable[[], str]) -> str:
        try:
            return value()
        except DataError as error:
            complaints.append(str(error))
            return "?"

    e = experiment
    return [
        str(e.index),
        e.identifier or "-",
        cell(lambda: _images(e)),
        cell(lambda: _oscillation(e)),
        cell(lambda: _cell(e)),
        cell(lambda: str(e.space_group.xhm()) if e.crystal is not None else "-"),
        cell(lambda: f"{e.wavelength:.5f}" if e.beam is not None else "-"),
    ]


def _images(e: Experiment) -> str:
    if e.image_range is None:
        return "-"
    whole = "{}-{}".format(*e.image_range)
    valid = e.valid_image_ranges
    return whole if valid == [e.image_range] else f"{whole} (valid: {', '.join(f'{a}-{b}' for a, b in valid)})"


def _oscillation(e: Experiment) -> str:
    oscillation, whole = e.oscillation, e.oscillation_range
    if e.is_still or oscillation is None or whole is None:
        return "still"
    return f"{whole[0]:g} to {whole[1]:g} by {oscillation[1]:g}°"


def _cell(e: Experiment) -> str:
    if e.crystal is None:
        return "-"
    a, b, c, alpha, beta, gamma = e.recalculated_unit_cell or e.unit_cell
    return f"{a:.3f} {b:.3f} {c:.3f} {alpha:.2f} {beta:.2f} {gamma:.2f}"


def _reflection_sections(tables: Sequence[ReflectionTable]) -> Iterator[RenderableType]:
    names = sorted({name for table in tables for name in table.names()})
    rows = [_describe_column(name, [t for t in tables if name in t], len(tables)) for name in names]
    total = sum(len(t) for t in tables)
    yield from _table(f"{total} reflections, {len(names)} columns", ["column", "type", "range"], rows, len(rows))
    flags = [t["flags"] for t in tables if "flags" in t and t.dials_type("flags") == "std::size_t"]
    if flags:
        counts = [(f.name, sum(int(np.count_nonzero(x & np.uint64(f))) for x in flags)) for f in Flag]
        rows = [[str(name), str(n)] for name, n in counts if n]
        yield from _table("flags", ["flag", "reflections"], rows, len(rows))


def _describe_column(name: str, tables: Sequence[ReflectionTable], n_tables: int) -> list[str]:
    types = "/".join(dict.fromkeys(t.dials_type(name) for t in tables))
    parts = [t[name] for t in tables if t.opaque(name) is None and len(t)]
    lows = [low for low, _ in map(_range, parts) if low is not None]
    highs = [high for _, high in map(_range, parts) if high is not None]
    text = f"{min(lows):g} to {max(highs):g}" if lows else "-"
    not_finite = sum(int(np.count_nonzero(~np.isfinite(p))) for p in parts)
    if not_finite:
        text += f", {not_finite} values not finite"
    if len(tables) < n_tables:
        text += f" (in {len(tables)} of {n_tables} tables)"
    return [name, types, text]


def _range(values: np.ndarray[Any, np.dtype[Any]]) -> tuple[float | None, float | None]:
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (None, None)


def _describe_model(index: int, experiment: Experiment) -> list[str]:
    model = experiment.scaling_model or {}
    parts = {k: v for k, v in model.items() if isinstance(v, dict) and "n_parameters" in v}
    stored = model.get("configuration_parameters")
    settings: dict[str, Any] = stored if isinstance(stored, dict) else {}
    shown = (
        "scale_rot_interval",
        "decay_rot_interval",
        "lmax",
        "abs_surface_weight",
        "shared",
        "valid_image_range",
    )
    described = [f"{k} {_short(settings[k])}" for k in shown if k in settings]
    if is_legacy_model(experiment):
        described.append("absorption in the crystal frame of DIALS before 2021")
    return [
        str(index),
        str(model.get("__id__", "-")),
        ", ".join(f"{k} {v['n_parameters']}" for k, v in parts.items()) or "-",
        ", ".join(described) or "-",
        " ".join(_short(settings[k]) for k in ("error_model_type", "error_model_parameters") if k in settings),
    ]


def _short(value: object) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_short(x) for x in value) + "]"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
