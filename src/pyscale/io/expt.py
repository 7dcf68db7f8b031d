"""Experiment lists of DIALS (`.expt`): JSON, kept whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import DataError, UsageError
from ..experiment import ExperimentList
from ..experiment_document import MODEL_KEYS
from .atomic import PathLike, write_atomically

__all__ = ["read_expt", "write_expt"]


def read_expt(path: PathLike) -> ExperimentList:
    """Read an experiment list.

    A model that is given as the path of another JSON file, relative to this one, is replaced by that file's
    content.

    Raises
    ------
    UsageError
        If the file does not exist or cannot be opened.
    DataError
        If it is no experiment list in JSON form, or refers to models that do not exist.
    """
    document = _load(Path(path), str(path))
    if isinstance(document, dict):
        _resolve_paths(document, Path(path))
    return ExperimentList(document, str(path))


def _load(path: Path, name: str) -> Any:
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"{name}: is not a regular file")
        return json.loads(path.read_bytes(), parse_constant=_refuse_constant)
    except OSError as error:
        raise UsageError(f"{name}: cannot be read ({error.strerror})") from None
    except RecursionError:
        raise DataError(f"{name}: is not sound JSON (nested too deeply)") from None
    except UsageError:
        raise
    except ValueError as error:
        raise DataError(f"{name}: is not sound JSON ({error})") from None


def _refuse_constant(constant: str) -> float:
    raise ValueError(f"{constant} is not a number")


def _resolve_paths(document: dict[str, Any], path: Path) -> None:
    experiments = [e for e in _list(document.get("experiment")) if isinstance(e, dict)]
    for key in MODEL_KEYS:
        models = _list(document.get(key))
        for i, model in enumerate(models):
            if isinstance(model, str):
                models[i] = _load_model(path, model, key)
        position: dict[str, int] = {}
        for experiment in experiments:
            reference = experiment.get(key)
            if not isinstance(reference, str):
                continue
            if reference not in position:
                position[reference] = len(models)
                models.append(_load_model(path, reference, key))
                document[key] = models
            experiment[key] = position[reference]


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _load_model(path: Path, reference: str, key: str) -> dict[str, Any]:
    where = f"{path}: {key} '{reference}'"
    model = _load(path.parent / reference, where)
    if not isinstance(model, dict):
        raise DataError(f"{where}: is not an object")
    return model


def write_expt(experiments: ExperimentList, path: PathLike) -> None:
    """Write an experiment list, whole or not at all.

    Raises
    ------
    UsageError
        If the file cannot be written.
    DataError
        If the document holds numbers that are not finite.
    """
    try:
        # One line per model: json's indent would take the slow encoder, some 20 times slower.
        text = "{\n" + ",\n".join(_lines(experiments.document)) + "\n}\n"
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: the experiments cannot be written as JSON ({error})") from None
    try:
        with write_atomically(path) as temporary:
            temporary.write_text(text, encoding="ascii")
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from None


def _lines(document: dict[str, Any]) -> Iterator[str]:
    for key, value in document.items():
        if isinstance(value, list) and value:
            items = ",\n".join("    " + _encode(item) for item in value)
            yield f"  {_encode(key)}: [\n{items}\n  ]"
        else:
            yield f"  {_encode(key)}: {_encode(value)}"


def _encode(value: object) -> str:
    return json.dumps(value, allow_nan=False)
