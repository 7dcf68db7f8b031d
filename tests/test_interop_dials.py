"""Files that we write are read by DIALS, and the other way round."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import pyscale
from pyscale.dataset import combine_tables
from pyscale.experiment import ExperimentList
from pyscale.io.expt import read_expt, write_expt
from pyscale.io.refl import read_refl, write_refl
from pyscale.reflections import ReflectionTable

pytestmark = pytest.mark.data

# DIALS takes seconds to start: one process reads all files.
READ_ALL = """
import json, sys
from pathlib import Path
from dials.array_family import flex
from dxtbx.model.experiment_list import ExperimentListFactory

def geometry(e):
    g, s = e.goniometer, e.scan
    return {
        "identifier": e.identifier,
        "cell": e.crystal.get_unit_cell().parameters(),
        "number": e.crystal.get_space_group().type().number(),
        "beam": e.beam.get_sample_to_source_direction(),
        "wavelength": e.beam.get_wavelength(),
        "axis": g and g.get_rotation_axis_datum(),
        "F": g and g.get_fixed_rotation(),
        "S": g and g.get_setting_rotation(),
        "oscillation": s and s.get_oscillation(),
        "range": s and s.get_oscillation_range(),
        "still": s is None or s.is_still(),
    }

def table(path):
    t = flex.reflection_table.from_file(str(path))
    out = {"identifiers": dict(t.experiment_identifiers()), "n": len(t), "columns": {}}
    for name in t.keys():
        if name == "shoebox":
            sums = [float(flex.sum(s.data.as_double().as_1d())) if len(s.data) else 0.0 for s in t[name]]
            out["boxes"] = [[list(s.bbox), total] for s, total in zip(t[name], sums)]
        elif name in NAMES:
            out["columns"][name] = [list(x) if hasattr(x, "__len__") else float(x) for x in t[name]]
    t.as_msgpack_file(str(path) + ".theirs")
    return out

NAMES = sys.argv[2].split()
folder = Path(sys.argv[1])
tables = {p.stem: table(p) for p in folder.glob("*.refl")}
read = lambda p: ExperimentListFactory.from_json_file(str(p), check_format=False)
lists = {p.stem: list(map(geometry, read(p))) for p in folder.glob("*.expt")}
print("RESULT" + json.dumps({"tables": tables, "geometry": lists}))
"""

NAMES = ["id", "imageset_id", "miller_index", "d", "s1", "flags", "entering", "partial_id", "bbox"]
REAL_GEOMETRIES = ["cunir_stills/integrated", "l_cysteine_narrow/11_integrated", "quartz_ed/scaled"]
SCAN_AXES = [0, 1, 2]


@pytest.fixture(scope="module")
def dials_show(require_dials: Path) -> str:
    return str(require_dials / "dials.show")


def run(*command: str) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of all kinds that we wrote."""
    path = tmp_path_factory.mktemp("interop")
    stems = [data_root / f"l_cysteine/{n}_integrated" for n in (20, 25)]
    job = pyscale.read(*(s.with_suffix(x) for s in stems for x in (".expt", ".refl")))
    job.experiments.add_history("2026-01-01T00:00:00Z|pyscale|0.1|scaled")
    write_expt(job.experiments, path / "joint.expt")
    write_refl(combine_tables(job, [d.reflections for d in job.data_sets]), path / "joint.refl")

    boxes = read_refl(data_root / "l_cysteine_narrow/11_integrated.refl")
    write_refl(boxes, path / "whole.refl")
    write_refl(boxes.select(np.arange(len(boxes))[::-2]), path / "cut.refl")
    empty = ReflectionTable()
    empty["id"] = np.zeros(0, np.int32)
    write_refl(empty, path / "empty.refl")

    for name in REAL_GEOMETRIES:
        write_expt(read_expt(data_root / f"{name}.expt"), path / f"{name.partition('/')[0]}.expt")
    document = json.loads((data_root / "quartz_ed/integrated.expt").read_bytes())
    for k in SCAN_AXES:
        axes = [[1.0, 0.0, 0.0], [0.0, 0.6, 0.8], [0.0, 1.0, 0.0]]
        names = ["phi", "kappa", "omega"]
        document["goniometer"] = [{"axes": axes, "angles": [10.0, 20.0, 30.0], "names": names, "scan_axis": k}]
        write_expt(ExperimentList(document), path / f"multi_axis_{k}.expt")
    return path


