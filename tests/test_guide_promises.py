"""What the scaling guide of 2018-19 promises (specification, section O), one or more tests for each row, by its names.

Options are written as that guide writes them; jobs run through the command line.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pyscale
from pyscale.cli import main
from pyscale.io.refl import read_refl
from pyscale.reflections import ReflectionTable

USER_EXCLUDED = np.uint64(1 << 22)
SCALED = np.uint64(1 << 26)
QUICK = ("output.html=None", "nproc=1")


@dataclass
class Outcome:
    """What a job left behind."""

    folder: Path
    error: str = ""
    experiments: dict[str, Any] = field(default_factory=dict)
    document: dict[str, Any] = field(default_factory=dict)
    log: str = ""

    @property
    def models(self) -> list[dict[str, Any]]:
        """Stored models."""
        models: list[dict[str, Any]] = self.experiments["scaling_model"]
        return models

    @property
    def reflections(self) -> ReflectionTable:
        """Scaled reflections."""
        return read_refl(self.folder / "scaled.refl")

    @property
    def decisions(self) -> dict[str, Any]:
        """Values chosen for the first data set."""
        chosen = next(iter(self.document["decisions"].values()))
        return {name: entry["value"] for name, entry in chosen.items()}

    @property
    def corrections(self) -> list[str]:
        """Components of the first stored model."""
        names: list[str] = self.models[0]["configuration_parameters"]["corrections"]
        return names

    def n_parameters(self, component: str) -> int:
        """Number of parameters of a component of the first model."""
        return len(self.models[0][component]["parameters"])


Run = Callable[..., Outcome]


@pytest.fixture
def scale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `pyscale scale` in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(files: list[Path], *options: str, status: int = 0) -> Outcome:
        found = main(["scale", *map(str, files), *options, *QUICK])
        outcome = Outcome(tmp_path, capsys.readouterr().err)
        assert found == status, outcome.error
        if found == 0:
            outcome.experiments = json.loads((tmp_path / "scaled.expt").read_text(encoding="utf-8"))
            outcome.document = json.loads((tmp_path / "pyscale.scale.json").read_text(encoding="utf-8"))
            outcome.log = (tmp_path / "pyscale.scale.log").read_text(encoding="utf-8")
        return outcome

    return run


Sweep = Callable[..., list[Path]]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """Write simulated sweeps of a width in degrees; each kind once."""
    made: dict[str, list[Path]] = {}

    def write(width: float, **options: Any) -> list[Path]:
        key = f"{width} {options}"
        if key not in made:
            folder = tmp_path_factory.mktemp("sweep")
            settings = {"d_min": 4.0, "oscillation_width": min(1.0, width / 2), "seed": 3, "outlier_fraction": 0.0}
            data = pyscale.simulate(sweep_width=width, **{**settings, **options})
            made[key] = data.write(folder)[:2]
        return made[key]

    return write


MODELS = ["physical", "array", "KB"]


@pytest.mark.parametrize("model", MODELS)
def test_O1_models(scale: Run, sweep: Sweep, model: str) -> None:
    """Row 1: models physical, array and KB."""
    outcome = scale(sweep(100.0), f"model={model}")
    assert [stored["__id__"] for stored in outcome.models] == [model]
    assert outcome.document["merging_statistics"]["overall"]["r_meas"] < 0.1


GUIDE_RULES = [
    (0.8, "KB", None),
    (3.0, "physical", (2.0, 3.0, False)),
    (15.0, "physical", (4.0, 5.0, False)),
    (50.0, "physical", (8.0, 10.0, False)),
    (80.0, "physical", (8.0, 10.0, True)),
    (100.0, "physical", (15.0, 20.0, True)),
]


@pytest.mark.parametrize(("width", "model", "chosen"), GUIDE_RULES)
def test_O1_auto_rules(
    scale: Run, sweep: Sweep, width: float, model: str, chosen: tuple[float, float, bool] | None
) -> None:
    """Row 1: model=auto by the oscillation range, with auto_rules=guide as it was then."""
    files = sweep(width, d_min=4.0 if width > 1.0 else 1.3)
    decisions = scale(files, "model=auto", "auto_rules=guide").decisions
    assert decisions["model"] == model
    if chosen is not None:
        names = ("scale_interval", "decay_interval", "absorption")
        assert tuple(decisions[name] for name in names) == chosen


def test_O1_rules_of_today_are_the_default(scale: Run, sweep: Sweep) -> None:
    """Row 1: below 5 degrees the intervals are 1.0 and 1.5 today."""
    decisions = scale(sweep(3.0)).decisions
    assert (decisions["scale_interval"], decisions["decay_interval"]) == (1.0, 1.5)


def test_O2_scale_term(scale: Run, sweep: Sweep) -> None:
    """Row 2: scale_term=False leaves no scale that varies with rotation."""
    outcome = scale(sweep(100.0), "model=physical", "scale_term=False", "absorption_term=False")
    assert "was renamed to physical.scale_correction" in outcome.error
    # For DIALS it is a scale of equal parameters.
    assert np.ptp(outcome.models[0]["scale"]["parameters"]) == 0.0
    assert np.ptp(outcome.models[0]["decay"]["parameters"]) > 0.0


@pytest.mark.parametrize(
    ("model", "term", "component"),
    [
        ("physical", "decay_term", "decay"),
        ("physical", "absorption_term", "absorption"),
        ("array", "decay_term", "decay"),
        ("array", "absorption_term", "absorption"),
        ("array", "modulation_term", "modulation"),
        ("KB", "decay_term", "decay"),
    ],
)
def test_O2_terms(scale: Run, sweep: Sweep, model: str, term: str, component: str) -> None:
    """Row 2: decay_term, absorption_term and modulation_term switch their component on and off in every model."""
    options = [f"model={model}", *(["n_modulation_bins=4"] if component == "modulation" else [])]
    assert component in scale(sweep(100.0), *options, f"{term}=True").corrections
    outcome = scale(sweep(100.0), *options, f"{term}=False")
    assert component not in outcome.corrections
    assert f"option {term} was renamed to" in outcome.error


def test_O3_intervals(scale: Run, sweep: Sweep) -> None:
    """Row 3: scale_interval and decay_interval set the number of parameters (100 degrees at 15 and 20: 9 and 7)."""
    outcome = scale(sweep(100.0), "model=physical", "scale_interval=15", "decay_interval=20")
    assert (outcome.n_parameters("scale"), outcome.n_parameters("decay")) == (9, 7)
    finer = scale(sweep(100.0), "model=physical", "scale_interval=5", "decay_interval=10")
    assert finer.n_parameters("scale") == 22 and finer.n_parameters("decay") == 12


@pytest.mark.parametrize(("option", "n"), [("lmax=auto", 24), ("lmax=4", 24), ("lmax=6", 48), ("lmax=2", 8)])
def test_O3_lmax(scale: Run, sweep: Sweep, option: str, n: int) -> None:
    """Row 3: lmax (default 4) gives lmax(lmax + 2) parameters."""
    assert scale(sweep(100.0), "model=physical", option).n_parameters("absorption") == n


def test_O3_restraints(scale: Run, sweep: Sweep) -> None:
    """Row 3: decay_restraint (0.1, weak) and surface_weight (1e6, strong) hold their parameters to zero."""

    def size(component: str, *options: str) -> float:
        fixed = ("model=physical", "absorption_term=True", "decay_restraint=0.1", "surface_weight=1e6")
        model = scale(sweep(100.0), *fixed, *options).models[0]
        return float(np.linalg.norm(model[component]["parameters"]))

    assert size("decay", "decay_restraint=1e6") < 0.01 * size("decay")
    assert size("absorption") < 0.1 * size("absorption", "surface_weight=10")


def test_O4_absorption_is_off_for_low_coverage(scale: Run, sweep: Sweep) -> None:
    """Row 4: no absorption surface for a low coverage unless asked for, then or with absorption_term=True."""
    outcome = scale(sweep(50.0))
    assert "absorption" not in outcome.corrections
    assert "rotation of 50 deg is not above 60 deg" in outcome.log
    assert "absorption" in scale(sweep(50.0), "absorption_term=True").corrections


@pytest.mark.parametrize("options", [{"width": 2.0}, {"width": 2.0, "kind": "stills", "n_stills": 30}])
def test_O5_kb_for_thin_wedges_and_stills(scale: Run, sweep: Sweep, options: dict[str, Any]) -> None:
    """Row 5: KB for thin wedges and stills, one K and one B for each."""
    files = sweep(**options)
    outcome = scale(files, "model=KB")
    for model in outcome.models:
        assert model["__id__"] == "KB"
        assert all(len(model[name]["parameters"]) == 1 for name in ("scale", "decay"))


def test_O5_degenerate_wedges_end_well(scale: Run, data_root: Path) -> None:
    """Row 5: where the full matrix is singular the job ends, and names what the data do not determine."""
    folder = data_root / "l_cysteine_narrow"
    files = [folder / f"{n}_integrated.{suffix}" for n in (11, 23) for suffix in ("expt", "refl")]
    outcome = scale(files, "model=KB")
    assert "too few for the model's" in outcome.error
    g = outcome.reflections["inverse_scale_factor"]
    assert np.isfinite(g).all()


def test_O5_full_matrix_false_works_or_says_what_to_do(scale: Run, sweep: Sweep) -> None:
    """Row 5: full_matrix=False is never needed for a job to end; it is taken, or refused with the reason."""
    found = main(["scale", *map(str, sweep(2.0)), "model=KB", "full_matrix=False", *QUICK])
    assert found in (0, 2)
    if found == 2:
        with pytest.raises(pyscale.UsageError, match="not yet available in pyscale: the full matrix is the only"):
            pyscale.scale(pyscale.read(*sweep(2.0)), full_matrix=False)


def test_O6_bins_of_the_array_model(scale: Run, sweep: Sweep) -> None:
    """Row 6: decay over rotation and resolution, absorption over rotation and the detector, modulation over it."""
    options = ["n_resolution_bins=6", "n_absorption_bins=2", "modulation_term=True", "n_modulation_bins=5"]
    outcome = scale(sweep(100.0), "model=array", "decay_interval=25", *options)
    stored = outcome.models[0]["configuration_parameters"]
    # A number of bins m is m + 2 parameters, 2 bins are 3; 100 degrees at 25 are 4 intervals.
    assert (stored["n_res_param"], stored["n_time_param"]) == (8, 6)
    assert (stored["n_x_param"], stored["n_y_param"]) == (3, 3)
    assert (stored["n_x_mod_param"], stored["n_y_mod_param"]) == (7, 7)
    sizes = {name: outcome.n_parameters(name) for name in ("decay", "absorption", "modulation")}
    assert sizes == {"decay": 48, "absorption": 54, "modulation": 49}


def test_O6_array_on_a_narrow_sweep_ends_well(scale: Run, sweep: Sweep) -> None:
    """Row 6: the guide wants wide rotations for it; a narrow one gets scales too, with what is undetermined named."""
    g = scale(sweep(15.0), "model=array").reflections["inverse_scale_factor"]
    assert np.isfinite(g).all() and (g > 0.0).mean() > 0.9


def test_O7_options_win_over_auto(scale: Run, sweep: Sweep) -> None:
    """Row 7: what is given is taken, with model=auto as well; the rest stays with the rules."""
    outcome = scale(sweep(100.0), "model=auto", "scale_interval=10", "lmax=5")
    assert outcome.decisions["scale_interval"] == 10.0 and outcome.decisions["decay_interval"] == 20.0
    assert outcome.n_parameters("absorption") == 35
    assert "set by the user" in outcome.log
    assert "absorption" not in scale(sweep(100.0), "model=auto", "absorption_term=False").corrections


def legacy_files(data_root: Path) -> list[Path]:
    folder = data_root / "l_cysteine_legacy"
    names = [f"{n}_integrated{suffix}" for n in (20, 25) for suffix in ("_experiments.json", ".pickle")]
    return [folder / name for name in names]


def test_O8_identifiers_are_shown(scale: Run, data_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Row 8: the log says `Dataset unique identifiers are ['0', '1']`, and so does pyscale show."""
    outcome = scale(legacy_files(data_root))
    assert "Dataset unique identifiers are ['0', '1']" in outcome.log
    assert [entry["identifier"] for entry in outcome.experiments["experiment"]] == ["0", "1"]
    assert main(["show", "scaled.expt", "scaled.refl"]) == 0
    rows = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
    assert ["0", "0"] in rows and ["1", "1"] in rows


