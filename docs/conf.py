"""How Sphinx builds the documentation: `sphinx-build -W --keep-going docs build/docs`."""

from __future__ import annotations

import sys
from pathlib import Path

import pyscale

sys.path.insert(0, str(Path(__file__).resolve().parent))

project = "pyscale"
author = "The pyscale developers"
copyright = "2026, The pyscale developers"
version = release = pyscale.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "site_extension",
]

myst_enable_extensions = ["amsmath", "attrs_block", "colon_fence", "deflist", "dollarmath", "html_image"]
myst_heading_anchors = 4
myst_dmath_double_inline = True
myst_heading_slug_func = "heading_slugs.heading_slug"

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autoclass_content = "class"
napoleon_google_docstring = False
napoleon_use_rtype = False

nitpicky = True
# Types without an entry of their own: those of libraries, and what public functions take and return inside.
nitpick_ignore_regex = [(r"py:class", r"(?!pyscale\.\w+$).*")]

html_theme = "furo"
html_title = f"pyscale {release}"
html_static_path = ["_static"]
html_css_files = ["pyscale.css"]
html_copy_source = False
html_show_sourcelink = False
html_math_renderer = "mathml"
html_theme_options = {
    "navigation_with_keys": True,
}
default_role = "code"
highlight_language = "text"
pygments_style = "friendly"
pygments_dark_style = "native"
