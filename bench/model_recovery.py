"""Which model recovers which distortion: rms error of ln g against the truth of simulated data.

python bench/model_recovery.py [--seeds N] [--kinds TEXT ...] [--models NAME ...] [--details]
"""

from __future__ import annotations

import argparse

import numpy as np

from recovery import CANDIDATES, KINDS, NAMES, Recovery, candidate_options, recover, simulated


def root_mean_square(values: list[float]) -> float:
    """Over seeds."""
    return float(np.sqrt(np.mean(np.square(values))))


def cell(found: list[Recovery], best: float) -> str:
    """Error in percent, bold if within a tenth of the least in its row."""
    error = 100.0 * root_mean_square([r.error for r in found])
    if not np.isfinite(error):
        return "–"
    return f"**{error:.2f}**" if error <= 110.0 * best else f"{error:.2f}"


def line(name: str, cells: list[str]) -> None:
    """One row of a Markdown table."""
    print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def head(title: str, columns: list[str]) -> None:
    """Start of a Markdown table."""
    print()
    line(title, columns)
    print("|---|" + "---:|" * len(columns))


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--kinds", nargs="*", default=[""], help="those whose name contains one of these")
    parser.add_argument("--models", nargs="*", choices=list(CANDIDATES), default=list(CANDIDATES))
    parser.add_argument("--details", action="store_true", help="errors beside what the fits predict, and times")
    arguments = parser.parse_args()
    kinds = [kind for kind in KINDS if any(text in kind for text in arguments.kinds)]
    refused: dict[str, str] = {}
    details: dict[str, dict[str, list[str]]] = {"error / predicted": {}, "seconds": {}, "parameters": {}}
    head("rms error of ln g, %", arguments.models)
    for kind in kinds:
        sets = [simulated(kind, seed) for seed in range(1, arguments.seeds + 1)]
        found: dict[str, list[Recovery]] = {}
        for name in arguments.models:
            found[name] = [recover(data, candidate_options(name, data.options)) for data in sets]
            refused.update((name, r.refusal) for r in found[name] if r.refusal)
        own = [root_mean_square([r.error for r in f]) for f in found.values()]
        best = float(np.nanmin(own)) if np.isfinite(own).any() else np.nan
        line(kind, [cell(f, best) for f in found.values()])
        details["error / predicted"][kind] = [
            f"{root_mean_square([r.error / r.predicted for r in f]):.1f}" for f in found.values()
        ]
        details["seconds"][kind] = [f"{np.median([r.seconds for r in f]):.2f}" for f in found.values()]
        details["parameters"][kind] = [f"{f[0].n_parameters}" for f in found.values()]
    for title, rows in details.items() if arguments.details else ():
        head(title, arguments.models)
        for kind, cells in rows.items():
            line(kind, cells)
    print()
    for name in arguments.models:
        print(
            f"- {name}: {NAMES.get(name, 'as it says')}" + (f" (refused: {refused[name]})" if name in refused else "")
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
