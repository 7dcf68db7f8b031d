"""How often twins, pseudo-translations and nothing are told: python bench/twinning_rates.py [sets of each kind]"""

from __future__ import annotations

import logging
import sys
import tempfile
from collections import Counter

import numpy as np

import pyscale
from pyscale.result import ScalingResult
from pyscale.simulation import SimulationOptions, simulate

WITH_LAW = [
    ("P 3", (60, 60, 75, 90, 90, 120)),
    ("P 41", (50, 50, 70, 90, 90, 90)),
    ("P 63", (55, 55, 80, 90, 90, 120)),
    ("R 3:H", (80, 80, 50, 90, 90, 120)),
    ("P 1 21 1", (40, 55, 60, 90, 90.3, 90)),
    ("I 4", (70, 70, 60, 90, 90, 90)),
    ("P 31 2 1", (50, 50, 70, 90, 90, 120)),
    ("P 2 3", (60, 60, 60, 90, 90, 90)),
]
WITHOUT = [
    ("P 1", (9, 11, 13, 80, 85, 95)),
    ("C 1 2 1", (70, 40, 50, 90, 105, 90)),
    ("P 21 21 21", (38, 48, 62, 90, 90, 90)),
    ("P 43 21 2", (60, 60, 35, 90, 90, 90)),
    ("P 61 2 2", (60, 60, 70, 90, 90, 120)),
    ("C 2 2 21", (50, 70, 60, 90, 90, 90)),
    ("P -1", (9, 11, 13, 80, 85, 95)),
    ("P 1 21/c 1", (12, 14, 16, 90, 100, 90)),
    ("P b c a", (12, 14, 18, 90, 90, 90)),
    ("P 21 21 21", (8, 12, 14, 90, 90, 90)),
]
VECTORS = [(0.5, 0.5, 0.47), (0.0, 0.5, 0.5), (0.5, 0.0, 0.04), (0.33, 0.17, 0.5)]
SUSPECTED = ("twinned", "possibly twinned", "pseudosymmetric", "too symmetric")


def options(kind: str, number: int) -> SimulationOptions:
    """A set of its own resolution, strength, B and size."""
    rng = np.random.default_rng([number, len(kind)])
    groups = WITH_LAW if kind == "twin" else WITH_LAW + WITHOUT
    group, cell = groups[number % len(groups)]
    small = max(cell[:3]) < 25
    more = {}
    if kind == "twin":
        more = {"twin_fraction": float(rng.choice([0.2, 0.3, 0.4, 0.5]))}
    if kind == "translation":
        more = {"pseudo_translation": VECTORS[number % len(VECTORS)]}
        more["pseudo_translation_fraction"] = float(rng.choice([0.4, 0.6, 0.8]))
    return SimulationOptions(
        space_group=group,
        unit_cell=tuple(map(float, cell)),
        d_min=float(rng.uniform(0.75, 0.9) if small else rng.uniform(1.9, 3.0)),
        wavelength=0.7 if small else 0.98,
        mean_intensity=float(10 ** rng.uniform(1.0, 3.3)),
        wilson_b=float(rng.uniform(2, 5) if small else rng.uniform(15, 50)),
        sweep_width=float(rng.choice([90, 180, 240])),
        oscillation_width=1.0,
        seed=1000 + number,
        **more,
    )


def scaled(of: SimulationOptions) -> ScalingResult:
    with tempfile.TemporaryDirectory() as folder:
        files = simulate(of).write(folder)
        return pyscale.scale(pyscale.read(*map(str, files[:2])), nproc=1)


def main() -> None:
    logging.disable(logging.WARNING)
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 72
    for kind in ("clean", "translation", "twin"):
        verdicts: Counter[str] = Counter()
        suspected = translations = signals = absences = 0
        for number in range(count):
            of = options(kind, number)
            analyses = scaled(of).analyses
            verdict = "none" if analyses.twinning is None else analyses.twinning.verdict
            verdicts[verdict] += 1
            suspected += verdict in SUSPECTED
            translation = analyses.pseudo_translation
            translations += translation is not None and translation.is_significant
            signal = analyses.anomalous_signal
            signals += signal is not None and any(s.verdict in ("weak", "clear") for s in signal.wavelengths)
            absences += bool(analyses.absences is not None and analyses.absences.warnings())
            if (verdict in SUSPECTED) != (kind == "twin"):
                print(f"  {kind} {number}: {of.space_group}, {verdict}")
        print(f"{count} sets, {kind}: {dict(verdicts)}")
        print(f"  symmetry or twin suspected {suspected}, pseudo-translation {translations}, ", end="")
        print(f"anomalous signal {signals}, absences {absences}", flush=True)


if __name__ == "__main__":
    main()
