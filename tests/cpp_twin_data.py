"""What the twin of the C++ job starts from: its input, sorted observations, and models by the package's own rules."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import gemmi
import numpy as np

from pyscale import _core
from pyscale.auto import SweepFacts, plan_model
from pyscale.joint_model import JointModel
from pyscale.model_building import SweepExtent, model_from_plan
from pyscale.options import options_from_keywords
from pyscale.symmetry import rotation_matrices
from pyscale.typing import FloatArray


@dataclass(frozen=True)
class Input:
    """Reflections as `pyscale::Reflections` holds them."""

    cell: tuple[float, ...]
    space_group: int
    miller_index: Any
    intensity: FloatArray
    variance: FloatArray
    image_z: FloatArray
    data_set: Any
    n_sweeps: int
    image_width: float
    s1: FloatArray | None = None
    x_px: FloatArray | None = None
    y_px: FloatArray | None = None
    group: Any = None


@dataclass
class SortedData:
    """Sorted observations."""

    order: Any
    offsets: Any
    anomalous_offsets: Any
    target_offsets: Any
    group_index: Any
    anomalous_index: Any
    group_of_mates: Any
    columns: dict[str, Any]
    core: _core.Observations = field(init=False)

    def __post_init__(self) -> None:
        c = self.columns
        self.core = _core.Observations(
            c["data_set"], c["image_z"], c["half_inv_d2"], c["s0"], c["s1"], c["x_px"], c["y_px"]
        )


def inverse_d_squared(cell: tuple[float, ...], index: Any) -> FloatArray:
    """1/d^2, operation by operation as in the library."""
    a, b, c = cell[:3]
    ca, cb, cg = (0.0 if x == 90.0 else math.cos(x * (math.pi / 180.0)) for x in cell[3:])
    shape = 1.0 - ca * ca - cb * cb - cg * cg + 2.0 * ca * cb * cg
    aa, bb, cc = ((1.0 - x * x) / (y * y * shape) for x, y in ((ca, a), (cb, b), (cg, c)))
    bc, ac, ab = (
        (x * y - z) / (u * v * shape) for x, y, z, u, v in ((cb, cg, ca, b, c), (ca, cg, cb, a, c), (ca, cb, cg, a, b))
    )
    h, k, l = (index[:, i].astype(np.float64) for i in range(3))
    mixed = k * l * bc + h * l * ac + h * k * ab
    result: FloatArray = h * h * aa + k * k * bb + l * l * cc + 2.0 * mixed
    return result


def _directions(given: Input, z: FloatArray, s1: FloatArray, data_set: Any) -> tuple[FloatArray, FloatArray]:
    beams = np.empty((2, len(z), 3))
    unit = np.eye(3)
    for k in range(given.n_sweeps):
        rows = data_set == k
        geometry = ((0.0, 0.0, 1.0), (1.0, 0.0, 0.0), unit, unit, 0.0, given.image_width, 0.0)
        beams[:, rows] = _core.crystal_frame_beams(*geometry, np.ascontiguousarray(s1[rows]), z[rows])
    return np.ascontiguousarray(beams[0]), np.ascontiguousarray(beams[1])


def _groups(given: Input) -> dict[str, Any]:
    if given.group is None:
        rotations = rotation_matrices(gemmi.SpaceGroup(given.space_group))
        return _core.group_reflections(given.miller_index, rotations, np.zeros(0, np.int64))
    order = _core.stable_order(given.group)
    number = given.group[order]
    offsets = np.flatnonzero(np.concatenate([[True], number[1:] != number[:-1], [True]])).astype(np.int64)
    return {
        "order": order,
        "offsets": offsets,
        "anomalous_offsets": offsets,
        "is_minus": np.zeros(len(order), np.uint8),
    }


def _sorted(given: Input, anomalous: bool, absorption: bool) -> SortedData:
    groups = _groups(given)
    offsets, mates = groups["offsets"], groups["anomalous_offsets"]
    order = _core.canonical_order(groups["order"], mates, given.data_set, given.image_z, given.intensity)
    group_index = groups.get("asu_index")
    group_index = given.miller_index[order[offsets[:-1]]] if group_index is None else group_index
    parent = np.searchsorted(offsets, mates[:-1], side="right") - 1
    sign = np.where(groups["is_minus"][mates[:-1]] != 0, -1, 1).astype(np.int32)
    columns: dict[str, Any] = {
        name: None if getattr(given, name) is None else np.ascontiguousarray(getattr(given, name)[order])
        for name in ("data_set", "image_z", "intensity", "variance", "s1", "x_px", "y_px")
    }
    columns["half_inv_d2"] = inverse_d_squared(given.cell, given.miller_index)[order] * 0.5
    columns["s0"] = None
    if absorption:
        columns["s0"], columns["s1"] = _directions(given, columns["image_z"], columns["s1"], columns["data_set"])
    else:
        columns["s1"] = None
    return SortedData(
        order=order,
        offsets=offsets,
        anomalous_offsets=mates,
        target_offsets=mates if anomalous else offsets,
        group_index=group_index,
        anomalous_index=group_index[parent] * sign[:, None],
        group_of_mates=parent,
        columns=columns,
    )


def _facts(given: Input) -> list[SweepFacts]:
    facts = []
    for k in range(given.n_sweeps):
        rows = given.data_set == k
        z = given.image_z[rows]
        images = math.ceil(z.max()) - math.floor(z.min())
        angle = 0.0
        if given.s1 is not None:
            s1 = given.s1[rows]
            angle = math.degrees(np.arccos((-s1[:, 2] / np.linalg.norm(s1, axis=1)).min()))
        range_deg = math.floor(abs(given.image_width) * images * 1e6 + 0.5) / 1e6
        facts.append(
            SweepFacts(
                is_still=range_deg == 0.0,
                rotation_range_deg=range_deg,
                max_scattering_angle_deg=angle,
                has_beam_directions=given.s1 is not None,
                has_positions=given.x_px is not None,
            )
        )
    return facts


def models(given: Input, kind: str, anomalous: bool) -> tuple[SortedData, JointModel]:
    """Models by the package's own rules, and the data that they need."""
    options = options_from_keywords(model=kind)
    facts = _facts(given)
    plans = [plan_model(f, options) for f in facts]
    data = _sorted(given, anomalous, any(p.lmax is not None for p in plans))
    models = []
    for k, (plan, f) in enumerate(zip(plans, facts, strict=True)):
        rows = data.columns["data_set"] == k
        coordinates = {
            name: data.columns[name][rows] for name in ("image_z", "x_px", "y_px") if data.columns[name] is not None
        }
        coordinates["inv_d2"] = 2.0 * data.columns["half_inv_d2"][rows]
        extent = SweepExtent(f.rotation_range_deg, given.image_width)
        models.append(model_from_plan(plan, extent, coordinates))
    return data, JointModel(models)
