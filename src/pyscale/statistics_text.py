"""Merging statistics as text for logs."""

from __future__ import annotations

import math

from .statistics import MergingStatistics, ShellStatistics

__all__ = ["intensity_text", "shell_table", "statistics_report", "summary_table"]

_HEADER = (
    "  d_max  d_min     #obs   #uniq   mult.   %comp         <I>   <I/sI>   r_mrg  r_meas   r_pim  r_anom"
    "  r_splt   cc1/2   cc_ano"
)

#: Label, field, digits after the point, factor, whether mates are apart.
_ROWS = (
    ("High resolution limit", "d_min", 2, 1, False),
    ("Low resolution limit", "d_max", 2, 1, False),
    ("Completeness", "completeness", 1, 100, False),
    ("Multiplicity", "multiplicity", 1, 1, False),
    ("I/sigma", "i_over_sigma", 1, 1, False),
    ("I/sigma, unmerged", "unmerged_i_over_sigma", 1, 1, False),
    ("Rmerge(I)", "r_merge", 3, 1, False),
    ("Rmerge(I+/-)", "r_merge", 3, 1, True),
    ("Rmeas(I)", "r_meas", 3, 1, False),
    ("Rmeas(I+/-)", "r_meas", 3, 1, True),
    ("Rpim(I)", "r_pim", 3, 1, False),
    ("Rpim(I+/-)", "r_pim", 3, 1, True),
    ("Rsplit(I)", "r_split", 3, 1, False),
    ("CC half", "cc_half", 3, 1, False),
    ("CC half, 95 % interval from", "cc_half_low", 3, 1, False),
    ("CC half, 95 % interval to", "cc_half_high", 3, 1, False),
    ("CC half, sigma-tau", "cc_half_sigma_tau", 3, 1, False),
    ("Anomalous completeness", "anomalous_completeness", 1, 100, False),
    ("Anomalous multiplicity", "multiplicity", 1, 1, True),
    ("Anomalous correlation", "cc_anom", 3, 1, False),
    ("Anomalous correlation, 95 % from", "cc_anom_low", 3, 1, False),
    ("Anomalous correlation, 95 % to", "cc_anom_high", 3, 1, False),
    ("Anomalous slope", "anomalous_slope", 3, 1, False),
    ("dF/F", "anomalous_signal", 3, 1, False),
    ("dI/s(dI)", "anomalous_difference_over_sigma", 3, 1, False),
    ("Total observations", "n_obs", 0, 1, False),
    ("Total unique", "n_unique", 0, 1, False),
)


def shell_table(statistics: MergingStatistics) -> str:
    """One line per shell, low to high resolution, then all data; * marks significant correlations."""
    rows = [_shell_row(entry) for entry in (*statistics.shells, statistics.overall)]
    return "\n".join([_HEADER, *rows])


def statistics_report(statistics: MergingStatistics, with_outliers: ShellStatistics, n_rejected: int) -> str:
    """Both tables, and what the rejected outliers would do to the statistics of all data."""
    return "\n".join(
        [
            "Merging statistics by resolution bin",
            shell_table(statistics),
            "",
            "Summary of merging statistics",
            summary_table(statistics),
            "",
            f"{n_rejected} outliers rejected; with all of them put back R_meas {with_outliers.r_meas:.4f}, "
            f"R_pim {with_outliers.r_pim:.4f} over {with_outliers.n_obs} observations.",
        ]
    )


def summary_table(statistics: MergingStatistics) -> str:
    """Columns Overall, Low and High (resolution); rows of I+/- only where mates were kept apart."""
    lines = [f"{'':40}{'Overall':>9}{'Low':>9}{'High':>9}"]
    for label, field, digits, factor, apart in _ROWS:
        source = statistics.anomalous if apart else statistics
        if source is None:
            continue
        entries = (source.overall, source.shells[0], source.shells[-1])
        values = "".join(_number(factor * getattr(entry, field), 9, digits) for entry in entries)
        lines.append(f"{label:40}{values}".rstrip())
    return "\n".join(lines)


def _shell_row(s: ShellStatistics) -> str:
    counts = f"{s.n_obs:9d}{s.n_unique:8d}{_number(s.multiplicity, 8, 2)}{_number(100 * s.completeness, 8, 2)}"
    signal = intensity_text(s.mean_intensity, 12) + _number(s.i_over_sigma, 9, 1)
    residuals = "".join(_number(r, 8, 3) for r in (s.r_merge, s.r_meas, s.r_pim, s.r_anom, s.r_split))
    halves = _number(s.cc_half, 8, 3) + ("*" if s.cc_half_significant else " ")
    mates = _number(s.cc_anom, 8, 3) + ("*" if s.cc_anom_significant else " ")
    return f"{s.d_max:7.2f}{s.d_min:7.2f}{counts}{signal}{residuals}{halves}{mates}".rstrip()


def intensity_text(value: float, width: int) -> str:
    """A mean intensity, whatever its unit: with one decimal where that tells it and fits the width with a blank."""
    size = abs(value)
    if 0 < size < 0.1 or size >= 10.0 ** (width - 4):
        return f"{value:{width}.3g}"
    return _number(value, width, 1)


def _number(value: float, width: int, digits: int) -> str:
    return f"{'-':>{width}}" if math.isnan(value) else f"{value:{width}.{digits}f}"
