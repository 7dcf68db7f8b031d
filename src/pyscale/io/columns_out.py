"""Reflections as columns for data analysis: JSON, Parquet, Arrow."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError

__all__ = ["write_arrow", "write_json_columns", "write_parquet"]

_WITHOUT_ARROW = "pyarrow is not installed, which formats parquet and arrow need: pip install 'pyscale-xtal[arrow]'"


def write_json_columns(path: Path, columns: Mapping[str, NDArray[Any]], header: Mapping[str, Any]) -> None:
    """Write one JSON object: the header's keys, then `columns`, each an array; null for what is not finite."""
    with path.open("w", encoding="utf-8") as file:
        file.write("{")
        for key, value in header.items():
            file.write(f"\n{json.dumps(key)}: {json.dumps(value, allow_nan=False)},")
        file.write('\n"columns": {')
        for k, (name, values) in enumerate(columns.items()):
            file.write(f"{',' if k else ''}\n{json.dumps(name)}: {json.dumps(_plain(values), allow_nan=False)}")
        file.write("\n}\n}\n")


def _plain(values: NDArray[Any]) -> list[Any]:
    plain: list[Any] = values.tolist()
    if values.dtype.kind != "f" or np.isfinite(values).all():
        return plain
    with_nulls = values.astype(object)
    with_nulls[~np.isfinite(values)] = None
    return list(with_nulls)


def write_parquet(path: Path, columns: Mapping[str, NDArray[Any]], header: Mapping[str, Any]) -> None:
    """Write a Parquet file; its metadata holds the header as JSON under the key `pyscale`.

    Raises
    ------
    UsageError
        If pyarrow is not installed.
    """
    table = _arrow_table(columns, header)
    importlib.import_module("pyarrow.parquet").write_table(table, str(path))


def write_arrow(path: Path, columns: Mapping[str, NDArray[Any]], header: Mapping[str, Any]) -> None:
    """Write an Arrow file (IPC, also known as Feather 2); metadata and errors as for `write_parquet`."""
    table = _arrow_table(columns, header)
    importlib.import_module("pyarrow.feather").write_feather(table, str(path))


def _arrow_table(columns: Mapping[str, NDArray[Any]], header: Mapping[str, Any]) -> Any:
    try:
        arrow: Any = importlib.import_module("pyarrow")
    except ImportError:
        raise UsageError(_WITHOUT_ARROW) from None
    table = arrow.table({name: arrow.array(np.ascontiguousarray(values)) for name, values in columns.items()})
    return table.replace_schema_metadata({"pyscale": json.dumps(header, allow_nan=False)})
