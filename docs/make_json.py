"""Write docs/reference/json.md from the JSON schema: python docs/make_json.py [--check]"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SCHEMAS = ROOT / "src" / "pyscale" / "schema"
PAGE = ROOT / "docs" / "reference" / "json.md"

HEAD = """# The JSON document

`pyscale scale` writes `pyscale.scale.json` (`output.json`), and `ScalingResult.to_dict()` returns the same. The format
is public and versioned: within a `version` keys may be added, but none is removed or changes its meaning. This page is
made by `docs/make_json.py` from [the schema](../../src/pyscale/schema/scale.schema.json), against which tests check
real documents.

Numbers that are not defined or infinite are `null`. Each top-level key is on a line of its own. `NAME` stands for a key
that depends on the data (an identifier, a reason, a stage), `[]` for each element of a list.
"""

TABLE_HEAD = ["| key | type | meaning |", "|---|---|---|"]

CROSS_VALIDATION = """
## Cross validation

`pyscale scale cross_validation_mode=...` writes `pyscale.cross_validation.json` in place of all other files
([its schema](../../src/pyscale/schema/cross_validation.schema.json)); `CrossValidation.to_dict()` returns the same.
"""

MERGE = """
## Merging

`pyscale merge` writes `merged.json` ([its schema](../../src/pyscale/schema/merge.schema.json)), and
`MergeResult.to_dict()` returns the same. `statistics` is as above.
"""


def rows(schema: dict[str, Any], root: dict[str, Any], path: str) -> Iterator[tuple[str, str, str]]:
    """Key, type and meaning of a schema's values, depth first; shared parts are named, not repeated."""
    for name, value in schema.get("properties", {}).items():
        yield from entry(value, root, f"{path}.{name}" if path else name)


def entry(value: dict[str, Any], root: dict[str, Any], path: str) -> Iterator[tuple[str, str, str]]:
    """Rows of one key."""
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        yield path, f"[{name}](#{name})", root["$defs"][name]["description"]
        return
    kinds = value["type"] if isinstance(value["type"], list) else [value["type"]]
    yield path, " or ".join(kinds), value.get("description", "")
    if "items" in value and ("$ref" in value["items"] or value["items"].get("properties")):
        yield from nested(value["items"], root, f"{path}[]")
    if isinstance(value.get("additionalProperties"), dict):
        yield from nested(value["additionalProperties"], root, f"{path}.NAME")
    yield from rows(value, root, path)


def nested(value: dict[str, Any], root: dict[str, Any], path: str) -> Iterator[tuple[str, str, str]]:
    """Rows of the elements of a list or mapping, if they are more than a number or a word."""
    if "$ref" in value or value.get("type") == "object":
        yield from entry(value, root, path)


def table(schema: dict[str, Any], root: dict[str, Any]) -> str:
    """Render the keys of an object."""
    return "\n".join([*TABLE_HEAD, *cells(rows(schema, root, ""))])


def cells(found: Iterable[tuple[str, str, str]]) -> list[str]:
    """Lines of a table."""
    return [f"| `{key}` | {kind} | {text} |" for key, kind, text in found]


def sections(root: dict[str, Any]) -> Iterator[str]:
    """Render a document key by key: first those that hold one value, then a section for each of the others."""
    found: dict[str, list[tuple[str, str, str]]] = {}
    for row in rows(root, root, ""):
        found.setdefault(row[0].partition(".")[0].removesuffix("[]"), []).append(row)
    simple = [name for name, below in found.items() if len(below) == 1]
    yield "\n".join([*TABLE_HEAD, *(line for name in simple for line in cells(found[name]))])
    for name, below in found.items():
        if name not in simple:
            yield "\n".join(["", f"## {name}", "", below[0][2], "", *TABLE_HEAD, *cells(below[1:])])


def page() -> str:
    """Render the whole page."""
    root = read("scale")
    parts = [HEAD, *sections(root)]
    for name, schema in root["$defs"].items():
        parts += ["", f"## {name}", "", schema["description"], "", table(schema, root)]
    cross_validation = read("cross_validation")
    free_set = cross_validation["$defs"]["free_set"]
    parts += [CROSS_VALIDATION, table(cross_validation, cross_validation)]
    parts += ["", "### free_set", "", free_set["description"], "", table(free_set, cross_validation)]
    merging = read("merge")
    parts += [MERGE, table(merging, merging)]
    return "\n".join(parts) + "\n"


def read(name: str) -> dict[str, Any]:
    """Read a schema."""
    schema: dict[str, Any] = json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))
    return schema


def main() -> int:
    """Write the page, or with --check compare it; returns the exit status."""
    if "--check" in sys.argv[1:]:
        return int(PAGE.read_text(encoding="utf-8") != page())
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
