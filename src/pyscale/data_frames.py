"""Columns for other libraries: pandas and Arrow, both only where a caller asks for them."""

from __future__ import annotations

import html
import importlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import UsageError

if TYPE_CHECKING:
    from .merging import MergedReflections

__all__ = ["ColumnSource", "flat_columns", "html_table", "index_columns", "merged_columns"]

_WITHOUT_PANDAS = "pandas is not installed, which to_pandas needs: pip install pandas"
_WITHOUT_ARROW = "pyarrow is not installed, which Arrow data need: pip install 'pyscale-xtal[arrow]'"
_AXES = {"miller_index": ("h", "k", "l"), "xyzobs.px.value": ("x", "y", "z")}


class ColumnSource:
    """What has columns: `to_columns` (numpy), `to_pandas`, and the PyCapsule interface of Arrow.

    `polars.DataFrame(x)`, `pyarrow.table(x)` and `duckdb` take such an object as it is.
    """

    def to_columns(self) -> dict[str, NDArray[Any]]:
        """Return all columns by name, each (n,)."""
        raise NotImplementedError

    def to_pandas(self) -> Any:
        """Return a `pandas.DataFrame` of all columns.

        Raises
        ------
        UsageError
            If pandas is not installed.
        """
        return _imported("pandas", _WITHOUT_PANDAS).DataFrame(self.to_columns())

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Return the columns as a capsule `arrow_array_stream`; UsageError if pyarrow is not installed."""
        arrow = _imported("pyarrow", _WITHOUT_ARROW)
        columns = {name: arrow.array(np.ascontiguousarray(values)) for name, values in self.to_columns().items()}
        capsule: object = arrow.table(columns).__arrow_c_stream__(requested_schema)
        return capsule


def _imported(module: str, advice: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise UsageError(advice) from None


def flat_columns(columns: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Columns of one number a row: those of several become several, Miller indices h, k, l, others NAME.0, ..."""
    flat: dict[str, NDArray[Any]] = {}
    for name, values in columns.items():
        if values.ndim == 1:
            flat[name] = values
            continue
        parts = _AXES.get(name, range(values.shape[1]))
        whole = "" if name == "miller_index" else f"{name}."
        flat |= {f"{whole}{part}": values[:, k] for k, part in enumerate(parts)}
    return flat


def index_columns(miller_index: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Miller indices as columns h, k, l."""
    return flat_columns({"miller_index": miller_index})


def merged_columns(merged: MergedReflections) -> dict[str, NDArray[Any]]:
    """h, k, l and every array of merged reflections under its own name."""
    return flat_columns({name: values for name, values in vars(merged).items() if isinstance(values, np.ndarray)})


def html_table(headings: Sequence[str], rows: Iterable[Sequence[object]], caption: str = "") -> str:
    """An HTML table for notebooks; all text is escaped."""

    def cells(tag: str, values: Sequence[object]) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(str(v))}</{tag}>" for v in values) + "</tr>"

    title = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    body = "".join(cells("td", row) for row in rows)
    return f"<table>{title}<thead>{cells('th', headings)}</thead><tbody>{body}</tbody></table>"
