"""The ledger of every real data set closes, and independent readers of what was written count the same."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gemmi
import msgpack
import numpy as np
import pytest

import pyscale
from pyscale.fates import FATES
from pyscale.result import ScalingResult

pytestmark = pytest.mark.data

NACL = {"unit_cell": (5.64109, 5.64109, 5.64109, 90, 90, 90), "space_group": "Fm-3m"}
LCYS = [f"l_cysteine/{n}_integrated.{suffix}" for n in (20, 25, 30, 35) for suffix in ("expt", "refl")]
LEGACY = [f"l_cysteine_legacy/{n}_integrated{suffix}" for n in (20, 25) for suffix in (".pickle", "_experiments.json")]
NARROW = [f"l_cysteine_narrow/{n}_integrated.{suffix}" for n in (11, 23) for suffix in ("expt", "refl")]
QUARTZ = ["quartz_ed/integrated.expt", "quartz_ed/integrated.refl"]

# Files, how they are read, options of the job.
JOBS: dict[str, tuple[list[str], dict[str, Any], dict[str, Any]]] = {
    "l_cysteine": (LCYS, {}, {"combine.joint_analysis": False}),
    "l_cysteine_legacy": (LEGACY, {}, {}),
    "l_cysteine_legacy_scaled": (["l_cysteine_legacy/scaled_30.expt", "l_cysteine_legacy/scaled_30.refl"], {}, {}),
    "l_cysteine_narrow": (NARROW, {}, {}),
    "quartz_ed": (QUARTZ, {}, {}),
    "quartz_ed_scaled": (["quartz_ed/scaled.expt", "quartz_ed/scaled.refl"], {}, {}),
    "ed_p212121": (["ed_p212121/integrated.expt", "ed_p212121/integrated.refl"], {}, {}),
    "gamma_xe": (["gamma_xe/descaled_unmerged.mtz"], {}, {}),
    "gamma_xe_aimless": (["gamma_xe/aimless_scaled_unmerged.mtz"], {}, {}),
    "cry2pk": (["cry2pk/INTEGRATE.HKL"], {}, {"d_min": 3.0}),
    "brap_mad": ([f"brap_mad/brap_{k}_6A.mtz" for k in ("pk", "ip", "rm")], {}, {}),
    "hypf": (["hypf/hypf_unmerged.mtz"], {}, {}),
    "cinchonine_integrate": (["cinchonine_ed/INTEGRATE.HKL"], {}, {}),
    "cinchonine_corrected": (["cinchonine_ed/XDS_ASCII.HKL"], {}, {}),
    "cunir_stills": (["cunir_stills/integrated.expt", "cunir_stills/integrated.refl"], {}, {}),
    "sfx_stream": (["sfx_stream/test.stream"], {"space_group": "C2221"}, {}),
    "nacl_hklf4": (["nacl_hklf4/NaCl.hkl"], NACL, {}),
    "nacl_cif": (["nacl_hklf4/NaCl.cif"], {}, {}),
    "several_kinds": (["cinchonine_ed/INTEGRATE.HKL", "cinchonine_ed/XDS_ASCII.HKL"], {}, {}),
    "limits": (LCYS[:4], {}, {"d_min": 0.7, "d_max": 4.0, "exclude_images": ["0:1:300"], "min_isigi": 0.0}),
    "regions": (
        QUARTZ,
        {},
        {"exclude_resolution": ["2.0:1.9"], "exclude_regions": ["0:0:300:0:300"], "min_partiality": 0.95},
    ),
    "free_set": (QUARTZ, {}, {"use_free_set": True, "free_set_percentage": 10.0}),
    "selected": (["cry2pk/INTEGRATE.HKL"], {}, {"reflection_selection.method": "quasi_random", "d_min": 3.5}),
    "filtered": (
        LCYS,
        {},
        {"filtering.method": "deltacchalf", "deltacchalf.mode": "image_group", "deltacchalf.stdcutoff": 2.0},
    ),
}


def scale(root: Path, name: str) -> ScalingResult:
    files, reading, options = JOBS[name]
    return pyscale.scale(pyscale.read(*(root / file for file in files), **reading), nproc=1, **options)


def columns_by_hand(path: Path) -> dict[str, np.ndarray]:
    """Columns of a reflection table from the bytes of the file, as docs/reference/formats.md describes it."""
    _, _, content = msgpack.unpackb(path.read_bytes(), strict_map_key=False)
    dtypes = {"double": "<f8", "std::size_t": "<u8", "int": "<i4"}
    return {
        name: np.frombuffer(values[1], dtypes[kind])
        for name, (kind, values) in content["data"].items()
        if kind in dtypes
    }


def assert_closed(result: ScalingResult) -> None:
    for k, entry in enumerate(result.ledger):
        out = sum(sum(getattr(entry, kind).values()) for kind in ("filtered", "user_excluded", "rejected"))
        assert entry.read == entry.partials_merged + out + entry.merged
        assert entry.merged == entry.used_in_fit + sum(entry.not_used_in_fit.values())
        table = result.job.data_sets[k].reflections
        assert entry.read == (table["n_records"].sum() if "n_records" in table else len(table))
    assert sum(entry.merged for entry in result.ledger) == result.statistics.overall.n_obs
    assert sum(entry.used_in_fit for entry in result.ledger) == result.fit.n_observations


@pytest.mark.parametrize("name", JOBS)
def test_ledger(data_root: Path, tmp_path: Path, name: str) -> None:
    result = scale(data_root, name)
    assert_closed(result)
    n_obs = result.statistics.overall.n_obs
    result.write(tmp_path / "scaled.expt", tmp_path / "scaled.refl")
    column = columns_by_hand(tmp_path / "scaled.refl")
    flags, fate = column["flags"], column["pyscale_fate"]
    excluded, outlier, unsuitable, scaled = ((flags & np.uint64(1 << bit)) != 0 for bit in (22, 23, 24, 26))
    assert np.count_nonzero(scaled & ~excluded & ~outlier & ~unsuitable) == n_obs
    by_number = {k: FATES[k].kind for k in FATES}
    assert set(fate.tolist()) <= set(by_number)
    for rows, kinds in (
        (scaled & ~excluded & ~outlier & ~unsuitable, {"used_in_fit", "not_used_in_fit"}),
        (excluded, {"user_excluded"}),
        (outlier, {"rejected"}),
        (unsuitable, {"filtered"}),
    ):
        assert {by_number[k] for k in np.unique(fate[rows]).tolist()} <= kinds
    for k, entry in enumerate(result.ledger):
        numbers, counts = np.unique(fate[column["id"] == k], return_counts=True)
        found = dict(zip(numbers.tolist(), counts.tolist(), strict=True))
        records = column["n_records"][column["id"] == k] if "n_records" in column else None
        if records is None or (records == 1).all():
            assert found.get(1, 0) == entry.used_in_fit
            for number, n in found.items():
                if number > 1:
                    assert getattr(entry, FATES[number].kind)[FATES[number].reason] == n
        else:
            assert entry.read - entry.partials_merged == records.size == sum(found.values())
            assert records.sum() == entry.read


@pytest.mark.parametrize("name", ["l_cysteine", "quartz_ed", "gamma_xe", "hypf", "brap_mad", "cinchonine_integrate"])
def test_unmerged_mtz(data_root: Path, tmp_path: Path, name: str) -> None:
    from pyscale.exports import write_unmerged

    result = scale(data_root, name)
    write_unmerged(result, tmp_path / "unmerged.mtz")
    mtz = gemmi.read_mtz_file(str(tmp_path / "unmerged.mtz"))
    operations = gemmi.find_spacegroup_by_name(mtz.spacegroup.xhm()).operations()
    index = np.array(mtz, copy=False)[:, :3].astype(np.int32)
    absent = operations.systematic_absences(np.ascontiguousarray(index))
    assert np.count_nonzero(~np.asarray(absent, np.bool_)) == result.statistics.overall.n_obs


def test_scaling_against_other_data_sets(data_root: Path, tmp_path: Path) -> None:
    first = pyscale.scale(pyscale.read(*(data_root / f for f in LCYS[:4])), nproc=1)
    first.write(tmp_path / "scaled.expt", tmp_path / "scaled.refl")
    files = [tmp_path / "scaled.expt", tmp_path / "scaled.refl", *(data_root / f for f in LCYS[4:6])]
    again = pyscale.scale(pyscale.read(*files), nproc=1)
    assert_closed(again)
    targeted = pyscale.scale(pyscale.read(*files), nproc=1, only_target=True, only_save_targeted=True)
    (entry,) = targeted.ledger
    assert entry.merged == targeted.statistics.overall.n_obs
    # judged with those that it was scaled against, not alone
    assert entry.merged == entry.used_in_fit + sum(entry.not_used_in_fit.values())
    assert entry.not_used_in_fit.get("no_equivalent", 0) < 0.02 * entry.merged


def test_the_same_in_log_document_and_report(data_root: Path, tmp_path: Path, run_cli: Callable[..., str]) -> None:
    text = run_cli(*(data_root / f for f in QUARTZ), options=("use_free_set=True", "min_partiality=0.95"))
    document = json.loads((tmp_path / "pyscale.scale.json").read_text())
    (entry,) = document["ledger"].values()
    page = (tmp_path / "pyscale.scale.html").read_text(encoding="utf-8")
    for reason, n in entry["not_used_in_fit"].items():
        assert f"of these not in the fit: {reason}" in text and f"Not in the fit ({reason})" in page
        assert f"{n}" in text
    assert entry["not_used_in_fit"].keys() >= {"free_set", "min_partiality"}


@pytest.fixture
def run_cli(tmp_path: Path) -> Callable[..., str]:
    """Run `pyscale scale` with all outputs in a folder of its own; returns the log."""
    from pyscale.cli import main

    names = {"experiments": "scaled.expt", "reflections": "scaled.refl", "log": "pyscale.scale.log"}
    names |= {"html": "pyscale.scale.html", "json": "pyscale.scale.json"}

    def run(*files: Path, options: Sequence[str] = ()) -> str:
        outputs = [f"output.{option}={tmp_path / name}" for option, name in names.items()]
        assert main(["scale", *map(str, files), *outputs, *options, "nproc=1"]) == 0
        return (tmp_path / "pyscale.scale.log").read_text(encoding="utf-8")

    return run
