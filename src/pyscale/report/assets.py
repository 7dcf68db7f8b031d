"""What the page carries in itself: figures and plotly.js, packed, and the templates."""

from __future__ import annotations

import base64
import gzip
import importlib.util
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from .plots import Figure

__all__ = ["render"]

#: Of gzip: more costs twice the time for a few percent of the page.
_LEVEL = 4
_CONTENTS = "<!-- contents -->"
_SECTION = re.compile(r'<section id="([a-z-]+)"[^>]*>\s*<h2[^>]*>(.*?)</h2>', re.DOTALL)


def render(template: str, figures: dict[str, Figure], **context: Any) -> str:
    """Render a template that extends base.html, with its figures and a list of its sections."""
    page = (
        _environment()
        .get_template(template)
        .render(
            **context,
            figure_names=list(figures),
            captions={name: figure["caption"] for name, figure in figures.items()},
            figures=_packed(json.dumps(_drawn(figures), allow_nan=False, separators=(",", ":")).encode()),
            plotly=_plotly() if figures else None,
            contents_mark=Markup(_CONTENTS),
        )
    )
    links = [f'<a href="#{name}">{title}</a>' for name, title in _SECTION.findall(page)]
    return page.replace(_CONTENTS, "\n".join(links), 1)


def _drawn(figures: dict[str, Figure]) -> dict[str, Figure]:
    """What the script draws: all but the captions."""
    return {name: {"data": figure["data"], "layout": figure["layout"]} for name, figure in figures.items()}


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["subscripts"] = _with_subscripts
    environment.filters["typeset"] = _typeset
    return environment


def _with_subscripts(text: str) -> Markup:
    """R_meas and the like as they are printed; all else escaped."""
    return Markup(
        re.sub(r"\bR_(merge|meas|pim|split)\b", r"R<sub>\1</sub>", str(escape(_UNIT.sub("\u00a0", _typeset(text)))))
    )


_UNIT = re.compile(r"(?<=\d) (?=[%Å])")
_MINUS = re.compile(r"(?<![^\s(])-(?=\s?\d)")


def _typeset(text: str) -> str:
    """Sentences of the program, which are written for logs too, with the signs of print; markup as it is."""
    if isinstance(text, Markup) or not re.search("[a-z]", text):
        return text
    return _MINUS.sub("−", text).replace(" +- ", " ± ").replace(" A^2", " Å²")


def _packed(content: bytes) -> Markup:
    """Compressed text that cannot end the script element that holds it; the same content gives the same text."""
    return Markup(base64.b64encode(gzip.compress(content, _LEVEL, mtime=0)).decode())


def _plotly() -> Markup | None:
    """plotly.js as the Python package brings it, packed, found without the slow import; None without it."""
    spec = importlib.util.find_spec("plotly")
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder) / "package_data" / "plotly.min.js"
        if path.is_file():
            return _packed(path.read_bytes())
    return None
