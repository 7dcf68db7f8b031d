"""The options of `pyscale report`."""

# Options and scopes are immutable, so they may be defaults of dataclass fields.
# ruff: noqa: RUF009

from __future__ import annotations

from dataclasses import dataclass

from .names import OptionNames
from .option import AUTO, Auto, option
from .tree import OptionScope

__all__ = ["REPORT_NAMES", "ReportOptions"]


@dataclass(frozen=True, kw_only=True)
class ReportOutputOptions(OptionScope, scope="output"):
    """Output files."""

    html: str | None = option("pyscale.report.html", "report; None for none", common=True)
    plots: str | None = option(
        None, "folder of the main figures as SVG and PNG, for papers (needs matplotlib)", common=True, own=True
    )


@dataclass(frozen=True, kw_only=True)
class ReportOptions(OptionScope):
    """Report of a job from its files."""

    compare: bool = option(
        False, "lay two jobs side by side, of two JSON files; --compare does the same", common=True, own=True
    )
    nproc: int | Auto = option(
        AUTO,
        "number of threads, for scaled files; auto: the least of OMP_NUM_THREADS, CPU affinity and the cgroup's quota",
        range=(1, None),
    )
    output: ReportOutputOptions = ReportOutputOptions()


REPORT_NAMES = OptionNames(ReportOptions)
