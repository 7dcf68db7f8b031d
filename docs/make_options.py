"""Write the pages of options and their JSON schema from the option trees: `python docs/make_options.py`."""

from __future__ import annotations

from pathlib import Path

from pyscale.cli.flags import FLAG_HELP
from pyscale.cli.frame import range_text, sentence
from pyscale.option_documents import json_text
from pyscale.option_text import format_value
from pyscale.options import SCALING_NAMES, Option, ScalingOptions, options_of
from pyscale.options.dials import DIALS_DEFAULTS
from pyscale.options.export import EXPORT_NAMES
from pyscale.options.guide import OLD_NAMES
from pyscale.options.merge import MERGE_NAMES
from pyscale.options.names import OldName
from pyscale.options.report import REPORT_NAMES

DOCS = Path(__file__).resolve().parent
SCHEMA = DOCS.parent / "src" / "pyscale" / "schema" / "options.schema.json"

_INTRODUCTION = """# Options of `pyscale scale`

*Made by `docs/make_options.py` from `src/pyscale/options/`; do not edit.*

On the command line an option is `name=value`. A unique last part of its name will do: `d_min=1.8` is
`cut_data.d_min=1.8`; so will any letters that only one name has. A name that several scaling models share sets it in
each of them: `decay_correction=False` is for every model that has a decay. `auto` lets pyscale choose, `None` unsets,
in any case; True and False may be yes and no, on and off, 1 and 0. Lists are separated by commas or spaces, with or
without brackets: `0.8,5`, `"0.8 5"`, `"[0.8, 5]"`. A wrong name is answered with the nearest ones, and a value out of
its range is refused.

Options may come from files, which the command line wins over: TOML (`options.toml`) or PHIL text (`options.phil`), as
positional arguments or with `--phil FILE`. `pyscale scale --show-options=toml > options.toml` writes all of them with
their defaults and meanings, and `pyscale scale -c -a1 d_min=1.8 > options.phil` the PHIL text of a command line; both
can be read again. From Python: `pyscale.scale(data, d_min=1.8)`. The options in `pyscale.scale.json` are described by
[a JSON schema](../../src/pyscale/schema/options.schema.json), which `pyscale scale --options-schema` prints.
"""

_REFUSED = """## What is refused, and what to use instead

These options and values of dials.scale, and some of our own, cannot be had yet: anything but the default is an error
with this sentence.

| option or value | default | meaning | why, or what to use instead |
|---|---|---|---|"""

_DIFFERENCES = """## Where defaults differ from those of dials.scale

| option | here | dials.scale |
|---|---|---|"""

_OLD = """## Names of the guide of 2018-19

They are accepted with a note, by their last parts too.

| name then | now |
|---|---|"""

_MERGE = """# Options of `pyscale merge`

*Made by `docs/make_options.py` from `src/pyscale/options/`; do not edit.*

They are written in the same way, on the command line, in files and as keywords of `pyscale.merge`. Names are those of
dials.merge.
"""

_EXPORT = """# Options of `pyscale export`

*Made by `docs/make_options.py` from `src/pyscale/options/`; do not edit.*

Names are those of dials.export where it has them; `mtz.hklout`, `shelx.hklout`, `mtz.d_min` and so on are understood.
"""

_REPORT = """# Options of `pyscale report`

`pyscale report pyscale.scale.json` gives the page that `pyscale scale` wrote; of scaled files what these hold.
"""


def pages() -> dict[Path, str]:
    """Return the text of each page."""
    reference = DOCS / "reference"
    return {
        reference / "options.md": page(),
        reference / "options-merge.md": "\n".join([_MERGE, *_topics(MERGE_NAMES.options)]),
        reference / "options-export.md": "\n".join([_EXPORT, *_topics(EXPORT_NAMES.options)]),
        reference / "options-report.md": "\n".join([_REPORT, *_topics(REPORT_NAMES.options)]),
    }


def page() -> str:
    """Return the page of scaling."""
    options = options_of(ScalingOptions)
    parts = [_INTRODUCTION, f"```\n{FLAG_HELP}\n```\n"]
    parts += _topics(options)
    parts += [_REFUSED, *(row for option in options for row in _refusals(option)), ""]
    differing = [option for option in options if option.path in DIALS_DEFAULTS]
    parts += [_DIFFERENCES, *(_cells(*_difference(option)) for option in differing), ""]
    parts += [_OLD, *(_cells(f"`{name}`", _now(old)) for name, old in OLD_NAMES.items()), ""]
    return "\n".join(parts)


def _topics(options: tuple[Option, ...]) -> list[str]:
    """The options of a command that are available, a table for each topic."""
    lines: list[str] = []
    for topic in dict.fromkeys(option.topic for option in options if option.available):
        rows = [_row(option) for option in options if option.topic == topic and option.available]
        lines += [f"## {topic}\n", "| option | type | default | meaning |\n|---|---|---|---|", *rows, ""]
    return lines


def _row(option: Option) -> str:
    names = " ".join([f"`{option.path}`", *(f"(also `{alias}`)" for alias in option.aliases)])
    kind = option.type.description + range_text(option)
    return _cells(names, kind, f"`{format_value(option.default)}`", sentence(option.help))


def _refusals(option: Option) -> list[str]:
    default = f"`{format_value(option.default)}`"
    if isinstance(option.unavailable, str):
        return [_cells(f"`{option.path}`", default, sentence(option.help), sentence(option.unavailable))]
    values = (option.unavailable or {}).items()
    return [_cells(f"`{option.path}={value}`", default, "", sentence(advice)) for value, advice in values]


def _difference(option: Option) -> tuple[str, str, str]:
    return f"`{option.path}`", f"`{format_value(option.default)}`", DIALS_DEFAULTS[option.path]


def _now(old: OldName) -> str:
    if old.now is None:
        return sentence(f"{'refused' if old.forbidden else 'no effect'}: {old.advice}")
    return " and ".join(f"`{option.path}`" for option in SCALING_NAMES.resolve(old.now))


def _cells(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def schema() -> str:
    """Return the JSON schema of the options as text."""
    return json_text(ScalingOptions, "Options of pyscale scale") + "\n"


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
    SCHEMA.write_text(schema(), encoding="utf-8")
