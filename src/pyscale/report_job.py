"""`pyscale report`: the report again, from a job's JSON file or from scaled files, and two jobs side by side."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from .errors import DataError, UsageError
from .io.atomic import OutputSet
from .options.report import ReportOptions

__all__ = ["read_document", "report_files"]

_logger = logging.getLogger(__name__)

_KEYS = ("datasets", "ledger", "fit", "error_model", "merging_statistics", "analyses", "options")
_COMPARED = 2


def report_files(
    files: Sequence[str | os.PathLike[str]], options: ReportOptions, named_outputs: Collection[str] = ()
) -> str:
    """Write the report of a job, or of two; returns the headline of the verdict, of two both.

    Raises
    ------
    UsageError
        If the files are not those of one job, or of two to be compared, or an output cannot be written.
    DataError
        If a file is corrupt, or not one of pyscale's or DIALS' scaled files.
    """
    documents = _documents(files, options)
    with OutputSet(files) as outputs:
        if options.output.html is not None:
            from .report import render_comparison, render_document

            if options.compare:
                page = render_comparison(documents, [os.fspath(f) for f in files])
            else:
                page = render_document(documents[0])
            path = outputs.stage(options.output.html, named_as_output="output.html" in named_outputs)
            path.write_text(page, encoding="utf-8", errors="backslashreplace")
        if options.output.plots is not None:
            from .report.paper import write_plots

            write_plots(documents[0], options.output.plots, outputs)
    return "\n".join(d["verdict"]["headline"] for d in documents)


def _documents(files: Sequence[str | os.PathLike[str]], options: ReportOptions) -> list[dict[str, Any]]:
    is_json = [Path(f).suffix == ".json" for f in files]
    if options.compare:
        if len(files) != _COMPARED or not all(is_json):
            raise UsageError("--compare takes two files pyscale.scale.json of two jobs")
        if options.output.plots is not None:
            raise UsageError("option output.plots: figures are of one job; leave out --compare")
        return [read_document(f) for f in files]
    if not any(is_json):
        from .scaled_files import document_of_scaled_files

        return [document_of_scaled_files(files, options.nproc)]
    if len(files) > 1:
        raise UsageError("pyscale report takes one JSON file (--compare: two), or scaled experiments and reflections")
    return [read_document(files[0])]


def read_document(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a `pyscale.scale.json`, with a verdict and other keys that older versions did not write.

    Raises
    ------
    UsageError
        If it cannot be opened.
    DataError
        If it is no such file.
    """
    from .verdict import verdict_of

    try:
        document: Any = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError:
        raise DataError(f"{path}: is no JSON file, or not whole; give the pyscale.scale.json of a job") from None
    missing = [key for key in _KEYS if not isinstance(document, dict) or key not in document]
    if missing:
        raise DataError(f"{path}: has no key '{missing[0]}': give the pyscale.scale.json that pyscale scale writes")
    try:
        whole: dict[str, Any] = {"sources": [], "warnings": []} | document
        return whole | {"verdict": verdict_of(whole).to_dict()}
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise DataError(
            f"{path}: is not as this version writes it ({type(error).__name__} {error}); scale again"
        ) from None
