"""What was planted in simulated rotation data, and what scaling found of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..typing import BoolArray, FloatArray, IndexArray
from .simulated_data import SimulatedData

__all__ = ["Finding", "recovery"]

_N_BINS = 60
_SURE = 3.0
"""Standard errors within which a number counts as found."""
_PLAIN = 6.0
_LEAST_FOUND, _MOST_FALSE = 0.95, 1e-3
_ROUNDING = 1e-4


@dataclass(frozen=True)
class Finding:
    """One thing that was planted.

    Attributes
    ----------
    quantity, planted, found : str
        For people.
    is_right : bool
        Whether what was found is what was planted, within its error.
    """

    quantity: str
    planted: str
    found: str
    is_right: bool


@dataclass(frozen=True)
class _Scaled:
    """Rows that were scaled, each array (n,): truth and result, in a common gauge."""

    options: Any
    image: FloatArray
    half_inv_d2: FloatArray
    true_g: FloatArray
    g: FloatArray
    sigma_ln_g: FloatArray
    is_planted: BoolArray
    is_rejected: BoolArray
    is_merged: BoolArray
    group: IndexArray
    intensity: FloatArray
    true_intensity: FloatArray
    sigma: FloatArray


def recovery(data: SimulatedData, result: Any) -> list[Finding]:
    """Compare a result with the truth.

    Parameters
    ----------
    data : SimulatedData
        One rotation sweep without partial rows.
    result : ScalingResult
        Of these data, scaled with default options.

    Returns
    -------
    list of Finding
    """
    rows = _scaled_rows(data, result)
    return [
        *_scales(rows),
        _decay(rows, result),
        _absorption(rows),
        *_outliers(rows, np.asarray(data.truth["outlier"], np.bool_)),
        *_error_model(rows, result),
        _merged(rows, result),
        _twinning(result),
    ]


def _scaled_rows(data: SimulatedData, result: Any) -> _Scaled:
    """The gauge, ln k + B / (2 d^2) for all rows, is taken from the result's g."""
    observations, scaled = result.observations, result.scaled
    truth: dict[str, Any] = dict(data.truth)
    kept = np.flatnonzero(~(scaled.small_scale | observations.absent))
    row: IndexArray = observations.row[kept]
    x = 0.5 / observations.d_spacing[kept] ** 2
    g, true_g = scaled.g[kept], truth["g"][row]
    basis = np.stack([np.ones(x.size), x], axis=1)
    gauge = np.linalg.lstsq(basis, np.log(g / true_g), rcond=None)[0]
    return _Scaled(
        options=data.options,
        image=truth["z"][row],
        half_inv_d2=x,
        true_g=true_g,
        g=g * np.exp(-basis @ gauge),
        sigma_ln_g=np.sqrt(scaled.g_variance[kept]) / g,
        is_planted=truth["outlier"][row],
        is_rejected=scaled.outlier[kept],
        is_merged=scaled.merged(observations.absent)[kept],
        group=truth["group"][row].astype(np.int64),
        intensity=observations.intensity[kept],
        true_intensity=truth["I_own"][row],
        sigma=np.sqrt(scaled.variance[kept]),
    )


def _scales(rows: _Scaled) -> list[Finding]:
    """The scale along the sweep, and every row's g against its own error."""
    planted, found = (_along_sweep(rows, np.log(g))[0] for g in (rows.true_g, rows.g))
    error = np.log(rows.g / rows.true_g)
    rms, expected = _rms(error), _rms(rows.sigma_ln_g)
    ranges = [math.exp(float(curve.max() - curve.min())) for curve in (planted, found)]
    return [
        Finding(
            "Scale, largest/smallest",
            f"{ranges[0]:.3f}",
            f"{ranges[1]:.3f} (off by {100 * _rms(found - planted):.2f} % rms)",
            _rms(found - planted) < _SURE * expected,
        ),
        Finding(
            "Error of scales, rms",
            f"{100 * rms:.2f} % (true)",
            f"{100 * expected:.2f} % (estimated)",
            rms < _SURE * expected,
        ),
    ]


def _decay(rows: _Scaled, result: Any) -> Finding:
    """The fall of B by radiation damage, from the first image to the last."""
    _, b = _along_sweep(rows, np.log(rows.true_g))
    damage = result.analyses.radiation_damage
    decay = damage.decay[0] if damage is not None and damage.decay else None
    centre = np.arange(b.size) + 0.5
    slope = float(np.polyfit(centre, b, 1)[0]) * b.size
    if decay is None:
        return Finding("Decay, change of B", f"{slope:.2f} Å²", "not determined", False)
    right = abs(decay.change - slope) < _SURE * decay.sigma
    return Finding("Decay, change of B", f"{slope:.2f} Å²", f"{decay.change:.2f} ± {decay.sigma:.2f} Å²", right)