@pytest.mark.parametrize(
    ("option", "kept"),
    [
        ("exclude_datasets=0 2", [1, 3]),
        ("exclude_datasets=0,2", [1, 3]),
        ('exclude_datasets="0 2"', [1, 3]),
        ("use_datasets=1 3", [1, 3]),
        ("scaling_options.use_datasets=3", [3]),
    ],
)
def test_O9_data_sets_are_left_out(scale: Run, sweep: Sweep, option: str, kept: list[int]) -> None:
    """Row 9: exclude_datasets="0 2" and use_datasets="1 3" remove data sets at the start; the output knows none."""
    files = sweep(40.0, n_sweeps=4)
    before = json.loads(files[0].read_text(encoding="utf-8"))["experiment"]
    outcome = scale(files, option)
    identifiers = [before[k]["identifier"] for k in kept]
    assert [entry["identifier"] for entry in outcome.experiments["experiment"]] == identifiers
    assert list(outcome.document["ledger"]) == identifiers
    table = read_refl(files[1])
    assert len(outcome.reflections) == np.isin(table["id"], kept).sum()
    assert np.unique(outcome.reflections["id"]).tolist() == list(range(len(kept)))


def excluded_images(table: ReflectionTable) -> np.ndarray:
    """Images with reflections of which all are excluded."""
    image = np.floor(table["xyzobs.px.value"][:, 2]).astype(int) + 1
    left = table["flags"] & USER_EXCLUDED == 0
    return np.setdiff1d(image, image[left])


