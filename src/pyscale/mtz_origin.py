"""What unmerged MTZ files that were read have to say in those that are written: history and batch headers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .io.mtz_batches import unpack_batches

if TYPE_CHECKING:
    from .experiment import Experiment

__all__ = ["original_history", "with_original_batches"]

#: CCP4 programs read no more lines.
_MOST_LINES = 29
#: Places in the floats of a batch header: the orientation matrix U, and the angles of an image.
_U, _PHI = slice(6, 15), slice(36, 38)
_SAME_U, _SAME_ANGLE = 0.05, 0.01


def _origin(experiment: Experiment) -> dict[str, Any]:
    """What the reader of an MTZ file kept of it; empty for other data."""
    parameters = (experiment.imageset or {}).get("params")
    origin = parameters.get("pyscale_origin") if isinstance(parameters, dict) else None
    return origin if isinstance(origin, dict) and origin.get("format") == "mtz" else {}


def original_history(experiments: Sequence[Experiment]) -> list[str]:
    """Lines of the history of all files, each once, as many as fit."""
    by_image_set = {id(e.imageset): e for e in experiments}
    lines = [line for e in by_image_set.values() for line in _origin(e).get("history", [])]
    return list(dict.fromkeys(lines))[:_MOST_LINES]


def with_original_batches(mtz: Any, experiments: Sequence[Experiment], offsets: Sequence[int]) -> Any:
    """Put batch headers of the input in the place of those that were made of the geometry.

    Only where number, orientation and angles agree: an observation may have been indexed anew since. Headers keep the
    data set that they have in the new file.

    Parameters
    ----------
    mtz : gemmi.Mtz
        With one header for each image of the experiments, in their order.
    experiments
    offsets
        Of each experiment's batch numbers over its images.
    """
    first = 0
    for experiment, offset in zip(experiments, offsets, strict=True):
        begin, end = experiment.image_range or (1, 1)
        packed = _origin(experiment).get("batches")
        if packed is not None:
            originals = {b.number: b for b in unpack_batches(packed)}
            for k in range(end - begin + 1):
                found = originals.get(begin + k + offset)
                made = mtz.batches[first + k]
                if found is not None and _agree(found, made):
                    found.dataset_id = made.dataset_id
                    mtz.batches[first + k] = found
        first += end - begin + 1
    return mtz


def _agree(original: Any, made: Any) -> bool:
    a, b = (np.array(list(batch.floats), dtype=np.float64) for batch in (original, made))
    turn = np.abs(a[_PHI] - b[_PHI])
    return bool((np.abs(a[_U] - b[_U]) < _SAME_U).all() and (turn < _SAME_ANGLE).all())
