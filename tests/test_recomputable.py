"""What the job's document says can be computed again from the files that it wrote, by gemmi and by iotbx."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pytest

import pyscale
from pyscale.cli import main

#: Single-precision columns: relative error of intensities and sigmas.
RTOL = 2e-5
KEYS = ("n_obs", "n_unique", "multiplicity", "mean_intensity", "i_over_sigma", "r_merge", "r_meas", "r_pim")
MATES = ("anomalous_signal", "anomalous_difference_over_sigma")


def scaled_files(folder: Path, *arguments: str) -> dict[str, Any]:
    """Scale with the command; the document."""
    outputs = [f"output.{name}={folder / name}" for name in ("experiments", "reflections", "json", "unmerged_mtz")]
    extra = ["output.html=None", "output.log=None", f"output.mmcif={folder / 'out.cif'}", "nproc=1"]
    assert main(["scale", *arguments, *outputs, *extra]) == 0
    document: dict[str, Any] = json.loads((folder / "json").read_text())
    return document


@pytest.fixture(scope="module", params=["simulated", "l_cysteine", "gamma_xe"])
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "simulated":
        data = pyscale.simulate(d_min=3.5, sweep_width=120.0, oscillation_width=1.0, anomalous=0.05, seed=9)
        files = [str(path) for path in data.write(folder)[:2]]
    else:
        root = request.getfixturevalue("data_root")
        names = {
            "l_cysteine": ["l_cysteine/20_integrated.expt", "l_cysteine/20_integrated.refl"],
            "gamma_xe": ["gamma_xe/descaled_unmerged.mtz"],
        }
        files = [str(root / name) for name in names[request.param]]
    return folder, scaled_files(folder, *files)


def read_case(folder: Path, document: dict[str, Any]) -> dict[str, Any]:
    """Observations of the unmerged MTZ file, as the oracle wants them."""
    mtz = gemmi.read_mtz_file(str(folder / "unmerged_mtz"))
    mtz.switch_to_original_hkl()
    return {
        "miller_index": np.ascontiguousarray(mtz.make_miller_array(), dtype=np.int32),
        "intensity": np.array(mtz.column_with_label("I").array, np.float64),
        "variance": np.array(mtz.column_with_label("SIGI").array, np.float64) ** 2,
        "unit_cell": np.array(document["unit_cell"]),
        "hall": np.array(mtz.spacegroup.hall),
        "n_shells": np.array(len(document["merging_statistics"]["shells"])),
        "d_min": np.array(0.0),
    }


def test_iotbx(written: tuple[Path, dict[str, Any]], run_oracle: Callable[..., None], tmp_path: Path) -> None:
    folder, document = written
    case = read_case(folder, document)
    np.savez(tmp_path / "case.npz", **{f"case|{name}": value for name, value in case.items()})
    run_oracle("cctbx_merging.py", tmp_path / "case.npz", tmp_path / "out.json")
    found = json.loads((tmp_path / "out.json").read_text())["case"]
    for kind, ours in (
        ("merged", document["merging_statistics"]),
        ("anomalous", document["merging_statistics"]["anomalous"]),
    ):
        theirs = found[kind]
        pairs = zip([ours["overall"], *ours["shells"]], [theirs["overall"], *theirs["shells"]], strict=True)
        for entry, expected in pairs:
            for key in KEYS:
                if entry[key] is not None:  # iotbx writes 0 for what is not defined
                    assert entry[key] == pytest.approx(expected[key], rel=RTOL), (kind, key)
            # iotbx limits the variance of a mean from below (docs/reference/statistics.md).
            if entry["n_half_pairs"] > 2:
                assert entry["cc_half_sigma_tau"] == pytest.approx(expected["cc_half_sigma_tau"], abs=2e-5), kind
            if kind == "anomalous":
                for key in (*MATES, "r_anom") if entry["n_anomalous_pairs"] else ():
                    assert entry[key] == pytest.approx(expected[key], rel=10 * RTOL, abs=1e-6), key
        # One draw of halves of iotbx is one of those that an interval is for.
        draw, overall = theirs["overall"]["cc_half"], ours["overall"]
        width = overall["cc_half_high"] - overall["cc_half_low"]
        assert overall["cc_half_low"] - width < draw < overall["cc_half_high"] + width
        assert overall["cc_half_significant"] == theirs["overall"]["cc_half_significant"]


@pytest.mark.parametrize("apart", [False, True], ids=["merged", "anomalous"])
def test_gemmi(written: tuple[Path, dict[str, Any]], apart: bool) -> None:
    folder, document = written
    ours = document["merging_statistics"]["anomalous"] if apart else document["merging_statistics"]
    found = gemmi.Intensities()
    found.import_mtz(gemmi.read_mtz_file(str(folder / "unmerged_mtz")), gemmi.DataType.Unmerged)
    found.remove_systematic_absences()
    found.prepare_for_merging(gemmi.DataType.Anomalous if apart else gemmi.DataType.Mean)
    theirs = found.calculate_merging_stats(None, "X")[0]
    overall = ours["overall"]
    assert (overall["n_obs"], overall["n_unique"]) == (theirs.all_refl, theirs.unique_refl)
    expected = [theirs.r_merge(), theirs.r_meas(), theirs.r_pim()]
    assert [overall["r_merge"], overall["r_meas"], overall["r_pim"]] == pytest.approx(expected, rel=RTOL)
    sigma_tau = found.calculate_merging_stats(None, "U")[0].cc_half()
    assert overall["cc_half_sigma_tau"] == pytest.approx(sigma_tau, abs=2e-5)


def test_merging_the_files_and_the_deposited_file_say_the_same(
    written: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    """CC1/2, its interval and all the rest: scale, `pyscale merge` and mmCIF."""
    folder, document = written
    outputs = [f"output.mtz={tmp_path / 'merged.mtz'}", f"output.json={tmp_path / 'merged.json'}", "output.log=None"]
    assert main(["merge", str(folder / "experiments"), str(folder / "reflections"), *outputs, "nproc=1"]) == 0
    merged = json.loads((tmp_path / "merged.json").read_text())
    theirs, ours = merged["wavelengths"][0]["merging_statistics"], document["merging_statistics"]
    for a, b in ((ours, theirs), (ours["anomalous"], theirs["anomalous"])):
        for entry, other in zip([a["overall"], *a["shells"]], [b["overall"], *b["shells"]], strict=True):
            assert entry.keys() == other.keys()
            for key, value in entry.items():
                same = other[key] is None if value is None else other[key] == pytest.approx(value, rel=2e-5, abs=1e-6)
                assert same, key
    block = gemmi.cif.read(str(folder / "out.cif"))[0]
    said = float(block.find_value("_reflns.pdbx_CC_half"))
    assert said == pytest.approx(ours["overall"]["cc_half"], abs=6e-4)


def test_tables_show_what_the_document_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = pyscale.simulate(d_min=4.0, sweep_width=90.0, oscillation_width=1.0, seed=2)
    files = [str(path) for path in data.write(tmp_path)[:2]]
    overall = scaled_files(tmp_path, *files, "-v")["merging_statistics"]["overall"]
    text = capsys.readouterr().out
    rows = {line[:40].strip(): line[40:].split() for line in text.splitlines()}
    for label, key in (
        ("CC half", "cc_half"),
        ("CC half, 95 % interval from", "cc_half_low"),
        ("CC half, 95 % interval to", "cc_half_high"),
        ("CC half, sigma-tau", "cc_half_sigma_tau"),
        ("Rsplit(I)", "r_split"),
        ("Anomalous correlation", "cc_anom"),
        ("Anomalous correlation, 95 % from", "cc_anom_low"),
    ):
        assert float(rows[label][0]) == pytest.approx(overall[key], abs=5.1e-4), label
