"""What this site adds to Sphinx: formulas as MathML, links to equations, subscripts, and the public API.

A displayed formula ends in `\\tag{12}`, its number in the whole of "How it works"; a `(12)` in the text of these pages
becomes a link to it. MathML needs no script and no network.
"""

from __future__ import annotations

import inspect
import re
from typing import Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

import pyscale

logger = logging.getLogger(__name__)

_TAG = re.compile(r"\\tag\{(\w+)\}")
_NUMBER = re.compile(r"\((\d+[a-e]?)\)")
_PAGES = "theory/"
_LETTERS = "A-Za-z0-9α-ω"
_BASE = r"(?<![A-Za-z0-9_./=-])(?P<base>(?:CC|[^\W\d_])['′]?²?)"
_SUBSCRIPT = rf"{_BASE}_(?:(?P<below>[{_LETTERS}]{{1,6}})|\{{(?P<braces>[^}}]{{1,9}})\}})(?![A-Za-z0-9_=-])"
_SUPERSCRIPT = r"(?<=[\w)\]⟩])\^(?P<above>−?½|−?\w|\([^)]{1,9}\))"
_SCRIPTS = re.compile(f"{_SUBSCRIPT}|{_SUPERSCRIPT}")
_API_BLOCK = "```{public-api}\n```\n"


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    app.connect("source-read", list_public_api)
    app.connect("autodoc-process-docstring", link_pages)
    app.connect("doctree-read", collect_equations)
    app.connect("doctree-read", set_scripts)
    app.connect("env-purge-doc", forget_equations)
    app.connect("env-merge-info", merge_equations)
    app.connect("doctree-resolved", link_equations)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def visit_inline(visitor: Any, node: nodes.math) -> None:
    """Write a formula inside a line."""
    visitor.body.append(mathml(node, node.astext(), as_block=False))
    raise nodes.SkipNode


def visit_block(visitor: Any, node: nodes.math_block) -> None:
    """Write a displayed formula, with its number."""
    text = node.astext()
    tag = _TAG.search(text)
    body = mathml(node, _TAG.sub("", text).strip(), as_block=True)
    opening = f'<div class="formula" id="equation-{tag[1]}">' if tag else '<div class="formula">'
    number = f'<span class="number">({tag[1]})</span>' if tag else ""
    visitor.body.append(f'{opening}<div class="display">{body}</div>{number}</div>\n')
    raise nodes.SkipNode


def mathml(node: nodes.Node, text: str, as_block: bool) -> str:
    """Translate LaTeX; what cannot be read is a warning, which fails the build."""
    try:
        return str(tex2mathml(text, as_block=as_block))
    except MathError as error:
        logger.warning("formula cannot be read: %s: %s", error, text, location=node)
        return ""


def list_public_api(_app: Sphinx, _page: str, source: list[str]) -> None:
    """Put what `pyscale.__all__` names in the place of the block `public-api`."""
    if _API_BLOCK in source[0]:
        source[0] = source[0].replace(_API_BLOCK, public_api())


def public_api() -> str:
    """Return sections of functions, classes and exceptions, each entry documented by its docstring."""
    found: dict[str, list[str]] = {"Functions": [], "Classes": [], "Exceptions": []}
    for name in pyscale.__all__:
        value = getattr(pyscale, name)
        if inspect.isclass(value):
            kind, directive = ("Exceptions", "exception") if issubclass(value, Exception) else ("Classes", "class")
        elif callable(value):
            kind, directive = "Functions", "function"
        else:
            continue
        members = "   :members:\n" if directive == "class" else ""
        found[kind].append(f"```{{eval-rst}}\n.. auto{directive}:: pyscale.{name}\n{members}```\n")
    return "\n".join(f"## {title}\n\n" + "\n".join(entries) for title, entries in found.items() if entries)


def link_pages(_app: Sphinx, _what: str, _name: str, _value: Any, _options: Any, lines: list[str]) -> None:
    """Turn pages that docstrings name into links."""
    lines[:] = [re.sub(r"docs/([\w/-]+)\.md", r":doc:`/\1`", line) for line in lines]


def set_scripts(_app: Sphinx, document: nodes.document) -> None:
    """Set what is written as R_meas, I_h or w^½ with subscripts and superscripts; code and formulas stay."""
    for text in list(document.findall(nodes.Text)):
        if isinstance(text.parent, (nodes.paragraph, nodes.emphasis, nodes.strong)) and _SCRIPTS.search(text):
            text.parent.replace(text, with_scripts(str(text)))


def with_scripts(text: str) -> list[nodes.Node]:
    """Cut a text into what stays, subscripts and superscripts."""
    parts: list[nodes.Node] = []
    end = 0
    for match in _SCRIPTS.finditer(text):
        parts.append(nodes.Text(text[end : match.start()] + (match["base"] or "")))
        above = match["above"]
        parts.append(nodes.superscript("", above) if above else nodes.subscript("", match["below"] or match["braces"]))
        end = match.end()
    return [*parts, nodes.Text(text[end:])]


def equations(env: BuildEnvironment) -> dict[str, str]:
    """Return the page of each equation number."""
    if not hasattr(env, "pyscale_equations"):
        env.pyscale_equations = {}  # type: ignore[attr-defined]
    found: dict[str, str] = env.pyscale_equations  # type: ignore[attr-defined]
    return found


def collect_equations(app: Sphinx, document: nodes.document) -> None:
    """Remember which page has which numbers."""
    page = app.env.docname
    known = equations(app.env)
    for block in document.findall(nodes.math_block):
        for number in _TAG.findall(block.astext()):
            if known.setdefault(number, page) != page or not page.startswith(_PAGES):
                logger.warning("equation (%s) stands in %s already, or outside %s", number, known[number], _PAGES)


def forget_equations(_app: Sphinx, env: BuildEnvironment, page: str) -> None:
    """Forget those of a page that is read again."""
    for number in [number for number, home in equations(env).items() if home == page]:
        del equations(env)[number]


def merge_equations(_app: Sphinx, env: BuildEnvironment, pages: set[str], other: BuildEnvironment) -> None:
    """Take over what another process has read."""
    equations(env).update({number: page for number, page in equations(other).items() if page in pages})


def link_equations(app: Sphinx, document: nodes.document, page: str) -> None:
    """Turn numbers in running text into links."""
    if not page.startswith(_PAGES) or app.builder.format != "html":
        return
    for text in list(document.findall(nodes.Text)):
        if _NUMBER.search(text) and isinstance(text.parent, (nodes.paragraph, nodes.entry, nodes.emphasis)):
            text.parent.replace(text, linked(app, page, str(text)))


def linked(app: Sphinx, page: str, text: str) -> list[nodes.Node]:
    """Cut a text into what stays and links."""
    parts: list[nodes.Node] = []
    end = 0
    for match in _NUMBER.finditer(text):
        home = equations(app.env).get(match[1])
        if home is None:
            continue
        address = f"{app.builder.get_relative_uri(page, home)}#equation-{match[1]}"
        parts += [nodes.Text(text[end : match.start()]), nodes.reference("", match[0], refuri=address, internal=True)]
        end = match.end()
    return [*parts, nodes.Text(text[end:])]