@pytest.fixture(scope="module")
def theirs(dials_show: str, folder: Path) -> Any:
    """What DIALS finds in the files, read with the interpreter that dials.show names in its first line."""
    with Path(dials_show).open() as file:
        interpreter = file.readline().removeprefix("#!").split()[0]
    output = run(interpreter, "-c", READ_ALL, str(folder), " ".join(NAMES))
    return json.loads(output.partition("RESULT")[2])


def test_dials_shows_our_files(dials_show: str, folder: Path) -> None:
    text = run(dials_show, str(folder / "joint.expt"), str(folder / "joint.refl"))
    assert "Experiment identifier: 0" in text
    assert "Experiment identifier: 1" in text
    assert "Reflection list contains 8036 reflections" in text


def test_dials_reads_our_columns_and_we_read_its(theirs: Any, folder: Path) -> None:
    result = theirs["tables"]["joint"]
    ours, back = read_refl(folder / "joint.refl"), read_refl(folder / "joint.refl.theirs")
    assert result["identifiers"] == {"0": "0", "1": "1"}
    assert back.identifiers == ours.identifiers == {0: "0", 1: "1"}
    assert set(result["columns"]) == set(NAMES) - {"bbox"}
    for name, column in result["columns"].items():
        assert_array_equal(np.array(column), ours[name].astype(np.float64))
    assert back.names() == ours.names()
    for name in ours.names():
        assert back.dials_type(name) == ours.dials_type(name)
        assert_array_equal(back[name], ours[name])


def test_dials_reads_shoeboxes_that_we_cut(theirs: Any) -> None:
    whole, cut = theirs["tables"]["whole"], theirs["tables"]["cut"]
    assert cut["boxes"] == whole["boxes"][::-2]
    assert cut["columns"]["bbox"] == whole["columns"]["bbox"][::-2]
    assert sum(total > 0 for _, total in cut["boxes"]) > 1


def test_dials_reads_an_empty_table(theirs: Any) -> None:
    assert theirs["tables"]["empty"] == {"identifiers": {}, "n": 0, "columns": {"id": []}}


@pytest.mark.parametrize(
    "name",
    ["joint", *(n.partition("/")[0] for n in REAL_GEOMETRIES), *(f"multi_axis_{k}" for k in SCAN_AXES)],
)
def test_geometry_is_that_of_dials(theirs: Any, folder: Path, name: str) -> None:
    ours = read_expt(folder / f"{name}.expt")
    assert len(theirs["geometry"][name]) == len(ours) > 0
    for their, our in zip(theirs["geometry"][name], ours, strict=True):
        assert our.identifier == their["identifier"]
        assert_allclose(our.unit_cell, their["cell"], rtol=1e-12)
        assert our.space_group.number == their["number"]
        assert_allclose(our.beam_direction, their["beam"], atol=1e-14)
        assert our.wavelength == their["wavelength"]
        assert our.is_still == their["still"]
        if their["axis"] is not None:
            axis = our.rotation_axis
            assert axis is not None
            assert_allclose(axis, their["axis"], atol=1e-14)
            assert_allclose(our.fixed_rotation.ravel(), their["F"], atol=1e-14)
            assert_allclose(our.setting_rotation.ravel(), their["S"], atol=1e-14)
            assert our.oscillation == pytest.approx(their["oscillation"], abs=1e-12)
            assert our.oscillation_range == pytest.approx(their["range"], abs=1e-10)
