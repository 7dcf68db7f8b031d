"""Write docs/cpp-reference.md from the public headers of the C++ library: `python docs/make_cpp.py`."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEADERS = ROOT / "cpp" / "include" / "pyscale"
PAGE = Path(__file__).with_name("cpp-reference.md")

_INTRODUCTION = """# C++ reference

Made by `docs/make_cpp.py` from the headers in `cpp/include/pyscale/`; do not edit. How to build with the library and
what it does not do: [cpp.md](cpp.md).

All names are in the namespace `pyscale`. Sizes of arrays are given in parentheses: (n) for the reflections of a job,
(p) for the parameters of its models. Functions take views of arrays that the caller owns (`Span`) and return values.
"""
_FIRST = ("scaling", "scaling_options", "scaling_result", "symmetry", "cancellation", "error", "version", "export")
"""What a program that only scales needs, in the order of reading; stages follow by name."""
_TITLES = {"version": "cmake/version.hpp.in"}


def public_headers() -> list[str]:
    """Names of the headers that are installed, in the order of the page."""
    text = (ROOT / "cmake" / "library.cmake").read_text(encoding="utf-8")
    found = re.search(r"set\(PYSCALE_PUBLIC_HEADERS([^)]*)\)", text)
    assert found is not None
    rest = sorted({*found[1].split()} - {*_FIRST})
    return [*_FIRST, *rest]


def page() -> str:
    """Return the whole page."""
    parts = [_INTRODUCTION]
    for name in public_headers():
        source = ROOT / _TITLES[name] if name in _TITLES else HEADERS / f"{name}.hpp"
        parts += _header(name, source.read_text(encoding="utf-8"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(parts)).rstrip() + "\n"


def _header(name: str, text: str) -> list[str]:
    lines = text.splitlines()
    top = [line for line in lines[: lines.index("#pragma once")] if line.startswith("//")]
    parts = [f"## `pyscale/{name}.hpp`\n", _prose(top), ""]
    for comment, code in _entries(lines):
        parts += [f"### `{_name(code)}`\n", _prose(comment), "", "```cpp", *code, "```", ""]
    return parts


def _name(code: list[str]) -> str:
    """What a declaration declares."""
    text = " ".join(line for line in code if not line.lstrip().startswith("/"))
    patterns = (r"^(?:template <[^>]*> )?(?:class|struct|enum class) (\w+)", r"^using (\w+)", r"(\w+)\(", r"(\w+) =")
    return next(found[1] for pattern in patterns if (found := re.search(pattern, text)))


def _entries(lines: list[str]) -> list[tuple[list[str], list[str]]]:
    """Declarations at the outermost level that have a comment, with it."""
    entries = []
    comment: list[str] = []
    k = 0
    while k < len(lines):
        line = lines[k]
        if line.startswith("///") and "namespace pyscale {" in lines[:k]:
            comment.append(line)
        elif comment and line and not line.startswith(("//", "}")):
            code, k = _declaration(lines, k)
            entries.append((comment, code))
            comment = []
        elif not line:
            comment = []
        k += 1
    return entries


def _declaration(lines: list[str], k: int) -> tuple[list[str], int]:
    """The declaration that begins in a line, without bodies of functions, and the number of its last line."""
    first = k
    is_type = bool(re.match(r"(template .*)?(class|struct|enum)\b", lines[k]) or re.match(r"template", lines[k]))
    if is_type and "};" not in lines[k]:
        while not lines[k].startswith("}"):
            k += 1
        return _tidy(_public_part(lines[first : k + 1])), k
    while not lines[k].rstrip().endswith((";", "{", "}")):
        k += 1
    code = lines[first : k + 1]
    if code[-1].endswith("{"):
        code[-1] = code[-1].removesuffix(" {") + ";"
        while not lines[k].startswith("}"):
            k += 1
    return _tidy(code), k


def _public_part(code: list[str]) -> list[str]:
    """Leave out what is private."""
    private = next((k for k, line in enumerate(code) if line.strip() == "private:"), None)
    return code if private is None else [*code[:private], code[-1]]


def _tidy(code: list[str]) -> list[str]:
    """Without the mark of what is exported, and continued lines moved along with the first."""
    shift = len("PYSCALE_API ") if code[0].startswith("PYSCALE_API ") else 0
    rest = [line[shift:] if line.startswith(" " * (shift + 4)) else line for line in code[1:]]
    return [code[0].replace("PYSCALE_API ", ""), *rest]


def _prose(comment: list[str]) -> str:
    """Text of a comment; tags become list items."""
    lines = [re.sub(r"^///? ?", "", line) for line in comment]
    text = "\n".join(lines)
    text = re.sub(r",? *\\(param|return|throws)", r"\n\\\1", text)
    paragraphs: list[str] = []
    for line in text.splitlines():
        tagged = re.match(r"\\(param|return|throws) *(.*)", line.strip())
        if tagged:
            kind, rest = tagged.groups()
            head = {"param": "", "return": "Returns: ", "throws": "Throws: "}[kind]
            paragraphs.append(f"- {head}{_param(rest) if kind == 'param' else rest}")
        else:
            paragraphs.append(line)
    return _with_lists_apart(paragraphs)


def _param(text: str) -> str:
    names = re.match(r"\w+(, \w+)*", text)
    if names is None:
        return text
    return ", ".join(f"`{n}`" for n in names[0].split(", ")) + text[names.end() :]


def _with_lists_apart(lines: list[str]) -> str:
    """Blank lines before lists, and their continuation lines indented."""
    result: list[str] = []
    in_list = False
    for line in lines:
        if line.startswith("- ") and not in_list:
            result.append("")
            in_list = True
        elif in_list and line and not line.startswith("- "):
            result.append("  " + line)
            continue
        elif not line:
            in_list = False
        result.append(line)
    return "\n".join(result).strip("\n")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
