"""What filtering by ΔCC½ did: the record of its cycles, for logs, for our JSON document and in DIALS' form."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .delta_cc_half import Candidate, Cutoff, DeltaCCHalf
from .image_ranges import ImageRange
from .options.selection import DeltaCCHalfOptions
from .statistics import MergingStatistics, ShellStatistics
from .typing import BoolArray

__all__ = ["FilterCycle", "FilteringRecord", "RemovedDataSet", "candidate_table", "history_table", "removed_text"]

_MOST_LISTED = 20
_MOST_KEPT_LISTED = 8


@dataclass(frozen=True, kw_only=True)
class RemovedDataSet:
    """A data set that left the job: its identifier, in which cycle, rows read and observations that were merged."""

    identifier: str
    cycle: int
    n_reflections: int
    n_observations: int


@dataclass(frozen=True, kw_only=True)
class FilterCycle:
    """One scaling, and what was removed after it.

    Attributes
    ----------
    number : int
    identifiers : tuple of str
        Data sets that were scaled.
    statistics : MergingStatistics
        Before the removal.
    delta : DeltaCCHalf
    cutoff : Cutoff
    removed : (n_candidates,) bool
    removed_data_sets : tuple of str
        Those that left altogether.
    outlier_ranges : tuple of (str, (int, int))
        Images in use of which every observation was an outlier: they are removed too.
    n_removed : int
        Observations that were merged.
    percent_removed : float
        Of the observations merged in the first cycle, by this cycle and those before.
    completeness : float
        Of what is left, 0 to 1.
    """

    number: int
    identifiers: tuple[str, ...]
    statistics: MergingStatistics
    delta: DeltaCCHalf
    cutoff: Cutoff
    removed: BoolArray
    removed_data_sets: tuple[str, ...]
    outlier_ranges: tuple[tuple[str, ImageRange], ...]
    n_removed: int
    percent_removed: float
    completeness: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for the JSON document."""
        delta = self.delta
        return {
            "number": self.number,
            "n_data_sets": len(self.identifiers),
            "cc_half": delta.cc_half,
            "n_judged": int(np.count_nonzero(delta.judged)),
            "centre": self.cutoff.centre,
            "spread": self.cutoff.spread,
            "factor": self.cutoff.factor,
            "cutoff": self.cutoff.value,
            "candidates": [
                {
                    "identifier": self.identifiers[c.data_set],
                    "images": c.images,
                    "n_observations": int(n),
                    "delta_cc_half": float(d),
                    "removed": bool(r),
                }
                for c, n, d, r in zip(delta.candidates, delta.n_merged, delta.delta, self.removed, strict=True)
            ],
            "removed_data_sets": list(self.removed_data_sets),
            "outlier_ranges": [{"identifier": name, "images": images} for name, images in self.outlier_ranges],
            "n_removed": self.n_removed,
            "percent_removed": self.percent_removed,
            "completeness_left": self.completeness,
            "statistics": self.statistics.overall.to_dict(),
        }

    def to_dials(self) -> dict[str, Any]:
        """Return what DIALS' file of results says of a cycle."""
        delta, positions = self.delta, {name: k for k, name in enumerate(self.identifiers)}
        chosen = [c for c, r in zip(delta.candidates, self.removed, strict=True) if r and c.images is not None]
        ranges = [[list(c.images or ()), c.data_set] for c in chosen]
        return {
            "merging_stats": _dials_statistics(self.statistics),
            "delta_cc_half_values": np.sort(delta.delta[delta.judged]).tolist(),
            "mean_cc_half": _number(delta.cc_half),
            "image_ranges_removed": ranges + [[list(images), positions[name]] for name, images in self.outlier_ranges],
            "removed_datasets": list(self.removed_data_sets),
            "removed_ids": [positions[name] for name in self.removed_data_sets],
            "n_removed": self.n_removed,
            "cumul_percent_removed": self.percent_removed,
        }


