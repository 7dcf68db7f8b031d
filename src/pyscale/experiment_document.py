"""The JSON document of an experiment list: lists of models, and experiments that refer to their positions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from .errors import DataError

__all__ = ["MODEL_KEYS", "ExperimentDocument"]

MODEL_KEYS = (
    "imageset",
    "beam",
    "detector",
    "goniometer",
    "scan",
    "crystal",
    "profile",
    "scaling_model",
)
_NOT_MODELS = ("__id__", "experiment", "history", "identifier")


class ExperimentDocument:
    """A document whose references have been checked. Dicts of models are replaced, never changed in place.

    Parameters
    ----------
    values
        The document; lists and experiments are copied, models are not.
    source
        The file it came from, for messages.

    Raises
    ------
    DataError
        If it is no list of experiments, or an experiment refers to a model that is not there.
    """

    def __init__(self, values: dict[str, Any], source: str = "") -> None:
        self.source = source or "experiments"
        experiments = values.get("experiment") if isinstance(values, dict) else None
        if not isinstance(experiments, list) or not all(isinstance(e, dict) for e in experiments):
            raise DataError(f"{self.source}: is not a DIALS experiment list")
        self.values = {k: list(v) if isinstance(v, list) else v for k, v in values.items()}
        self.values["experiment"] = [dict(e) for e in experiments]
        self._origins = [(self.source, i) for i in range(len(experiments))]
        self._uses: dict[str, Counter[int | None]] = {}
        self._check()

    def __len__(self) -> int:
        return len(self._experiments)

    @property
    def _experiments(self) -> list[dict[str, Any]]:
        experiments: list[dict[str, Any]] = self.values["experiment"]
        return experiments

    def where(self, index: int) -> str:
        """Return file and number of an experiment, for messages."""
        source, number = self._origins[index]
        return f"{source}: experiment {number}"

    def _check(self) -> None:
        for key in MODEL_KEYS:
            if not isinstance(self.values.get(key) or [], list):
                raise DataError(f"{self.source}: {key} must be a list of models")
        if not isinstance(self.values.get("history") or [], list):
            raise DataError(f"{self.source}: history must be a list of lines")
        for i, experiment in enumerate(self._experiments):
            if not isinstance(experiment.get("identifier") or "", str):
                raise DataError(f"{self.where(i)}: identifier must be text")
        wrong = [key for key in MODEL_KEYS if not self._has_sound_references(key)]
        for i in range(len(self) if wrong else 0):
            for key in wrong:
                self._check_reference(i, key)

    def _has_sound_references(self, key: str) -> bool:
        """Whether no reference to models of a kind is wrong; which one is, `_check_reference` tells."""
        references = [reference for e in self._experiments if (reference := e.get(key)) is not None]
        if not set(map(type, references)) <= {int}:
            return False
        models: list[Any] = self.values.get(key) or []
        used: set[int] = set(references)
        return all(0 <= k < len(models) and isinstance(models[k], dict) for k in used)

    @classmethod
    def _of(cls, values: dict[str, Any], source: str, origins: list[tuple[str, int]]) -> ExperimentDocument:
        """A document made of others, which needs no check; nothing of it is copied."""
        result = cls.__new__(cls)
        result.values, result.source, result._origins, result._uses = values, source, origins, {}
        return result

    def _check_reference(self, index: int, key: str) -> None:
        reference = self._experiments[index].get(key)
        if reference is None:
            return
        models = self.values.get(key) or []
        if type(reference) is not int or not 0 <= reference < len(models):
            raise DataError(f"{self.where(index)}: {key} {reference!r} is not among the {len(models)} of the file")
        if not isinstance(models[reference], dict):
            raise DataError(f"{self.where(index)}: {key} {reference} must be an object")

    def identifier(self, index: int) -> str:
        """Return an experiment's identifier, or an empty string."""
        return self._experiments[index].get("identifier") or ""

    def model_index(self, index: int, key: str) -> int | None:
        """Return the position of an experiment's model in the list of its kind."""
        reference: int | None = self._experiments[index].get(key)
        return reference

    def model(self, index: int, key: str) -> dict[str, Any] | None:
        """Return an experiment's model of some kind."""
        reference = self.model_index(index, key)
        models: list[dict[str, Any]] = self.values.get(key) or []
        return None if reference is None else models[reference]

    def set_model(self, index: int, key: str, model: dict[str, Any] | None) -> None:
        """Replace the model of one experiment only, or remove it."""
        if key not in self._uses:
            self._uses[key] = Counter(e.get(key) for e in self._experiments)
        uses = self._uses[key]
        experiment = self._experiments[index]
        models: list[Any] = self.values.get(key) or []
        reference = experiment.pop(key, None)
        uses[reference] -= 1
        if model is None:
            reference = None
        elif reference is None or uses[reference]:
            reference = len(models)
            models.append(model)
        else:
            models[reference] = model
        uses[reference] += 1
        if reference is not None:
            experiment[key] = reference
        self.values[key] = [] if uses[None] == len(self) else models

    def update_models(self, key: str, changes: dict[str, Any]) -> None:
        """Change values of all models of a kind; those that are shared stay so."""
        self.values[key] = [{**model, **changes} for model in self.values.get(key) or []]

    def set_identifier(self, index: int, identifier: str) -> None:
        """Rename an experiment, and its valid image ranges with it."""
        old = self.identifier(index)
        self._experiments[index]["identifier"] = identifier
        ranges = self._valid_image_ranges(index)
        if old == identifier or old not in ranges:
            return
        ranges[identifier] = ranges[old]
        scan = self.model_index(index, "scan")
        if not any(e.get("scan") == scan and e.get("identifier") == old for e in self._experiments):
            del ranges[old]
        self._replace_valid_image_ranges(index, ranges)

    def set_valid_image_ranges(self, index: int, ranges: Sequence[tuple[int, int]]) -> None:
        """Store the parts of an experiment's scan that are in use."""
        stored = self._valid_image_ranges(index)
        stored[self.identifier(index)] = [[int(first), int(last)] for first, last in ranges]
        self._replace_valid_image_ranges(index, stored)

    def _valid_image_ranges(self, index: int) -> dict[str, Any]:
        ranges = (self.model(index, "scan") or {}).get("valid_image_ranges") or {}
        if not isinstance(ranges, dict):
            raise DataError(f"{self.where(index)}: scan: valid_image_ranges must be an object")
        return dict(ranges)

    def _replace_valid_image_ranges(self, index: int, ranges: dict[str, Any]) -> None:
        position = self.model_index(index, "scan")
        if position is None:
            raise DataError(f"{self.where(index)}: has no scan, so no valid image ranges")
        scans = self.values["scan"]
        scans[position] = {**scans[position], "valid_image_ranges": ranges}

    def add_history(self, line: str) -> None:
        """Append a line to the history."""
        self.values["history"] = [*(self.values.get("history") or []), line]

    def _model_keys(self) -> set[str]:
        """Kinds of models: those we know, and other lists that experiments refer to by position."""
        keys = set(MODEL_KEYS)
        for experiment in self._experiments:
            for key, value in experiment.items():
                models = self.values.get(key) if key not in _NOT_MODELS else None
                if isinstance(models, list) and type(value) is int and 0 <= value < len(models):
                    keys.add(key)
        return keys

    def select(self, indices: list[int]) -> ExperimentDocument:
        """Return a document of some experiments and the models they use."""
        keys = self._model_keys()
        chosen = [dict(self._experiments[i]) for i in indices]
        values = {k: list(v) if isinstance(v, list) else v for k, v in self.values.items()}
        values["experiment"] = chosen
        for key in keys & values.keys():
            used = sorted({e[key] for e in chosen if type(e.get(key)) is int})
            position = {old: new for new, old in enumerate(used)}
            values[key] = [self.values[key][old] for old in used]
            for experiment in chosen:
                if type(experiment.get(key)) is int:
                    experiment[key] = position[experiment[key]]
        return self._of(values, self.source, [self._origins[i] for i in indices])

    @classmethod
    def concatenate(cls, documents: Sequence[ExperimentDocument]) -> ExperimentDocument:
        """Return one document of all experiments; positions are shifted and histories joined."""
        values: dict[str, Any] = {"__id__": "ExperimentList", "experiment": []}
        for document in documents:
            keys = document._model_keys()
            shift = {key: len(values.get(key) or []) for key in keys}
            for key, value in document.values.items():
                if key in keys:
                    values[key] = [*(values.get(key) or []), *(value or [])]
                elif key == "history":
                    values[key] = list(dict.fromkeys([*(values.get(key) or []), *(value or [])]))
                elif key != "experiment":
                    values.setdefault(key, value)
            for experiment in document._experiments:
                moved = {k: v + shift[k] for k, v in experiment.items() if k in keys and type(v) is int}
                values["experiment"].append({**experiment, **moved})
        values = {k: list(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls._of(values, "experiments", [origin for d in documents for origin in d._origins])
