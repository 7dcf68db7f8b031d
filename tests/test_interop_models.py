"""Every kind of model that we store, as the classes of DIALS evaluate it, and through the commands of DIALS."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pyscale
from pyscale.io.refl import read_refl

# DIALS takes seconds to start: one process evaluates all models.
EVALUATE = """
import json, sys
from pathlib import Path
from types import SimpleNamespace
from dials.algorithms.scaling.scaling_utilities import align_axis_along_z, calc_crystal_frame_vectors
from dials.array_family import flex
from dxtbx.model.experiment_list import ExperimentListFactory

params = SimpleNamespace(physical=SimpleNamespace(decay_restraint=0.1))

def scales(experiment, table):
    bad = table.flags.user_excluded_in_scaling, table.flags.excluded_for_scaling
    suitable = ~(table.get_flags(bad[0]) | table.get_flags(bad[1]))
    rows = table.select(suitable)
    rows["d"] = experiment.crystal.get_unit_cell().d(rows["miller_index"])
    rows = calc_crystal_frame_vectors(rows, experiment)
    for name in ("s0c", "s1c"):
        rows[name] = align_axis_along_z((1.0, 0.0, 0.0), rows[name])
    model = experiment.scaling_model
    model.configure_components(rows, experiment, params)
    g = flex.double(len(rows), 1.0)
    for component in model.components.values():
        component.update_reflection_data(block_selections=[flex.size_t(range(len(rows)))])
        g *= component.calculate_scales_and_derivatives(block_id=0)[0]
    return {"model": model.id_, "components": sorted(model.components), "suitable": list(suitable), "g": list(g)}

result = {}
for folder in map(Path, sys.argv[1:]):
    experiments = ExperimentListFactory.from_json_file(str(folder / "scaled.expt"), check_format=False)
    table = flex.reflection_table.from_file(str(folder / "scaled.refl"))
    by_set = [table.select(table["id"] == i) for i in range(len(experiments))]
    result[folder.name] = [scales(e, t) for e, t in zip(experiments, by_set)]
Path("g.json").write_text(json.dumps(result))
"""
DOSES: dict[str, Any] = {"model": "dose_decay", "dose_per_image": (0.5, 2.0), "dose_at_start": (30.0, 0.0)}
MODELS: dict[str, dict[str, Any]] = {
    "physical": {"absorption_level": "low"},
    "shared_absorption": {"absorption_level": "high", "physical.share.absorption": True},
    "constant_scale": {"physical.scale_correction": False},
    "no_decay": {"physical.decay_correction": False},
    "KB": {"model": "KB"},
    "K": {"model": "KB", "KB.decay_correction": False},
    "array": {"model": "array"},
    "modulation": {"model": "array", "modulation_correction": True, "n_modulation_bins": 5, "n_absorption_bins": 2},
    "array_without_absorption": {"model": "array", "array.absorption_correction": False, "n_resolution_bins": 2},
    "array_without_decay": {"model": "array", "array.decay_correction": False, "n_absorption_bins": 1},
    "dose_decay": {"model": "dose_decay", "dose_decay.absorption_correction": True},
    "linear_dose": {"model": "dose_decay", "resolution_dependence": "linear", "dose_decay.share.decay": False},
    "linear_dose_axis": {
        "model": "dose_decay",
        "resolution_dependence": "linear",
        "dose_per_image": (0.5, 2.0),
        "relative_B_correction": False,
    },
    "dose_axis": DOSES | {"exclude_images": ("0:1:7",)},
    "dose_axis_without_B": DOSES | {"relative_B_correction": False},
}
OWN: dict[str, dict[str, Any]] = {
    "image_scale": {"physical.image_scale": True},
    "analytical": {"physical.analytical_correction": True},
}
COMPLAINT = re.compile(r"\berror:|\bsorry\b|traceback|exception", re.IGNORECASE)
FAST = (
    "full_matrix=False",
    "max_iterations=1",
    "outlier_rejection=None",
    "error_model.error_model=None",
    "output.html=None",
    "output.experiments=theirs.expt",
    "output.reflections=theirs.refl",
    "nproc=1",
)


def run(folder: Path, command: list[str]) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    text = done.stdout + done.stderr
    assert done.returncode == 0, text[-2000:]
    return text


@pytest.fixture(scope="module")
def scaled(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folder of the files of a model, each job made once: two sweeps from one crystal, one with a tilted goniometer."""
    root = tmp_path_factory.mktemp("models")
    data = pyscale.simulate(
        unit_cell=(20.0, 24.0, 30.0, 90.0, 90.0, 90.0),
        d_min=2.2,
        n_sweeps=2,
        sweep_width=70.0,
        oscillation_width=1.0,
        random_goniometer=True,
        dose_decay=0.005,
        analytical=0.05,
        seed=7,
    )
    data.write(root)

    def make(name: str) -> Path:
        folder = root / name
        if not folder.is_dir():
            folder.mkdir()
            job = pyscale.read(root / "simulated.expt", root / "simulated.refl")
            result = pyscale.scale(job, nproc=1, **(MODELS | OWN)[name])
            result.write(folder / "scaled.expt", folder / "scaled.refl")
        return folder

    return make