def test_O10_images_are_left_out(scale: Run, sweep: Sweep) -> None:
    """Row 10: exclude_images="exp_id:start:stop", inclusive: flagged, not scaled, and the model fits the new range."""
    files = sweep(100.0)
    outcome = scale(files, "exclude_images=0:81:100", "model=physical", "scale_interval=15")
    table = outcome.reflections
    z = table["xyzobs.px.value"][:, 2]
    flagged = table["flags"] & USER_EXCLUDED != 0
    np.testing.assert_array_equal(flagged, z > 80.0)
    assert not (table["flags"][flagged] & SCALED).any()
    stored = outcome.models[0]["configuration_parameters"]
    assert stored["valid_image_range"] == [1, 80]
    # 80 degrees at 15: 6 intervals of 13.3 degrees, and two parameters more.
    assert outcome.n_parameters("scale") == 8
    assert outcome.document["merging_statistics"]["overall"]["n_obs"] <= (~flagged).sum()


def test_O10_exclusions_persist_and_accumulate(scale: Run, sweep: Sweep) -> None:
    """Row 10: later jobs keep what was left out, and more can be."""
    outcome = scale(sweep(100.0), "exclude_images=0:81:100")
    (ranges,) = outcome.experiments["scan"][0]["valid_image_ranges"].values()
    assert ranges == [[1, 80]]
    files = [outcome.folder / "first.expt", outcome.folder / "first.refl"]
    (outcome.folder / "scaled.expt").rename(files[0])
    (outcome.folder / "scaled.refl").rename(files[1])
    again = scale(files)
    assert excluded_images(again.reflections).tolist() == list(range(81, 101))
    more = scale(files, "exclude_images=0:1:10")
    assert excluded_images(more.reflections).tolist() == [*range(1, 11), *range(81, 101)]
    (ranges,) = more.experiments["scan"][0]["valid_image_ranges"].values()
    assert ranges == [[11, 80]]


