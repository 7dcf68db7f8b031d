"""Commands that leave images out: text to ranges, and their effect on the valid image ranges of a job's scans."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .dataset import DataSet, Job
from .dataset_selection import DataSetNames, split_words
from .errors import UsageError
from .image_ranges import ImageRange, common_ranges, count_images, in_ranges, valid_ranges, without_ranges
from .input_checks import check_columns
from .reflections import ReflectionTable
from .typing import FloatArray

__all__ = ["ImageCommand", "centroid_z", "exclude_images", "parse_image_commands"]

_logger = logging.getLogger(__name__)

_COMMAND = re.compile(r"(?:(.*):)?(-?\d{1,9}):(-?\d{1,9})", re.ASCII | re.DOTALL)
_FORM = "expected data set:first:last, for example 0:101:200, or *:101:200 for all data sets"


@dataclass(frozen=True)
class ImageCommand:
    """Images to leave out, or to cut out.

    Attributes
    ----------
    text : str
        As the user wrote it, with the name of the option.
    position : int or None
        Position of the data set in the job as it was read; None for all data sets.
    images : (int, int)
        First and last image, inclusive.
    """

    text: str
    position: int | None
    images: ImageRange


def parse_image_commands(texts: Sequence[str], names: DataSetNames, option: str) -> list[ImageCommand]:
    """Read `data set:first:last` (`*` for all data sets; none is needed if there is only one).

    Raises
    ------
    UsageError
        If a text has another form, a range is back to front, or there is no such data set.
    """
    return [_parse(word, names, option) for word in split_words(texts)]


def _parse(word: str, names: DataSetNames, option: str) -> ImageCommand:
    text = f"{option}={word[:60]}"
    match = _COMMAND.fullmatch(word)
    if match is None:
        raise UsageError(f"option {text}: {_FORM}")
    label, first, last = match[1], int(match[2]), int(match[3])
    if first > last:
        raise UsageError(f"option {text}: the range is back to front; the first image comes first")
    if label is None and len(names) > 1:
        raise UsageError(f"option {text}: names no data set, and there are {len(names)}; {_FORM}")
    position = None if label == "*" and label not in names.identifiers else names.position(label or "#0", option)
    return ImageCommand(text, position, (first, last))


def centroid_z(table: ReflectionTable) -> FloatArray:
    """Array coordinate of each row's centroid along the scan, observed or else predicted, (n,) float64.

    Raises
    ------
    DataError
        If the table has neither, or of a wrong type.
    """
    check_columns(table)
    return np.ascontiguousarray(table.centroids()[:, 2])


def exclude_images(job: Job, names: DataSetNames, commands: Sequence[ImageCommand], multiple: int | None = None) -> Job:
    """Return the job whose scans' valid image ranges lack some images; each command's effect goes to the log.

    Data sets that keep no image or no reflection leave the job, with a warning.

    Parameters
    ----------
    job
        The job.
    names
        Names of the data sets as they were read; those that are no longer in the job are passed over with a note.
    commands
        What to leave out.
    multiple
        Leave out the images whose number is a multiple of this, in every sweep.

    Raises
    ------
    UsageError
        If a range is wholly outside the scan, or the data set has none; for all data sets, if no scan has such
        images; if no data set is left.
    """
    if not commands and multiple is None and all(d.experiment.is_still for d in job.data_sets):
        return job
    changed = job.select(range(len(job.data_sets)))
    sweeps = [_Sweep(d) for d in changed.data_sets]
    for command in commands:
        _apply(command, sweeps, names)
    if multiple is not None:
        _apply_multiple(multiple, sweeps)
    for i, sweep in enumerate(sweeps):
        if sweep.whole is not None:
            changed.experiments.set_valid_image_ranges(i, sweep.valid)
    left = [i for i, sweep in enumerate(sweeps) if not sweep.is_empty]
    if not left:
        raise UsageError("the excluded images leave no reflection in any data set")
    if len(left) == len(sweeps):
        return changed
    for sweep in sweeps:
        if sweep.is_empty:
            _logger.warning("Data set %s: no reflection is left on its images; it is removed", sweep.identifier)
    return changed.select(left)


class _Sweep:
    """The images of one data set while commands are applied; `whole` is None for a still."""

    def __init__(self, data_set: DataSet) -> None:
        experiment = data_set.experiment
        self.identifier = data_set.identifier
        self.whole = None if experiment.is_still else experiment.image_range
        self.valid = valid_ranges(experiment) if self.whole else []
        self._table = data_set.reflections
        self._excluded_some = False

    @cached_property
    def _z(self) -> FloatArray:
        return centroid_z(self._table)

    @property
    def is_empty(self) -> bool:
        return self._excluded_some and not in_ranges(self.valid, self._z).any()

    def contains(self, images: ImageRange) -> bool:
        return self.whole is not None and bool(common_ranges([self.whole], [images]))

    def exclude(self, ranges: Sequence[ImageRange]) -> tuple[int, int]:
        """Return how many images and reflections that removed."""
        before, kept = self.valid, in_ranges(self.valid, self._z)
        self.valid = without_ranges(before, ranges)
        n_images = count_images(before) - count_images(self.valid)
        self._excluded_some = self._excluded_some or n_images > 0
        return n_images, int((kept & ~in_ranges(self.valid, self._z)).sum())


def _apply(command: ImageCommand, sweeps: Sequence[_Sweep], names: DataSetNames) -> None:
    first, last = command.images
    if command.position is None:
        chosen = [s for s in sweeps if s.contains(command.images)]
        if not chosen:
            raise UsageError(f"option {command.text}: no data set has such images ({_scans(sweeps)})")
    else:
        identifier = names.identifiers[command.position]
        chosen = [s for s in sweeps if s.identifier == identifier]
        if not chosen:
            _notice("%s: data set %s is left out altogether", command.text, identifier)
            return
        _require_images(command, chosen[0])
    _report(command.text, chosen, [(first, last)])


def _require_images(command: ImageCommand, sweep: _Sweep) -> None:
    if sweep.whole is None:
        raise UsageError(
            f"option {command.text}: data set {sweep.identifier} is a still, without a scan; leave it out with "
            f"exclude_datasets={sweep.identifier}"
        )
    if not sweep.contains(command.images):
        raise UsageError(
            f"option {command.text}: is wholly outside the scan of data set {sweep.identifier}, which has images "
            f"{sweep.whole[0]} to {sweep.whole[1]}"
        )


def _apply_multiple(multiple: int, sweeps: Sequence[_Sweep]) -> None:
    n_found = 0
    for sweep in sweeps:
        if sweep.whole is None:
            continue
        first = -(-sweep.whole[0] // multiple) * multiple
        ranges = [(n, n) for n in range(first, sweep.whole[1] + 1, multiple)]
        n_found += len(ranges)
        if ranges:
            _report(f"exclude_images_multiple={multiple}", [sweep], ranges)
    if not n_found:
        raise UsageError(
            f"option exclude_images_multiple={multiple}: no data set has an image with such a number ({_scans(sweeps)})"
        )


def _report(text: str, sweeps: Sequence[_Sweep], ranges: Sequence[ImageRange]) -> None:
    for sweep in sweeps:
        n_images, n_reflections = sweep.exclude(ranges)
        if n_images == 0:
            _notice("%s: these images of data set %s are excluded already", text, sweep.identifier)
        elif n_reflections == 0:
            _notice("%s: removed %d images of data set %s, without reflections", text, n_images, sweep.identifier)
        else:
            _logger.info(
                "%s: removed %d images and %d reflections of data set %s",
                text,
                n_images,
                n_reflections,
                sweep.identifier,
            )


def _notice(message: str, *values: object) -> None:
    _logger.info(message, *values, extra={"notice": True})


def _scans(sweeps: Sequence[_Sweep]) -> str:
    images = sorted({"{} to {}".format(*s.whole) for s in sweeps if s.whole is not None})
    return f"scans have images {', '.join(images)}"[:200] if images else "there are only stills"