@pytest.fixture(scope="module")
def evaluated(scaled: Callable[[str], Path], require_dials: Path) -> dict[str, Any]:
    """What DIALS makes of the models that it knows."""
    folders = [scaled(name) for name in MODELS]
    python = (require_dials / "dials.scale").read_text().partition("\n")[0].removeprefix("#!").split()
    run(folders[0].parent, [*python, "-c", EVALUATE, *map(str, folders)])
    result: dict[str, Any] = json.loads((folders[0].parent / "g.json").read_text())
    return result


@pytest.mark.parametrize("name", MODELS)
def test_dials_finds_our_scales(name: str, scaled: Callable[[str], Path], evaluated: dict[str, Any]) -> None:
    table = read_refl(scaled(name) / "scaled.refl")
    stored = json.loads((scaled(name) / "scaled.expt").read_text())["scaling_model"]
    assert len(stored) == len(evaluated[name]) == 2
    for number, (entry, model) in enumerate(zip(evaluated[name], stored, strict=True)):
        assert entry["model"] == model["__id__"] == MODELS[name].get("model", "physical")
        assert entry["components"] == sorted(model["configuration_parameters"]["corrections"])
        ours = table["inverse_scale_factor"][table["id"] == number][np.array(entry["suitable"])]
        theirs = np.array(entry["g"])
        assert theirs.size > 500 and np.ptp(theirs) > (1e-3 if name != "K" else -1)
        np.testing.assert_allclose(theirs, ours, rtol=1e-9)


@pytest.mark.parametrize("name", ["physical", "KB", "array", "modulation", "dose_axis"])
def test_commands_of_dials_go_through(name: str, scaled: Callable[[str], Path], require_dials: Path) -> None:
    for command in ("dials.report", "dials.scale"):
        text = run(
            scaled(name),
            [str(require_dials / command), "scaled.expt", "scaled.refl", *(FAST if command == "dials.scale" else ())],
        )
        assert not COMPLAINT.search(text), text[-2000:]
    theirs = json.loads((scaled(name) / "theirs.expt").read_text())["scaling_model"]
    assert [m["__id__"] for m in theirs] == [MODELS[name].get("model", "physical")] * 2


@pytest.mark.parametrize("name", OWN)
def test_dials_merges_what_its_models_lack(name: str, scaled: Callable[[str], Path], require_dials: Path) -> None:
    commands = (["dials.merge", "assess_space_group=False"], ["dials.export"], ["dials.report"])
    for command, *options in commands:
        run(scaled(name), [str(require_dials / command), "scaled.expt", "scaled.refl", *options])
    assert (scaled(name) / "merged.mtz").stat().st_size > 1000
    assert (scaled(name) / "scaled.mtz").stat().st_size > 1000
