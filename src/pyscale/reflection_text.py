"""Reflections that were looked up, as text for people."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .reflection_lookup import ReflectionRecord
from .reflection_rows import Observation

__all__ = ["reflections_text"]

_HEADS = ("data set", "row", "h", "k", "l", "x", "y", "image z", "profile I", "sum I", "I", "g", "I/g", "sigma", "dev.")

_LEGEND = """row: of the table of reflections in the file, from 0
profile I, sum I: as integrated, with sigma; I: what is scaled, after Lorentz, polarisation, efficiency and partiality
sigma: of I/g, by which it is merged; dev.: from the mean of the other merged observations, in sigmas of that"""


def reflections_text(records: Sequence[ReflectionRecord], space_group: str) -> str:
    """What is known of each reflection: what it was merged to, and its observations with what became of them."""
    texts = ["\n".join(_lines(record, space_group)) for record in records]
    if any(record.observations for record in records):
        texts.append(_LEGEND)
    return "\n\n".join(texts) + "\n"


def _lines(record: ReflectionRecord, space_group: str) -> list[str]:
    kind = "centric" if record.is_centric else "acentric"
    same = record.miller_index == record.asu_miller_index
    unique = "" if same else f", equivalent to {_index(record.asu_miller_index)}"
    head = f"Reflection {_index(record.miller_index)}{unique}: d = {record.d_spacing:.3f} A, {kind}, {space_group}"
    lines = [head]
    if record.is_absent:
        lines.append(f"It is systematically absent in {space_group}: not merged.")
    if not record.observations:
        return [*lines, _nothing(record)]
    m = record.merged
    if m is not None:
        mates = [("I(+)", m.intensity_plus, m.sigma_plus, m.n_obs_plus)]
        mates += [("I(-)", m.intensity_minus, m.sigma_minus, m.n_obs_minus)]
        lines.append(_merged("Merged", m.intensity, m.sigma, m.n_obs))
        lines += [] if record.is_centric else [_merged(*mate) for mate in mates]
    elif any(o.g is not None for o in record.observations) and not record.is_absent:
        lines.append("None of its observations is merged.")
    return lines + _observation_lines(record)


def _nothing(record: ReflectionRecord) -> str:
    d_max, d_min = record.data_range
    if not d_min * (1 - 1e-6) <= record.d_spacing <= d_max * (1 + 1e-6):
        return f"No observation: it lies outside the resolution of the data, {d_max:.3f} to {d_min:.3f} A."
    return (
        "No observation: no row of the files has this index or an equivalent one. It was not predicted on these images "
        "(blind region, edge or gap of the detector, sweep too short), or a program left it out before."
    )


def _merged(what: str, intensity: np.ndarray, sigma: np.ndarray, n_obs: np.ndarray) -> str:
    n = int(n_obs[0])
    if n == 0:
        return f"{what:<7} not observed"
    return f"{what:<7} I = {intensity[0]:.6g}, sigma = {sigma[0]:.4g}, {n} observation{'' if n == 1 else 's'}"


def _observation_lines(record: ReflectionRecord) -> list[str]:
    several = len({o.source for o in record.observations}) > 1
    cells = [list(_HEADS)] + [_cells(o) for o in record.observations]
    widths = [max(len(row[k]) for row in cells) for k in range(len(_HEADS))]
    lines, side = [], None
    for row, o in zip(cells, [None, *record.observations], strict=True):
        text = "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        if o is None:
            lines.append(f"{text}  fate")
            continue
        if o.is_minus != side and not record.is_centric:
            lines.append("I(-)" if o.is_minus else "I(+)")
        side = o.is_minus
        parts = f" [sum of {o.n_records} records]" if o.n_records > 1 else ""
        lines.append(f"{text}  {o.fate}{parts}" + (f" [{o.source}]" if several else ""))
    return lines


def _cells(o: Observation) -> list[str]:
    name = o.data_set if len(o.data_set) <= 12 else o.data_set[:9] + "..."
    intensity = None if o.profile is None and o.summation is None else o.intensity
    integrated = ["-" if pair is None else f"{pair[0]:.5g}({pair[1]:.2g})" for pair in (o.profile, o.summation)]
    numbers = [_number(intensity, "#.5g"), _number(o.g, ".4f"), _number(o.scaled, "#.5g"), _number(o.sigma, "#.3g")]
    return [
        name,
        str(o.row),
        *map(str, o.miller_index),
        *(f"{x:.1f}" for x in o.position),
        *integrated,
        *numbers,
        _number(o.deviation, "+.1f"),
    ]


def _number(value: float | None, form: str) -> str:
    return "-" if value is None or not np.isfinite(value) else format(value, form)


def _index(miller_index: tuple[int, int, int]) -> str:
    return " ".join(map(str, miller_index))
