"""Simulated sweeps as files of XDS, with its coordinates and numbers of digits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pyscale.experiment import Experiment
from pyscale.simulation import SimulatedData, SimulationOptions, simulate

INTEGRATE_NAMES = (
    "!H,K,L,IOBS,SIGMA,XCAL,YCAL,ZCAL,RLP,PEAK,CORR,MAXC,\n!             XOBS,YOBS,ZOBS,ALF0,BET0,ALF1,BET1,PSI,ISEG\n"
)
ASCII_NAMES = ("H", "K", "L", "IOBS", "SIGMA(IOBS)", "XD", "YD", "ZD", "RLP", "PEAK", "CORR", "PSI")


def small_sweep(**options: Any) -> SimulatedData:
    """A sweep of few reflections in a geometry with nothing along an axis."""
    defaults: dict[str, Any] = {
        "d_min": 4.0,
        "sweep_width": 60.0,
        "oscillation_width": 0.5,
        "start_angles": (12.0,),
        "rotation_axis": (0.95, 0.3, -0.1),
        "beam_direction": (0.02, -0.01, 1.0),
        "detector_offset": (7.0, -4.0),
        "outlier_fraction": 0.0,
        "seed": 5,
    }
    return simulate(SimulationOptions(**(defaults | options)))


def polarization(s1: np.ndarray, beam: np.ndarray, fraction: float, normal: np.ndarray) -> np.ndarray:
    """Mean of the two polarisations: what is left of each after scattering is its part across the diffracted beam."""
    k = beam / np.linalg.norm(beam)
    n = normal - (normal @ k) * k
    n /= np.linalg.norm(n)
    u = s1 / np.linalg.norm(s1, axis=1)[:, None]
    in_plane, out_of_plane = np.cross(n, k), n
    left = [1.0 - (u @ field) ** 2 for field in (in_plane, out_of_plane)]
    return fraction * left[0] + (1.0 - fraction) * left[1]


def sweep_columns(data: SimulatedData, number: int = 0) -> dict[str, np.ndarray]:
    """Indices, intensities corrected as INTEGRATE does (for an unpolarised beam), positions, and s1 of a sweep."""
    table, experiment = data.reflections(), data.experiments()[number]
    rows = table["id"] == number
    s1 = table["s1"][rows]
    beam = experiment.document["beam"][0] if hasattr(experiment, "document") else data.document["beam"][0]
    normal, fraction = np.array(beam["polarization_normal"]), float(beam["polarization_fraction"])
    direction = np.array(beam["direction"])
    to_unpolarised = polarization(s1, direction, fraction, normal) / polarization(s1, direction, 0.5, normal)
    factor = table["lp"][rows] * to_unpolarised
    return {
        "hkl": table["miller_index"][rows],
        "intensity": table["intensity.prf.value"][rows] * factor,
        "sigma": np.sqrt(table["intensity.prf.variance"][rows]) * factor,
        "xyz": table["xyzcal.px"][rows],
        "s1": s1,
        "polarization": 1.0 / to_unpolarised,
    }


def _vector(values: Sequence[float] | np.ndarray) -> str:
    return " ".join(f"{x:11.6f}" for x in values)


def geometry_lines(experiment: Experiment, document: Mapping[str, Any], **changes: str) -> dict[str, str]:
    """Entries of a header that describe the geometry of a sweep."""
    panel, crystal, beam = document["detector"][0]["panels"][0], experiment.crystal, document["beam"][0]
    assert crystal is not None and experiment.oscillation is not None and experiment.rotation_axis is not None
    fast, slow, origin = (np.array(panel[name]) for name in ("fast_axis", "slow_axis", "origin"))
    pixel, size = panel["pixel_size"], panel["image_size"]
    entries = {
        "STARTING_FRAME": "       1",
        "STARTING_ANGLE": f"{experiment.oscillation[0]:10.3f}",
        "OSCILLATION_RANGE": f"{experiment.oscillation[1]:10.6f}",
        "ROTATION_AXIS": _vector(experiment.rotation_axis),
        "X-RAY_WAVELENGTH": f"{experiment.wavelength:10.6f}",
        "INCIDENT_BEAM_DIRECTION": _vector(-np.array(beam["direction"]) / experiment.wavelength),
        "SPACE_GROUP_NUMBER": f"{experiment.space_group.number:5d}",
        "UNIT_CELL_CONSTANTS": " ".join(f"{x:9.3f}" for x in experiment.unit_cell),
        "UNIT_CELL_A-AXIS": _vector(crystal["real_space_a"]),
        "UNIT_CELL_B-AXIS": _vector(crystal["real_space_b"]),
        "UNIT_CELL_C-AXIS": _vector(crystal["real_space_c"]),
        "NX": f"{size[0]}  NY= {size[1]}    QX= {pixel[0]:.6f}  QY= {pixel[1]:.6f}",
        "ORGX": f"{0.5 - origin @ fast / pixel[0]:10.2f}  ORGY= {0.5 - origin @ slow / pixel[1]:10.2f}",
        "DETECTOR_DISTANCE": f"{origin @ np.cross(fast, slow):10.3f}",
        "DIRECTION_OF_DETECTOR_X-AXIS": _vector(fast),
        "DIRECTION_OF_DETECTOR_Y-AXIS": _vector(slow),
    }
    return entries | changes


def header_text(entries: Mapping[str, str]) -> str:
    return "".join(f"!{key}= {value}\n" for key, value in entries.items())


def records(
    columns: Mapping[str, np.ndarray], tail: str | Callable[[int], str], *, shift: tuple[float, float, float]
) -> str:
    x, y, z = (columns["xyz"] + np.array(shift)).T
    lines = []
    for row, (h, k, l) in enumerate(columns["hkl"]):
        intensity, sigma = columns["intensity"][row], columns["sigma"][row]
        place = f"{x[row]:.1f} {y[row]:.1f} {z[row]:.1f}"
        end = tail if isinstance(tail, str) else tail(row)
        lines.append(f" {h} {k} {l} {intensity:.3E} {sigma:.3E} {place} {end} \n")
    return "".join(lines)


def write_integrate(
    path: Path,
    data: SimulatedData,
    columns: Mapping[str, np.ndarray] | None = None,
    shift: tuple[float, float, float] = (0.5, 0.5, 0.0),
    **changes: str,
) -> dict[str, np.ndarray]:
    """Write a sweep as INTEGRATE.HKL; returns what was written, in DIALS' coordinates.

    `changes` replace entries of the header; an empty one leaves it out. `shift` is added to positions.
    """
    columns = sweep_columns(data) if columns is None else columns
    entries = geometry_lines(data.experiments()[0], data.document, **changes)
    entries = {key: value for key, value in entries.items() if value}
    text = "!OUTPUT_FILE=INTEGRATE.HKL    DATE= 1-Jan-2024\n!Generated by INTEGRATE    (VERSION Jun 30, 2023)\n"
    text += "!NAME_TEMPLATE_OF_DATA_FRAMES=../NX= 7/image_????.cbf CBF\n"
    text += header_text({"PROFILE_FITTING": "TRUE", **entries, "NUMBER_OF_ITEMS_IN_EACH_DATA_RECORD": "21"})
    text += INTEGRATE_NAMES + "!Items are separated by a blank and can be read in free-format\n!END_OF_HEADER\n"
    text += records(columns, "0.30000 99.50 71 40 0.0 0.0 0.0 1.0 0.5 20.0 15.0 45.0 1", shift=shift)
    path.write_text(text + "!END_OF_DATA\n")
    return dict(columns)


def write_ascii(
    path: Path,
    entries: Mapping[str, str],
    columns: Mapping[str, np.ndarray],
    *,
    program: str = "CORRECT",
    merge: str = "FALSE",
    sets: np.ndarray | None = None,
    extra: str = "",
) -> None:
    """Write XDS_ASCII.HKL of one data set or, with their numbers `sets`, several."""
    names = ASCII_NAMES if sets is None else (*ASCII_NAMES, "ISET")
    text = f"!FORMAT=XDS_ASCII    MERGE={merge}    FRIEDEL'S_LAW=TRUE\n!OUTPUT_FILE=XDS_ASCII.HKL\n"
    text += f"!Generated by {program}   (VERSION Jun 30, 2023)\n" + header_text(entries) + extra
    text += f"!NUMBER_OF_ITEMS_IN_EACH_DATA_RECORD={len(names)}\n"
    text += "".join(f"!ITEM_{name}={k + 1}\n" for k, name in enumerate(names)) + "!END_OF_HEADER\n"
    end = "0.30000 99 71 45.0"
    tail = end if sets is None else (lambda row: f"{end} {sets[row]}")
    path.write_text(text + records(columns, tail, shift=(0.5, 0.5, 0.0)) + "!END_OF_DATA\n")
