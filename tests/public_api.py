"""The public Python interface as text: names, signatures, attributes.

    python tests/public_api.py --write

writes `public_api.txt`, which a test compares with what there is. Change it on purpose, in the same commit as the
interface, with a line in CHANGELOG.md; removing a name, or a parameter, breaks programs.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pyscale
from pyscale import stages

SNAPSHOT = Path(__file__).with_name("public_api.txt")


def signature(function: object) -> str:
    """Parameters with types and defaults, and what is returned, the same in all versions of Python."""
    found = inspect.signature(function)  # type: ignore[arg-type]
    parts: list[str] = []
    kinds = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    has_star = False
    for p in found.parameters.values():
        if p.kind is p.KEYWORD_ONLY and not has_star:
            parts.append("*")
        has_star |= p.kind in (p.VAR_POSITIONAL, p.KEYWORD_ONLY)
        text = kinds.get(p.kind, "") + p.name
        text += "" if p.annotation is p.empty else f": {annotation(p.annotation)}"
        parts.append(text if p.default is p.empty else f"{text} = {p.default!r}")
    returned = "" if found.return_annotation is found.empty else f" -> {annotation(found.return_annotation)}"
    return f"({', '.join(parts)}){returned}"


def annotation(value: object) -> str:
    return value if isinstance(value, str) else getattr(value, "__name__", repr(value))


def members(owner: type) -> Iterator[str]:
    """Attributes and methods of a class, those of its bases too."""
    fields = {f.name: f for f in dataclasses.fields(owner)} if dataclasses.is_dataclass(owner) else {}
    for name, f in fields.items():
        if not name.startswith("_"):
            yield f"{name}: {annotation(f.type)}"
    for name in sorted(dir(owner)):
        if name.startswith("_") or name in fields or (isinstance(owner, type) and hasattr(BaseException, name)):
            continue
        value = inspect.getattr_static(owner, name)
        if isinstance(value, property) or hasattr(value, "func"):
            getter = value.fget if isinstance(value, property) else value.func
            returned = getattr(getter, "__annotations__", {}).get("return", "")
            yield f"{name}: {annotation(returned)} (read only)" if returned else f"{name} (read only)"
        elif inspect.isfunction(getattr(owner, name)) or inspect.ismethod(getattr(owner, name)):
            yield f"{name}{signature(getattr(owner, name))}"
        else:
            yield name


def describe(module: ModuleType) -> Iterator[str]:
    """All names of a module's `__all__`."""
    for name in module.__all__:
        value = getattr(module, name)
        full = f"{module.__name__}.{name}"
        if isinstance(value, type):
            bases = [b.__name__ for b in value.__bases__ if b.__name__ not in ("object", "pybind11_object")]
            yield f"class {full}({', '.join(bases)})"
            yield from (f"    {line}" for line in members(value))
        elif callable(value):
            yield f"{full}{signature(value)}"
        else:
            yield full


def public_api() -> str:
    return "\n".join([*describe(pyscale), *describe(stages)]) + "\n"


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        SNAPSHOT.write_text(public_api(), encoding="utf-8")
    else:
        sys.stdout.write(public_api())
