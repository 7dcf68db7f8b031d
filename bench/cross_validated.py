"""Does model=cross_validated choose well? Random simulated jobs of known truth, beside rules and candidates.

python bench/cross_validated.py [--sets N] [--first SEED] [--models NAME ...]

Every fifth set has none of the distortions. Errors are those of ln g (see recovery.py). "Simple" means no more
parameters than the smallest of the candidates that follow the rotation.
"""

from __future__ import annotations

import argparse
import math

import numpy as np

from recovery import CANDIDATES, Keywords, Recovery, candidate_options, recover, simulated

STRENGTHS = {
    "scale_variation": (0.03, 0.4),
    "decay": (2.0, 40.0),
    "absorption": (0.01, 0.2),
    "dose_decay": (0.001, 0.02),
    "modulation": (0.01, 0.1),
    "resolution_variation": (0.01, 0.1),
    "position_variation": (0.01, 0.1),
    "jitter": (0.01, 0.1),
    "beam_loss": (0.05, 0.5),
}
"""Least and greatest of each effect; log-uniform between."""
USUAL = ("scale_variation", "decay", "absorption")
FLAT_EVERY = 5
TRIED = ("smooth", "physical", "lmax 6", "image", "array", "array+mod")


def random_job(seed: int) -> Keywords:
    """Options of a simulated job: sweeps, strength of the data and a mixture of distortions, or none."""
    rng = np.random.default_rng([seed, 77])
    options: Keywords = {
        "n_sweeps": int(rng.integers(1, 4)),
        "sweep_width": float(rng.choice([40.0, 70.0, 100.0, 180.0])),
        "d_min": float(rng.uniform(2.6, 3.2)),
        "oscillation_width": 1.0,
        "mean_intensity": log_uniform(rng, 50.0, 2000.0),
        "same_crystal": bool(rng.uniform() < 0.5),
        "random_goniometer": True,
        "truth": str(rng.choice(["smooth", "model"])),
        "modulation_pattern": str(rng.choice(["smooth", "blocky"])),
        "dose_law": str(rng.choice(["quadratic", "linear"])),
        "jitter_correlation": float(rng.choice([0.0, 5.0])),
        "multiplicative_error": float(rng.uniform(0.01, 0.06)),
    }
    if seed % FLAT_EVERY == 0:
        return options
    for name, (low, high) in STRENGTHS.items():
        if rng.uniform() < (0.7 if name in USUAL else 0.2):
            options[name] = log_uniform(rng, low, high)
    return options


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A random number."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def describe(options: Keywords) -> str:
    """Distortions of a set."""
    found = [f"{name}={options[name]:.3g}" for name in STRENGTHS if name in options]
    return " ".join(found) or "none"


def share(passed: list[bool]) -> str:
    """Count and percentage."""
    return f"{sum(passed)}/{len(passed)}" + (f" ({100.0 * sum(passed) / len(passed):.0f} %)" if passed else "")


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=50)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--models", nargs="*", choices=list(CANDIDATES), default=list(TRIED))
    arguments = parser.parse_args()
    names = ["auto", "cv", *arguments.models]
    print("| set | " + " | ".join(names) + " | parameters: rules, cv | seconds: rules, cv | n | distortions |")
    print("|---:|" + "---:|" * (len(names) + 3) + "---|")
    not_worse: list[bool] = []
    near_best: list[bool] = []
    simple: list[bool] = []
    refusals: dict[str, str] = {}
    for seed in range(arguments.first, arguments.first + arguments.sets):
        options = random_job(seed)
        data = simulated(options, seed)
        found = {name: recover(data, candidate_options(name, data.options)) for name in names}
        refusals.update({name: r.refusal for name, r in found.items() if r.refusal})
        print(f"| {seed} | {row(found)} | {len(data)} | {describe(options)} |", flush=True)
        rules, chosen = found["auto"], found["cv"]
        if chosen.refusal or rules.refusal:
            continue
        tried = [r for r in found.values() if not r.refusal]
        not_worse.append(chosen.error <= 1.02 * rules.error)
        near_best.append(chosen.error <= 1.1 * min(r.error for r in tried))
        if seed % FLAT_EVERY == 0:
            simple.append(chosen.n_parameters <= min(r.n_parameters for r in tried))
    print(f"\nerror ≤ 1.02 × that of the rules: {share(not_worse)}")
    print(f"error within 10 % of the least: {share(near_best)}")
    print(f"the simple model where there is no distortion: {share(simple)}")
    for name, sentence in refusals.items():
        print(f"refused: {name}: {sentence}")
    return 0


def row(found: dict[str, Recovery]) -> str:
    """Errors in percent, parameters and seconds."""
    errors = " | ".join("–" if r.refusal else f"{100.0 * r.error:.2f}" for r in found.values())
    both = [found["auto"], found["cv"]]
    parameters = ", ".join(str(r.n_parameters) for r in both)
    return f"{errors} | {parameters} | " + ", ".join(f"{r.seconds:.1f}" for r in both)


if __name__ == "__main__":
    raise SystemExit(main())
