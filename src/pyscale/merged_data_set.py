"""What merging makes of the observations of one wavelength: what writers of merged files take."""

from __future__ import annotations

from dataclasses import dataclass

from .french_wilson import Amplitudes
from .merging import HalfDataSets, MergedReflections
from .statistics import MergingStatistics
from .symmetry import UnitCellLike

__all__ = ["MergedDataSet"]


@dataclass(frozen=True, kw_only=True)
class MergedDataSet:
    """Merged reflections of one wavelength.

    Attributes
    ----------
    wavelength : float
        Angstrom.
    unit_cell : six numbers or gemmi.UnitCell
    merged : MergedReflections
    statistics : MergingStatistics
    amplitudes : Amplitudes or None
        Of the reflections of `merged`, in their order.
    halves : HalfDataSets or None
        The same.
    data_sets : tuple of str
        Identifiers of the data sets that were merged.
    crystal, name : str
        Crystal and data set in MTZ files.
    """

    wavelength: float
    unit_cell: UnitCellLike
    merged: MergedReflections
    statistics: MergingStatistics
    amplitudes: Amplitudes | None = None
    halves: HalfDataSets | None = None
    data_sets: tuple[str, ...] = ()
    crystal: str = "XTAL"
    name: str = "NATIVE"
