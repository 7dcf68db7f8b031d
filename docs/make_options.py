"""Write docs/options.md from the option tree: `python docs/make_options.py`."""

from __future__ import annotations

from pathlib import Path

from pyscale.cli.frame import range_text, sentence, unavailable_notes
from pyscale.option_text import format_value
from pyscale.options import Option, ScalingOptions, options_of

PAGE = Path(__file__).with_name("options.md")

_INTRODUCTION = """# Options of `pyscale scale`

Made by `docs/make_options.py` from `src/pyscale/options/`; do not edit.

On the command line an option is `name=value`. A unique last part of its name will do: `d_min=1.8` is
`cut_data.d_min=1.8`. A name that several scaling models share sets it in each of them:
`decay_correction=False` is for the physical and the KB model. `auto` lets pyscale choose, `None` unsets,
lists are separated by commas or spaces. Options may come from files, `options.toml` or PHIL text
`options.phil`; the command line wins over them. From Python: `pyscale.scale(data, d_min=1.8)`.

Options whose feature is still to be built exist, but have no other value than their default.
"""


def page() -> str:
    """Return the whole page."""
    options = options_of(ScalingOptions)
    parts = [_INTRODUCTION]
    for topic in dict.fromkeys(option.topic for option in options):
        rows = [_row(option) for option in options if option.topic == topic]
        parts += [f"## {topic}\n", "| option | type | default | meaning |\n|---|---|---|---|", *rows, ""]
    return "\n".join(parts)


def _row(option: Option) -> str:
    names = " ".join([f"`{option.path}`", *(f"(also `{alias}`)" for alias in option.aliases)])
    kind = option.type.description + range_text(option)
    meaning = " ".join([sentence(option.help), *unavailable_notes(option)])
    cells = (names, kind, f"`{format_value(option.default)}`", meaning)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