@dataclass(kw_only=True)
class FilteringRecord:
    """All cycles of one job.

    Attributes
    ----------
    options : DeltaCCHalfOptions
    initial_images, final_images : list of (str, ranges or None)
        Images in use of each data set before and after; None without a scan.
    cycles : list of FilterCycle
    termination_reason : str
        no_more_removed, max_percent_removed, below_completeness_limit or max_cycles.
    removed_images : dict of str to list of (int, int)
        By identifier; those of data sets that left later are among them.
    removed_data_sets : list of RemovedDataSet
    final : MergingStatistics or None
        Of what is left.
    """

    options: DeltaCCHalfOptions
    initial_images: list[tuple[str, list[ImageRange] | None]]
    final_images: list[tuple[str, list[ImageRange] | None]] = field(default_factory=list)
    cycles: list[FilterCycle] = field(default_factory=list)
    termination_reason: str = ""
    removed_images: dict[str, list[ImageRange]] = field(default_factory=dict)
    removed_data_sets: list[RemovedDataSet] = field(default_factory=list)
    final: MergingStatistics | None = None

    @property
    def initial_n_observations(self) -> int:
        """Observations merged in the first cycle; 0 before it."""
        return self.cycles[0].statistics.overall.n_obs if self.cycles else 0

    def summary(self) -> str:
        """Say what was removed, with the statistics before each removal and after the last."""
        return "\n".join(
            [
                f"Filtering by ΔCC½ ended ({self.termination_reason}) and has removed:",
                removed_text(self),
                "",
                "Statistics before each removal and after the last",
                history_table(self),
            ]
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for the JSON document."""
        o = self.options
        return {
            "method": "deltacchalf",
            "mode": o.mode,
            "rule": o.rule,
            "termination_reason": self.termination_reason,
            "initial_n_observations": self.initial_n_observations,
            "removed_data_sets": [vars(r) for r in self.removed_data_sets],
            "removed_images": self.removed_images,
            "cycles": [c.to_dict() for c in self.cycles],
            "final": None if self.final is None else self.final.overall.to_dict(),
        }

    def to_dials(self) -> dict[str, Any]:
        """Return the content of DIALS' scale_and_filter_results.json."""
        whole = [(name, None if not r else [r[0][0], r[-1][1]]) for name, r in self.initial_images]
        return {
            "termination_reason": self.termination_reason,
            "initial_n_reflections": self.initial_n_observations,
            "initial_expids_and_image_ranges": [list(item) for item in whole],
            "expids_and_image_ranges": [[name, r and [list(x) for x in r]] for name, r in self.final_images],
            "cycle_results": {str(c.number): c.to_dials() for c in self.cycles},
            "final_stats": None if self.final is None else _dials_statistics(self.final),
        }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _dials_statistics(statistics: MergingStatistics) -> dict[str, Any]:
    shells, overall = statistics.shells, statistics.overall
    return {
        "ccs": [_number(s.cc_half) for s in shells],
        "rmerge": [_number(s.r_merge) for s in shells],
        "rpim": [_number(s.r_pim) for s in shells],
        "d_min": [s.d_min for s in shells],
        "overall": {
            "cc_one_half": _number(overall.cc_half),
            "r_merge": _number(overall.r_merge),
            "r_pim": _number(overall.r_pim),
            "i_over_sigma_mean": _number(overall.i_over_sigma),
            "completeness": 100.0 * overall.completeness,
            "n_obs": overall.n_obs,
        },
    }


def candidate_table(cycle: FilterCycle, below: BoolArray) -> str:
    """Render the worst candidates for people: those below the cut-off, and the first of the others."""
    delta, cutoff = cycle.delta, cycle.cutoff
    order = [int(c) for c in np.argsort(delta.delta, kind="stable") if delta.judged[c]]
    n_below = int(np.count_nonzero(below))
    shown = min(n_below, _MOST_LISTED)
    lines = [f"{'data set':<40}{'images':>13}{'observations':>14}{'ΔCC½':>12}{'spreads':>9}  "]
    for c in [*order[:shown], *order[n_below : n_below + _MOST_KEPT_LISTED]]:
        where = delta.candidates[c]
        distance = (delta.delta[c] - cutoff.centre) / cutoff.spread if cutoff.spread > 0 else math.nan
        fate = "removed" if cycle.removed[c] else "below the cut-off, but stays" if below[c] else ""
        lines.append(
            f"{cycle.identifiers[where.data_set][:39]:<40}{_images(where):>13}{delta.n_merged[c]:>14}"
            f"{delta.delta[c]:>12.2e}{distance:>9.1f}  {fate}".rstrip()
        )
    if n_below > shown:
        lines.append(f"... and {n_below - shown} more below the cut-off: see the JSON document")
    return "\n".join(lines)


def _images(candidate: Candidate) -> str:
    return "all" if candidate.images is None else "{} to {}".format(*candidate.images)


def history_table(record: FilteringRecord) -> str:
    """Render the statistics before and after each removal: one line per scaling."""
    lines = [
        f"{'':<10}{'data sets':>10}{'#obs':>10}{'%comp':>7}{'mult.':>7}{'<I/sI>':>8}{'r_meas':>8}{'r_pim':>8}"
        f"{'cc1/2':>9}{'removed':>9}{'% in all':>9}"
    ]
    entries: list[tuple[str, int, ShellStatistics, str]] = [
        (
            f"cycle {c.number}",
            len(c.identifiers),
            c.statistics.overall,
            f"{c.n_removed:>9}{c.percent_removed:>9.2f}",
        )
        for c in record.cycles
    ]
    if record.final is not None:
        entries.append(("final", len(record.final_images), record.final.overall, ""))
    for label, n, s, removed in entries:
        lines.append(
            f"{label:<10}{n:>10}{s.n_obs:>10}{100 * s.completeness:>7.1f}{s.multiplicity:>7.2f}{s.i_over_sigma:>8.1f}"
            f"{s.r_meas:>8.4f}{s.r_pim:>8.4f}{s.cc_half_sigma_tau:>9.5f}{removed}"
        )
    return "\n".join(lines)


def removed_text(record: FilteringRecord) -> str:
    """Say what filtering removed, in one line per data set."""
    lines = [
        f"data set {r.identifier}: removed in cycle {r.cycle}, {r.n_reflections} reflections, of which "
        f"{r.n_observations} were merged"
        for r in record.removed_data_sets
    ]
    gone = {r.identifier for r in record.removed_data_sets}
    for name, ranges in record.removed_images.items():
        if name not in gone:
            lines.append(f"data set {name}: images {_ranges(ranges)} removed")
    return "\n".join(lines) or "nothing"


def _ranges(ranges: Sequence[ImageRange]) -> str:
    return ", ".join(f"{a} to {b}" for a, b in ranges)
