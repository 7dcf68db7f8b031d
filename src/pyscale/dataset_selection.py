"""Which data sets of a job take part: by identifier or position, after identifiers were assigned by hand."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from .dataset import Job, identifiers_text, positions_text
from .errors import UsageError

__all__ = ["DataSetNames", "assign_identifiers", "select_data_sets", "split_words"]

_logger = logging.getLogger(__name__)

_MOST_LISTED = 8


def split_words(texts: Sequence[str]) -> list[str]:
    """Elements of texts that are separated by commas or spaces."""
    return [word for text in texts for word in re.split(r"[,\s]+", text.strip()) if word]


@dataclass(frozen=True)
class DataSetNames:
    """The names by which the data sets of a job, as it was read, are known.

    Attributes
    ----------
    identifiers : tuple of str
        Identifier of each data set, by position.
    """

    identifiers: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.identifiers)

    @cached_property
    def _places(self) -> dict[str, int]:
        """Position of each identifier, the first if there are several."""
        return {name: i for i, name in reversed(list(enumerate(self.identifiers)))}

    def position(self, text: str, option: str) -> int:
        """Return the position of the data set that a text names.

        An exact identifier wins, with a note in the log if it is another data set's position; else the text is a
        position, which `#` in front forces.

        Raises
        ------
        UsageError
            If there is no such data set; the message names the option and the data sets.
        """
        forced = text.startswith("#")
        number = int(text[forced:]) if re.fullmatch(r"\d{1,18}", text[forced:], re.ASCII) else None
        if number is not None and number >= len(self):
            number = None
        found = self._places.get(text)
        if found is not None:
            if number is not None and number != found and not forced:
                _logger.info(
                    "option %s: %s is taken for the identifier of data set %d; write #%s for data set %s by position",
                    option,
                    text,
                    found,
                    text,
                    text,
                    extra={"notice": True},
                )
            return found
        if number is None:
            raise UsageError(f"option {option}: there is no data set {text[:60]} ({self._listed()})")
        return number

    def positions(self, texts: Sequence[str], option: str) -> set[int]:
        """Return the positions of the data sets that texts name, several in one with commas or spaces between."""
        words = [w for text in texts for w in ([text] if text in self._places else split_words([text]))]
        if not words:
            raise UsageError(f"option {option}: names no data set ({self._listed()})")
        return {self.position(word, option) for word in words}

    def _listed(self) -> str:
        named = ", ".join(f"{i}: {name}" for i, name in enumerate(self.identifiers[:_MOST_LISTED]))
        more = f", ... {len(self)} in all" if len(self) > _MOST_LISTED else ""
        return f"there are {named}{more}"


def assign_identifiers(job: Job, identifiers: Sequence[str]) -> Job:
    """Return the job with other identifiers; valid image ranges of the scans follow.

    Raises
    ------
    UsageError
        If their number is not that of the data sets, or two are the same.
    """
    new = split_words(identifiers) if len(identifiers) == 1 else [name.strip() for name in identifiers]
    if len(new) != len(job.data_sets):
        raise UsageError(f"option identifiers: {len(new)} identifiers for {len(job.data_sets)} data sets")
    place = {name: i for i, name in reversed(list(enumerate(new)))}
    twice = next((name for i, name in enumerate(new) if place[name] < i), None)
    if twice is not None:
        raise UsageError(f"option identifiers: {twice[:60]} is given to two data sets; each needs its own")
    if not all(new):
        raise UsageError("option identifiers: an identifier is empty")
    renamed = job.select(range(len(new)))
    stored = [e.valid_image_ranges for e in renamed.experiments]
    for i, name in enumerate(new):
        renamed.experiments.set_identifier(i, name)
    for i, (experiment, ranges) in enumerate(zip(renamed.experiments, stored, strict=True)):
        # Again, since experiments that swap their names may share a scan.
        if experiment.scan is not None:
            renamed.experiments.set_valid_image_ranges(i, ranges)
    _logger.info("Dataset unique identifiers are %s", identifiers_text(new))
    decisions = {
        name: job.input_decisions[old]
        for name, old in zip(new, job.identifiers, strict=True)
        if old in job.input_decisions
    }
    return replace(renamed.select(range(len(new))), input_decisions=decisions)


def select_data_sets(job: Job, use: Sequence[str] | None, exclude: Sequence[str] | None) -> Job:
    """Return the job of the data sets to use, or of all but those to exclude; the job itself if neither is given.

    Raises
    ------
    UsageError
        If both are given, a data set is unknown, or none is left.
    """
    if use is not None and exclude is not None:
        raise UsageError(
            "options dataset_selection.use_datasets and exclude_datasets cannot be given together; give one of them"
        )
    if use is None and exclude is None:
        return job
    names = DataSetNames(tuple(job.identifiers))
    if use is not None:
        retained = sorted(names.positions(use, "dataset_selection.use_datasets"))
    else:
        excluded = names.positions(exclude or (), "dataset_selection.exclude_datasets")
        retained = [i for i in range(len(names)) if i not in excluded]
    if not retained:
        raise UsageError("option dataset_selection.exclude_datasets: no data set is left")
    _logger.info("Dataset ids for retained datasets are: %s", positions_text(retained))
    selected = job.select(retained)
    _logger.info("Dataset unique identifiers are %s", identifiers_text(selected.identifiers))
    return selected
