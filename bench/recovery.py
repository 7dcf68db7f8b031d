"""What the benches of recovery share: kinds of distortion, candidate models, and the error against the truth."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

import pyscale
from pyscale.dataset import make_job
from pyscale.errors import DataError, UsageError
from pyscale.result import ScalingResult
from pyscale.simulation import SimulatedData, SimulationOptions

__all__ = ["CANDIDATES", "KINDS", "Recovery", "candidate_options", "ln_g_error", "recover", "simulated"]

Keywords = dict[str, Any]

FLAT: Keywords = {"scale_variation": 0.0, "decay": 0.0, "absorption": 0.0}
BASE: Keywords = {**FLAT, "d_min": 3.0, "mean_intensity": 300.0, "n_sweeps": 2, "sweep_width": 100.0}
ONE_CRYSTAL: Keywords = {"same_crystal": True, "random_goniometer": True}
KINDS: dict[str, Keywords] = {
    "none (a scale per sweep)": {},
    "scale": {"scale_variation": 0.2},
    "B decay": {"decay": 24.0},
    "absorption": {"absorption": 0.06},
    "absorption, strong": {"absorption": 0.2},
    "absorption, one crystal": {"absorption": 0.06, **ONE_CRYSTAL, "n_sweeps": 4, "sweep_width": 65.0},
    "absorption, one crystal in the basis": {
        "absorption": 0.06,
        "truth": "model",
        **ONE_CRYSTAL,
        "n_sweeps": 4,
        "sweep_width": 65.0,
    },
    "scale, B, absorption": {"scale_variation": 0.2, "decay": 12.0, "absorption": 0.06},
    "the same, in the basis": {"scale_variation": 0.2, "decay": 12.0, "absorption": 0.06, "truth": "model"},
    "the same, hole of 20°": {"scale_variation": 0.2, "decay": 12.0, "absorption": 0.06, "gap": (81, 120)},
    "dose, quadratic": {
        "dose_decay": 0.012,
        "dose_per_image": (1.0, 3.0),
        "dose_at_start": (0.0, 200.0),
        "same_crystal": True,
    },
    "dose, linear": {
        "dose_decay": 0.005,
        "dose_per_image": (1.0, 3.0),
        "dose_at_start": (0.0, 200.0),
        "same_crystal": True,
        "dose_law": "linear",
    },
    "detector, smooth": {"modulation": 0.05},
    "detector, blocks": {"modulation": 0.05, "modulation_pattern": "blocky"},
    "rotation × resolution": {"resolution_variation": 0.06},
    "rotation × x × y": {"position_variation": 0.06},
    "jitter of images": {"jitter": 0.08},
    "jitter over 5 images": {"jitter": 0.08, "jitter_correlation": 5.0},
    "beam losses": {"beam_loss": 0.4},
    "known correction": {"analytical": 0.1},
}
"""What is switched on beside one scale per sweep."""

CANDIDATES: dict[str, Keywords] = {
    "KB": {"model": "KB"},
    "smooth": {"model": "physical", "physical": {"absorption_correction": False}},
    "physical": {"model": "physical", "physical": {"absorption_correction": True}},
    "lmax 6": {"model": "physical", "physical": {"absorption_correction": True, "lmax": 6}},
    "shared": {"model": "physical", "physical": {"absorption_correction": True, "share": {"absorption": True}}},
    "analytical": {"model": "physical", "physical": {"analytical_correction": True, "absorption_correction": False}},
    "image": {"model": "physical", "physical": {"image_scale": True}},
    "array": {"model": "array"},
    "array+mod": {"model": "array", "array": {"modulation_correction": True}},
    "dose": {"model": "dose_decay"},
    "dose 1/d": {"model": "dose_decay", "dose_decay": {"resolution_dependence": "linear"}},
    "auto": {"model": "auto"},
    "cv": {"model": "cross_validated"},
}
"""Options of each model under a short name."""

NAMES = {
    "smooth": "physical without absorption",
    "physical": "physical with absorption, lmax 4",
    "shared": "physical with one absorption surface for all",
    "analytical": "physical without absorption, with the column analytical_correction",
    "image": "physical, absorption by the rules, with one scale per image",
    "array+mod": "array with modulation",
    "dose": "dose_decay, quadratic, told the true doses",
    "dose 1/d": "dose_decay, linear, told the true doses",
    "auto": "by the rules",
    "cv": "cross_validated",
}


@dataclass(frozen=True)
class Recovery:
    """How well one model found one truth.

    Attributes
    ----------
    error : float
        Rms error of ln g over rows with g > 0, unweighted, after one fit of ln k + B/2d² for the job.
    predicted : float
        Rms of sigma(g)/g that the fit states.
    seconds : float
        Wall time of scaling on one thread.
    n_parameters : int
    refusal : str
        The program's sentence, if it refused; all else is NaN then.
    result : ScalingResult or None
    """

    error: float = np.nan
    predicted: float = np.nan
    seconds: float = np.nan
    n_parameters: int = 0
    refusal: str = ""
    result: ScalingResult | None = None


def simulated(kind: str | Keywords, seed: int) -> SimulatedData:
    """Data of a kind, or with the given options."""
    options = KINDS[kind] if isinstance(kind, str) else kind
    return pyscale.simulate(**{**BASE, **options, "seed": seed})


def candidate_options(name: str, options: SimulationOptions) -> Keywords:
    """Options of a candidate; the dose model is told the doses."""
    keywords = dict(CANDIDATES[name])
    if keywords["model"] == "dose_decay" and options.dose_decay > 0.0:
        doses = {"dose_per_image": options.dose_per_image, "dose_at_start": options.dose_at_start}
        keywords["dose_decay"] = {**keywords.get("dose_decay", {}), **doses}
    return keywords


def recover(data: SimulatedData, keywords: Keywords) -> Recovery:
    """Scale with the given options and compare with the truth."""
    job = make_job(data.experiments(), [data.reflections()])
    logger = logging.getLogger("pyscale")
    level = logger.level
    logger.setLevel(logging.ERROR)
    start = time.perf_counter()
    try:
        result = pyscale.scale(job, nproc=1, **keywords)
    except (UsageError, DataError) as error:
        return Recovery(refusal=str(error))
    finally:
        logger.setLevel(level)
    seconds = time.perf_counter() - start
    fit = result.fit
    good = fit.g > 0.0
    predicted = float(np.sqrt(np.mean(fit.g_variance[good] / fit.g[good] ** 2)))
    return Recovery(float(np.std(ln_g_error(data, result))), predicted, seconds, int(fit.parameters.size), "", result)


def ln_g_error(data: SimulatedData, result: ScalingResult) -> np.ndarray[Any, Any]:
    """Error of ln g of every observation with g > 0, gauge removed, in the order of the observations."""
    observations, g = result.observations, result.fit.g
    sizes = [len(columns["id"]) for columns in data.columns]
    row = np.concatenate([[0], np.cumsum(sizes)])[observations.data_set] + observations.row
    good = g > 0.0
    x = 0.5 / observations.d_spacing[good] ** 2
    error = np.log(g[good] / data.truth["g"][row[good]])
    design = np.column_stack([np.ones(x.size), x])
    return np.asarray(error - design @ np.linalg.lstsq(design, error, rcond=None)[0])
