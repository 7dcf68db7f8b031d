"""space_group: another label for data whose indices stay."""

from __future__ import annotations

import copy
import json
import os
import subprocess
from pathlib import Path

import gemmi
import numpy as np
import pytest

import pyscale
from pyscale.cli import main
from pyscale.dataset import Job, make_job
from pyscale.errors import UsageError
from pyscale.experiment import ExperimentList
from pyscale.io.refl import read_refl
from pyscale.reflections import Flag
from pyscale.space_group import find_wanted_space_group, relabelled
from pyscale.symmetry import systematic_absences

CELLS = {
    "orthorhombic": (30.0, 40.0, 50.0, 90.0, 90.0, 90.0),
    "tetragonal": (40.0, 40.0, 50.0, 90.0, 90.0, 90.0),
    "monoclinic": (30.0, 40.0, 50.0, 90.0, 100.0, 90.0),
    "hexagonal": (40.0, 40.0, 50.0, 90.0, 90.0, 120.0),
    "rhombohedral": (40.0, 40.0, 40.0, 80.0, 80.0, 80.0),
    "cubic": (40.0, 40.0, 40.0, 90.0, 90.0, 90.0),
}


@pytest.fixture(scope="module")
def simulated() -> Job:
    data = pyscale.simulate(d_min=8.0, sweep_width=10.0, oscillation_width=1.0, seed=3)
    return make_job(data.experiments(), [data.reflections()])


def job_in(job: Job, name: str, cell: tuple[float, ...], n: int = 1) -> Job:
    """The rows of a job as crystals of another kind, which share one model."""
    document = copy.deepcopy(job.experiments.document)
    axes = np.array(gemmi.UnitCell(*cell).orth.mat.tolist()).T
    document["crystal"] = [
        {**document["crystal"][0], "space_group_hall_symbol": f" {gemmi.SpaceGroup(name).hall}"}
        | {f"real_space_{x}": axis.tolist() for x, axis in zip("abc", axes, strict=True)}
    ]
    document["crystal"][0].pop("recalculated_unit_cell", None)
    document["experiment"] = [{**document["experiment"][0], "identifier": str(i)} for i in range(n)]
    tables = [job.data_sets[0].reflections.copy() for _ in range(n)]
    for table in tables:
        table.identifiers = {}
    return make_job(ExperimentList(document), tables)


@pytest.mark.parametrize(
    ("present", "cell", "wanted", "expected"),
    [
        ("P 2 2 2", "orthorhombic", "P212121", "P 21 21 21"),
        ("P 2 2 2", "orthorhombic", "p 21 21 21", "P 21 21 21"),
        ("P 2 2 2", "orthorhombic", "19", "P 21 21 21"),
        ("P 2 2 2", "orthorhombic", "P 2ac 2ab", "P 21 21 21"),
        ("P 2 2 2", "orthorhombic", "P 21 2 21", "P 21 2 21"),
        ("P 2 2 2", "orthorhombic", "Pnma", "P n m a"),
        ("P 2 2 2", "orthorhombic", "P21", "P 1 21 1"),
        ("P 2 2 2", "orthorhombic", "P1121", "P 1 1 21"),
        ("P 2 2 2", "orthorhombic", "P1", "P 1"),
        ("P 21 21 21", "orthorhombic", "P222", "P 2 2 2"),
        ("P 4 2 2", "tetragonal", "P41212", "P 41 21 2"),
        ("P 4 2 2", "tetragonal", "P41", "P 41"),
        ("P 4 2 2", "tetragonal", "P222", "P 2 2 2"),
        ("P 1 1 2", "orthorhombic", "4", "P 1 1 21"),
        ("P 6 2 2", "hexagonal", "P3121", "P 31 2 1"),
        ("R 3 2:H", "hexagonal", "R3", "R 3:H"),
        ("R 3 2:R", "rhombohedral", "R3", "R 3:R"),
        ("R 3 2:R", "rhombohedral", "146", "R 3:R"),
        ("P 2 3", "cubic", "P213", "P 21 3"),
    ],
)
def test_same_point_group_or_subgroup(simulated: Job, present: str, cell: str, wanted: str, expected: str) -> None:
    job = job_in(simulated, present, CELLS[cell], n=2)
    result = relabelled(job, wanted)
    assert [d.experiment.space_group.xhm() for d in result.data_sets] == [expected] * 2
    assert len(result.experiments.document["crystal"]) == 1
    assert job.data_sets[0].experiment.space_group == gemmi.SpaceGroup(present)
    np.testing.assert_array_equal(
        result.data_sets[0].reflections["miller_index"], job.data_sets[0].reflections["miller_index"]
    )