def test_O10_the_older_name(scale: Run, sweep: Sweep) -> None:
    """Row 10: exclude_image_range, as the option was called at first."""
    outcome = scale(sweep(100.0), "cut_data.exclude_image_range=0:1:5")
    assert "was renamed to exclude_images" in outcome.error
    assert excluded_images(outcome.reflections).tolist() == [1, 2, 3, 4, 5]


def test_O11_a_hole_as_wide_as_the_spacing(scale: Run, sweep: Sweep, caplog: pytest.LogCaptureFixture) -> None:
    """Row 11: an interior exclusion as wide as the parameter spacing breaks nothing, and needs no cut sweep."""
    options = ["model=physical", "scale_interval=10", "decay_interval=10", "absorption_term=False"]
    whole = scale(sweep(100.0), *options)
    g_whole = whole.reflections["inverse_scale_factor"]
    with caplog.at_level(logging.INFO, "pyscale"):
        holed = scale(sweep(100.0), *options, "exclude_images=0:46:55")
    table = holed.reflections
    g, z = table["inverse_scale_factor"], table["xyzobs.px.value"][:, 2]
    assert holed.document["fit"]["termination"] == whole.document["fit"]["termination"]
    assert np.isfinite(g).all() and (g > 0.0).all()
    elsewhere = (z < 45.0) | (z > 55.0)
    # In one gauge: overall scale and B are free.
    design = np.column_stack([np.ones(elsewhere.sum()), table["d"][elsewhere] ** -2.0])
    difference = np.log(g[elsewhere] / g_whole[elsewhere])
    difference -= design @ np.linalg.lstsq(design, difference, rcond=None)[0]
    spread = np.sqrt(table["inverse_scale_factor_variance"][elsewhere]) / g[elsewhere]
    assert np.sqrt(np.mean((difference / spread) ** 2)) < 1.0
    assert np.abs(difference / spread).max() < 4.0


