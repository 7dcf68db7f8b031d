"""What scaled data show beyond merging statistics: each analysis leads from plain data to numbers, text, warnings."""

from .analyses import Analyses, Analysis, analyse
from .scaled_data import ScaledData

__all__ = ["Analyses", "Analysis", "ScaledData", "analyse"]