@pytest.mark.parametrize(
    ("present", "cell", "wanted", "reason"),
    [
        ("P 2 2 2", "orthorhombic", "P41212", "their cell 30.00 40.00 50.00 .* is not tetragonal"),
        ("P 2 2 2", "orthorhombic", "C2221", "the lattice is P, not C"),
        ("P 2 2 2", "tetragonal", "P4", "point group 4 is no subgroup of theirs, 222"),
        ("P 2 2 2", "tetragonal", "P422", "point group 422 has more symmetry than theirs"),
        ("P 1 2 1", "orthorhombic", "P1121", "the setting differs"),
        ("P 1 2 1", "monoclinic", "P222", "is not orthorhombic"),
        ("P 1 2 1", "orthorhombic", "P222", "more symmetry than theirs: establish it first"),
        ("P 2 2 2", "orthorhombic", "P9", "is no space group"),
        ("P 2 2 2", "orthorhombic", "0", "is no space group"),
        ("P 2 2 2", "orthorhombic", "231", "is no space group"),
        ("P 2 2 2", "orthorhombic", " ", "is no space group"),
    ],
)
def test_refused_with_the_reason(simulated: Job, present: str, cell: str, wanted: str, reason: str) -> None:
    with pytest.raises(UsageError, match=f"option space_group=.*{reason}"):
        relabelled(job_in(simulated, present, CELLS[cell]), wanted)


def test_different_space_groups_become_one(simulated: Job) -> None:
    """Sweeps called P222 and P212121 go together once both are called the same."""
    document = job_in(simulated, "P 2 2 2", CELLS["orthorhombic"], n=2).experiments.document
    crystals = [{**document["crystal"][0], "space_group_hall_symbol": h} for h in (" P 2 2", " P 2ac 2ab")]
    mixed = {**document, "crystal": crystals}
    mixed["experiment"] = [{**e, "crystal": i} for i, e in enumerate(document["experiment"])]
    tables = [simulated.data_sets[0].reflections.copy() for _ in range(2)]
    for table in tables:
        table.identifiers = {}
    job = relabelled(make_job(ExperimentList(mixed), tables), "P21212")
    assert {d.experiment.space_group.xhm() for d in job.data_sets} == {"P 21 21 2"}


def test_every_group_is_one_of_its_own_kind(simulated: Job) -> None:
    """Symbols of all tabulated groups are found again; each is a label for data of its own point group."""
    for group in gemmi.spacegroup_table():
        assert group.xhm() in [g.xhm() for g in find_wanted_space_group(group.xhm())]


@pytest.mark.data
def test_l_cysteine(
    data_root: Path, require_dials: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """The four sweeps are labelled P222; in P212121 their absences are found, and DIALS reads the group."""
    monkeypatch.chdir(tmp_path)
    files = [str(p) for p in sorted((data_root / "l_cysteine").glob("*_integrated.*"))]
    n_obs = []
    for arguments in ([], ["space_group=P212121"]):
        assert main(["scale", *files, *arguments]) == 0
        found = json.loads(Path("pyscale.scale.json").read_text())
        n_obs.append(found["merging_statistics"]["overall"]["n_obs"])
    assert found["space_group"] == "P 21 21 21"
    table = read_refl("scaled.refl")
    absent = systematic_absences("P 21 21 21", np.ascontiguousarray(table["miller_index"]))
    scaled = (table["flags"] & np.uint64(int(Flag.scaled))) != 0
    assert absent.sum() > 50
    assert not (absent & scaled).any()
    counted = sum(entry["filtered"].get("systematic_absence", 0) for entry in found["ledger"].values())
    assert 50 < counted <= absent.sum()
    assert n_obs[1] < n_obs[0]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    command = [str(require_dials / "dials.show"), "scaled.expt"]
    shown = subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stdout
    assert shown.count("Space group: P 21 21 21") == 4
    capsys.readouterr()
    assert main(["scale", *files, "space_group=P4"]) == 2
    assert "is not tetragonal" in capsys.readouterr().err