def test_O17_files_of_2018(scale: Run, data_root: Path) -> None:
    """Row 17: scaled.pickle and scaled_experiments.json by those names; both eras are read, today's is written."""
    files = legacy_files(data_root)
    names = ("output.experiments=scaled_experiments.json", "output.reflections=scaled.pickle")
    assert main(["scale", *map(str, files), *names, *QUICK]) == 0
    experiments = json.loads(Path("scaled_experiments.json").read_text(encoding="utf-8"))
    assert experiments["__id__"] == "ExperimentList" and len(experiments["scaling_model"]) == 2
    table = read_refl(Path("scaled.pickle"))
    first = read_refl(files[1])
    assert (table["flags"] & SCALED != 0).sum() > 5000 and len(table) > len(first)
    outcome = scale([Path("scaled_experiments.json"), Path("scaled.pickle")])
    assert outcome.document["merging_statistics"]["overall"]["r_meas"] < 0.06


def test_O17_a_scaled_pickle_by_another_name(scale: Run, data_root: Path) -> None:
    """Row 17: a pickle under the name .refl with a stored model of 2019 goes in again."""
    folder = data_root / "l_cysteine_legacy"
    outcome = scale([folder / "scaled_30.expt", folder / "scaled_30.refl"])
    assert outcome.models[0]["__id__"] == "physical"
    assert outcome.document["merging_statistics"]["overall"]["r_meas"] < 0.06
