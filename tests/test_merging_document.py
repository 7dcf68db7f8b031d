"""The merging statistics of a job's document are exactly those of iotbx and gemmi for the same scaled data.

Merging weighs by the statistical variance sigma'^2 alone: what the file's `intensity.scale.variance` holds less
I_h^2 var(g), the part that comes from the uncertainty of the scale.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import gemmi
import numpy as np
import pytest

from pyscale.exports import write_json
from pyscale.io.refl import read_refl
from pyscale.reflections import Flag
from pyscale.result import ScalingResult

RATIOS = ("multiplicity", "completeness", "r_merge", "r_meas", "r_pim", "i_over_sigma")


@pytest.fixture(scope="module")
def written(
    small_result: ScalingResult, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The document, and what is merged according to the scaled table as files hold it."""
    folder = tmp_path_factory.mktemp("job")
    write_json(small_result, folder / "pyscale.scale.json")
    small_result.write(folder / "scaled.expt", folder / "scaled.refl")
    document = json.loads((folder / "pyscale.scale.json").read_text())
    table = read_refl(folder / "scaled.refl")
    expected = np.concatenate([_merged_intensity(small_result, k) for k in range(len(small_result.prepared))])
    flags = table["flags"]
    use = ((flags & np.uint64(Flag.scaled)) != 0) & ((flags & np.uint64(Flag.bad_for_scaling)) == 0)
    g = table["inverse_scale_factor"][use]
    variance = table["intensity.scale.variance"] - expected**2 * table["inverse_scale_factor_variance"]
    case = {
        "miller_index": np.ascontiguousarray(table["miller_index"][use]),
        "intensity": table["intensity.scale.value"][use] / g,
        "variance": variance[use] / g**2,
        "unit_cell": np.array(document["unit_cell"]),
        "hall": np.array(small_result.space_group.hall),
        "n_shells": np.array(len(document["merging_statistics"]["shells"])),
        "d_min": np.array(0.0),
    }
    return document["merging_statistics"], case


def _merged_intensity(result: ScalingResult, number: int) -> np.ndarray:
    """I_h of every row of a data set, 0 where there is none; data sets follow each other in the scaled table."""
    here = result.observations.data_set == number
    values = np.zeros(len(result.prepared[number].table))
    values[result.observations.row[here]] = (result.fit.expected / result.fit.g)[here]
    return values


@pytest.fixture(scope="module")
def iotbx(
    written: tuple[dict[str, Any], dict[str, Any]],
    run_oracle: Callable[..., None],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("oracle")
    np.savez(folder / "case.npz", **{f"case|{name}": value for name, value in written[1].items()})
    run_oracle("cctbx_merging.py", folder / "case.npz", folder / "out.json")
    result: dict[str, Any] = json.loads((folder / "out.json").read_text())["case"]
    return result


@pytest.mark.parametrize("kind", ["merged", "anomalous"])
def test_iotbx(written: tuple[dict[str, Any], dict[str, Any]], iotbx: dict[str, Any], kind: str) -> None:
    ours = written[0] if kind == "merged" else written[0]["anomalous"]
    theirs = iotbx[kind]
    assert len(ours["shells"]) == len(theirs["shells"]) > 5
    pairs = zip([ours["overall"], *ours["shells"]], [theirs["overall"], *theirs["shells"]], strict=True)
    for number, (entry, expected) in enumerate(pairs):
        for name in ("n_obs", "n_unique"):
            assert entry[name] == expected[name], (number, name)
        for name in RATIOS:
            if name == "completeness" and (number > 0 or kind == "anomalous"):
                continue  # iotbx takes the extremes of a shell's data for its limits, and counts mates otherwise
            assert entry[name] == pytest.approx(expected[name], rel=1e-6), (number, name)


@pytest.mark.parametrize("kind", ["merged", "anomalous"])
def test_gemmi(written: tuple[dict[str, Any], dict[str, Any]], kind: str) -> None:
    case = written[1]
    ours = (written[0] if kind == "merged" else written[0]["anomalous"])["overall"]
    found = gemmi.Intensities()
    found.set_data(
        gemmi.UnitCell(*case["unit_cell"]),
        gemmi.find_spacegroup_by_ops(gemmi.symops_from_hall(str(case["hall"]))),
        case["miller_index"],
        case["intensity"],
        np.sqrt(case["variance"]),
    )
    n_rows = len(found)
    found.remove_systematic_absences()
    assert len(found) == n_rows
    found.prepare_for_merging(gemmi.DataType.Mean if kind == "merged" else gemmi.DataType.Anomalous)
    theirs = found.calculate_merging_stats(None, "X")[0]
    assert (ours["n_obs"], ours["n_unique"]) == (theirs.all_refl, theirs.unique_refl)
    expected = [theirs.r_merge(), theirs.r_meas(), theirs.r_pim()]
    assert [ours["r_merge"], ours["r_meas"], ours["r_pim"]] == pytest.approx(expected, rel=1e-6)
    found.merge_in_place(gemmi.DataType.Mean if kind == "merged" else gemmi.DataType.Anomalous)
    signal = np.mean(np.asarray(found.value_array) / np.asarray(found.sigma_array))
    assert ours["i_over_sigma"] == pytest.approx(signal, rel=1e-6)
    if kind == "merged":
        assert ours["multiplicity"] == pytest.approx(n_rows / len(found), rel=1e-12)
