"""From options to data with a known answer; only this module knows the order of the steps."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..dataset import Job, make_job
from ..errors import UsageError
from ..experiment import ExperimentList
from ..io.atomic import OutputSet, PathLike
from ..io.expt import write_expt
from ..io.refl import write_refl
from ..reflections import ReflectionTable
from ..typing import BoolArray, FloatArray, IndexArray
from .absorption import SampleView
from .columns import QUANTUM_EFFICIENCY, Columns, make_columns
from .crystal import TrueCrystal, make_crystal, random_rotation
from .distortions import TrueScale, model_scale, smooth_scale, still_scale
from .documents import ExperimentModels, experiment_document
from .effects import apply_effects, site_damage
from .geometry import Detector, make_detector, make_geometry
from .noise import Measurement, background_level, measure, plant_outliers
from .options import SimulationOptions
from .rotation import Spots, rotation_spots
from .stills import still_spots

__all__ = ["SimulatedData", "simulate"]

_SAMPLE_STREAM = 6
"""Random stream of the surface that the sweeps of one crystal share."""


@dataclass(frozen=True, repr=False)
class SimulatedData:
    """Simulated experiments and what is true about them.

    Attributes
    ----------
    options : SimulationOptions
        As given.
    document : dict
        The experiment list as written to `.expt`.
    identifiers : list of str
        One per experiment.
    columns : list of dict
        Reflection columns of each experiment.
    truth : dict
        Per row, all experiments one after the other:

        - `g`: inverse scale factor;
        - `I`: true merged intensity of the unique reflection; `I_own`: that of this Friedel mate; `I_untwinned`: the
          latter without the other domain, where there is a twin, whose law is in `twin_law`;
        - `damage`: the factor of the true intensity by site-specific radiation damage, which is no part of g;
        - `sigma`: true standard deviation of the corrected profile intensity (stills: summed), multiplicative
          error included, outliers not;
        - `outlier`, `outlier_kind`: 0, or 1 + position in `OUTLIER_KINDS`;
        - `group`, `miller`, `z`, `id`;
        - `ln_factor/NAME`: what the effect NAME (the option that switches it on) contributes to ln g.

        Parameters of the true scale: `sweep_k/NAME` for sweep k (truth=model: `scale`, `decay` and
        `absorption`, and `scale_layout` and `decay_layout` with interval, norm_fac, origin and extent);
        `stills/scale` and `stills/decay`, shape (n_stills,). `crystal/anisotropic_b`: (3, 3) tensor, Å².
        Of the effects: `sweep_k/dose` (at the start, per image),
        `sweep_k/jitter` and `sweep_k/beam_loss` (ln of every image's scale), `detector/modulation_blocks` (ln of each
        block's sensitivity) or `detector/modulation_waves` (rows kx, ky, phase). `options`: all options as JSON.
    """

    options: SimulationOptions
    document: dict[str, Any]
    identifiers: list[str]
    columns: list[Columns]
    truth: Columns

    def __len__(self) -> int:
        return len(self.truth["g"])

    def __repr__(self) -> str:
        return f"<SimulatedData: {len(self.identifiers)} data sets, {len(self)} observations>"

    def job(self) -> Job:
        """The data as `pyscale.read` would return them from files, ready to be scaled."""
        return make_job(self.experiments(), [self.reflections()], ["simulation"])

    def experiments(self) -> ExperimentList:
        """The experiment list, ready to be scaled or written."""
        return ExperimentList(copy.deepcopy(self.document), "simulation")

    def reflections(self) -> ReflectionTable:
        """One table of all experiments, in the order of the truth's rows."""
        tables = []
        for number, (identifier, columns) in enumerate(zip(self.identifiers, self.columns, strict=True)):
            table = ReflectionTable(identifiers={number: identifier}, source="simulation")
            for name, values in columns.items():
                table[name] = values
            tables.append(table)
        return ReflectionTable.concatenate(tables)

    def write(self, directory: PathLike) -> list[Path]:
        """Write `simulated.expt`, `simulated.refl` and `truth.npz`, all or none.

        Parameters
        ----------
        directory
            Made if it does not exist.

        Returns
        -------
        list of Path
            The three files.

        Raises
        ------
        UsageError
            If the files cannot be written.
        """
        folder = Path(directory)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{folder}: cannot be made a directory ({error.strerror})") from None
        paths = [folder / name for name in ("simulated.expt", "simulated.refl", "truth.npz")]
        with OutputSet() as outputs:
            experiments, reflections, truth = (outputs.stage(path) for path in paths)
            write_expt(self.experiments(), experiments)
            write_refl(self.reflections(), reflections)
            try:
                with truth.open("wb") as file:
                    np.savez(file, **self.truth)  # type: ignore[arg-type]
            except OSError as error:
                raise UsageError(f"{paths[2]}: cannot be written ({error.strerror})") from None
        return paths


@dataclass(frozen=True)
class _Experiment:
    models: ExperimentModels
    spots: Spots
    columns: Columns
    rows: Columns
    parameters: dict[str, FloatArray]

    @property
    def view(self) -> SampleView:
        return SampleView(self.models.geometry, self.spots)


def simulate(options: SimulationOptions | None = None) -> SimulatedData:
    """Simulate integrated data.

    Parameters
    ----------
    options
        Defaults as for `pyscale simulate`.

    Returns
    -------
    SimulatedData
        In memory; the same options give the same bytes.

    Raises
    ------
    UsageError
        The options describe no possible experiment, or nothing is recorded.
    """
    options = options or SimulationOptions()
    crystal = make_crystal(options, np.random.default_rng([options.seed, 0]))
    detector = make_detector(options)
    experiments: list[_Experiment] = []
    for number in range(options.n_experiments):
        first = experiments[0] if experiments and options.same_crystal else None
        if first is not None and len(first.spots) == 0:
            raise UsageError(
                "no reflection is recorded in the first sweep or still of the one crystal: check start_angles"
            )
        experiments.append(_simulate_one(options, crystal, detector, number, first))
    truth = {name: np.concatenate([e.rows[name] for e in experiments]) for name in experiments[0].rows}
    if len(truth["g"]) == 0:
        raise UsageError("no reflection is recorded: check detector, d_min, wavelength, sweep_width, keep and gap")
    truth.update(_scale_parameters(options, [e.parameters for e in experiments]))
    truth["crystal/anisotropic_b"] = crystal.anisotropic_b
    if crystal.twin_law:
        truth["twin_law"] = np.array(crystal.twin_law)
    truth["options"] = np.array(json.dumps(dataclasses.asdict(options)))
    models = [e.models for e in experiments]
    return SimulatedData(
        options=options,
        document=experiment_document(options, crystal, detector, models),
        identifiers=[m.identifier for m in models],
        columns=[e.columns for e in experiments],
        truth=truth,
    )


def _simulate_one(
    options: SimulationOptions, crystal: TrueCrystal, detector: Detector, number: int, first: _Experiment | None
) -> _Experiment:
    """One sweep or still; every purpose has its own random numbers, so that one option changes one thing.

    `first` is the experiment whose crystal this one shares, if any.
    """
    geometry_rng, spots_rng, scale_rng, outlier_rng, noise_rng = (
        np.random.default_rng([options.seed, 1 + purpose, number]) for purpose in range(5)
    )
    geometry = make_geometry(options, geometry_rng)
    orientation = random_rotation(geometry_rng)
    identifier = str(uuid.UUID(bytes=geometry_rng.bytes(16), version=4))
    if first is not None:
        orientation = first.models.orientation
    if options.kind == "rotation":
        spots = rotation_spots(options, crystal, orientation, geometry, detector, number, spots_rng)
    else:
        spots = still_spots(options, crystal, orientation, geometry, detector, spots_rng)
    d = crystal.d[spots.reflection]
    view = SampleView(geometry, spots)
    sample = first.view if first is not None else view
    scale = _true_scale(options, view, sample, d, number, scale_rng)

    correction = spots.lp / QUANTUM_EFFICIENCY
    damage = site_damage(options, number, spots, crystal.group[spots.reflection])
    counts = crystal.intensity[spots.reflection] * damage * scale.g / correction
    background = background_level(options, d)
    kind, spoiled, sigma_factor = plant_outliers(options, counts, background, outlier_rng)
    blur = 1.0 + options.multiplicative_error * noise_rng.normal(size=len(spots))
    rows, partiality = _split_partials(options, spots, noise_rng)
    measurement = measure(spoiled[rows], blur[rows], background[rows], partiality, sigma_factor[rows], noise_rng)
    known = None if scale.analytical_correction is None else scale.analytical_correction[rows]
    columns = make_columns(options, crystal, detector, spots, rows, partiality, measurement, number, known)
    reflection = spots.reflection[rows]
    sigma = _true_sigma(options, measurement, counts[rows])
    truth: Columns = {
        "g": scale.g[rows],
        "I": crystal.merged_intensity[reflection],
        "I_own": crystal.intensity[reflection],
        "sigma": sigma * correction[rows],
        "outlier": kind[rows] > 0,
        "outlier_kind": kind[rows],
        "damage": damage[rows],
        "group": crystal.group[reflection],
        "miller": crystal.miller_index[reflection],
        "z": spots.z[rows],
        "id": np.full(len(rows), number, np.int32),
        **{f"ln_factor/{name}": values[rows] for name, values in scale.ln_factors.items()},
    }
    if crystal.twin_law:
        truth["I_untwinned"] = crystal.untwinned_intensity[reflection]
    models = ExperimentModels(identifier, geometry, orientation)
    if options.gap != (0, 0):
        keep = _outside_gap(options, spots.z[rows])
        columns, truth = ({name: values[keep] for name, values in part.items()} for part in (columns, truth))
    return _Experiment(models, spots, columns, truth, scale.parameters)


def _outside_gap(options: SimulationOptions, z: FloatArray) -> BoolArray:
    """Rows that stay; the others go last, so that these are as they are without a hole."""
    first, last = options.gap
    return np.asarray((z < first - 1) | (z >= last))


def _true_sigma(options: SimulationOptions, measurement: Measurement, counts: FloatArray) -> FloatArray:
    stills = options.kind == "stills"
    counting = measurement.expected_sum_variance if stills else measurement.expected_profile_variance
    return np.sqrt(counting + (options.multiplicative_error * counts) ** 2)


def _scale_parameters(options: SimulationOptions, parameters: list[dict[str, FloatArray]]) -> Columns:
    truth: Columns = {}
    for k, own in enumerate(parameters):
        for name, values in own.items():
            if name.startswith("modulation"):
                truth[f"detector/{name}"] = values
            elif options.kind == "rotation":
                truth[f"sweep_{k}/{name}"] = values
    if options.kind == "stills":
        truth.update({f"stills/{name}": np.array([p[name] for p in parameters]) for name in ("scale", "decay")})
    return truth


def _true_scale(
    options: SimulationOptions,
    view: SampleView,
    sample: SampleView,
    d: FloatArray,
    number: int,
    rng: np.random.Generator,
) -> TrueScale:
    """The base scale times all effects."""
    overall = math.exp(options.scale_spread * rng.normal()) if number else 1.0
    if options.kind == "stills":
        base = still_scale(options, d, overall, rng)
    elif len(view.spots) == 0:
        base = TrueScale(np.zeros(0))
    else:
        make = model_scale if options.truth == "model" else smooth_scale
        sample_rng = np.random.default_rng([options.seed, _SAMPLE_STREAM, 0]) if options.same_crystal else rng
        base = make(options, view, sample, d, overall, rng, sample_rng)
    return apply_effects(options, number, view, sample, d, base)


def _split_partials(
    options: SimulationOptions, spots: Spots, rng: np.random.Generator
) -> tuple[IndexArray, FloatArray]:
    """Spot and recorded fraction of each row: some reflections are recorded in two parts."""
    chosen = rng.uniform(size=len(spots)) < options.partials
    share = rng.uniform(0.3, 0.7, len(spots))
    rows = np.repeat(np.arange(len(spots)), np.where(chosen, 2, 1))
    second = np.concatenate([[False], rows[1:] == rows[:-1]])
    fraction = np.where(chosen[rows], np.where(second, 1.0 - share[rows], share[rows]), 1.0)
    return rows, spots.partiality[rows] * fraction