def _absorption(rows: _Scaled) -> Finding:
    """What of g depends on directions: what a scale and a B along the sweep leave."""
    planted, found = (_rest(rows, np.log(g)) for g in (rows.true_g, rows.g))
    off = _rms(found - planted)
    return Finding(
        "Absorption, rms",
        f"{100 * _rms(planted):.2f} %",
        f"{100 * _rms(found):.2f} % (off by {100 * off:.2f} % rms)",
        off < _SURE * _rms(rows.sigma_ln_g),
    )


def _outliers(rows: _Scaled, is_outlier: BoolArray) -> list[Finding]:
    """Planted outliers, (n_rows,) bool, of which some deviate too little to be told; and what was rejected in error."""
    planted, rejected = rows.is_planted, rows.is_rejected
    plain = planted & (np.abs(rows.intensity - rows.true_g * rows.true_intensity) > _PLAIN * rows.sigma)
    hit, false, n_good = (int(np.count_nonzero(x)) for x in (planted & rejected, ~planted & rejected, ~is_outlier))
    n_plain = int(np.count_nonzero(plain))
    return [
        Finding(
            "Outliers",
            str(np.count_nonzero(is_outlier)),
            f"{hit} ({n_plain} are beyond {_PLAIN:.0f} sigma)",
            bool(np.count_nonzero(plain & rejected) >= _LEAST_FOUND * n_plain),
        ),
        Finding("Good observations", str(n_good), f"{false} of them rejected", false <= _MOST_FALSE * n_good),
    ]


def _error_model(rows: _Scaled, result: Any) -> list[Finding]:
    model, fit = result.fit.error_models.common, result.fit.error_model_fit
    if fit is None:
        return []
    numbers = (
        ("Error model, a", 1.0, model.a, fit.sigma_a, 3),
        ("Error model, b", rows.options.multiplicative_error, model.b, fit.sigma_b, 4),
    )
    return [
        Finding(
            name,
            f"{planted:.{digits}f}",
            f"{found:.{digits}f} ± {sigma:.{digits}f}",
            abs(found - planted) < _SURE * sigma,
        )
        for name, planted, found, sigma, digits in numbers
    ]


def _merged(rows: _Scaled, result: Any) -> Finding:
    """Merged intensities against true ones: CC* = sqrt(2 CC1/2 / (1 + CC1/2)) estimates their correlation."""
    kept = rows.is_merged
    group, g, n = rows.group[kept], rows.g[kept], int(rows.group.max()) + 1
    weight = (g / rows.sigma[kept]) ** 2
    total = np.bincount(group, weight, n)
    seen = total > 0
    mean, truth = (
        np.bincount(group, weight * values, n)[seen] / total[seen]
        for values in (rows.intensity[kept] / g, rows.true_intensity[kept])
    )
    half = float(result.statistics.overall.cc_half)
    true_cc, star = float(np.corrcoef(mean, truth)[0, 1]), math.sqrt(max(2.0 * half / (1.0 + half), 0.0))
    right = 1.0 - true_cc < _SURE * (1.0 - star) + _ROUNDING
    return Finding("CC with true intensities", f"{true_cc:.4f} (true)", f"{star:.4f} (CC* from CC½)", right)


def _twinning(result: Any) -> Finding:
    twinning = result.analyses.twinning
    verdict = "not tested" if twinning is None else str(twinning.verdict)
    return Finding("Twinning", "none", verdict, verdict == "untwinned")


def _along_sweep(rows: _Scaled, ln_g: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean ln g and its slope against 1/(2 d^2), A^2, in bins of images; two (n_bins,)."""
    number, n = _bins(rows)
    x = rows.half_inv_d2
    count = np.maximum(np.bincount(number, minlength=n), 1)
    mean_x, mean = np.bincount(number, x, n) / count, np.bincount(number, ln_g, n) / count
    covariance = np.bincount(number, (x - mean_x[number]) * ln_g, n)
    slope = covariance / np.maximum(np.bincount(number, (x - mean_x[number]) ** 2, n), 1e-300)
    return mean - slope * (mean_x - x.mean()), slope


def _rest(rows: _Scaled, ln_g: FloatArray) -> FloatArray:
    number, _ = _bins(rows)
    level, slope = _along_sweep(rows, ln_g)
    rest: FloatArray = ln_g - level[number] - slope[number] * (rows.half_inv_d2 - rows.half_inv_d2.mean())
    return rest


def _bins(rows: _Scaled) -> tuple[IndexArray, int]:
    n = min(_N_BINS, rows.options.n_images)
    number = np.clip((rows.image * n / rows.options.n_images).astype(np.int64), 0, n - 1)
    return number, n


def _rms(values: FloatArray) -> float:
    return float(np.sqrt(np.mean(values**2)))
