"""Reader of PHIL text, the option files of DIALS and cctbx: `scope { name = value }`."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from pyscale.errors import UsageError

__all__ = ["PhilDefinition", "parse_phil"]

_DEEPEST = 20
_QUOTES = "\"'"

_TOKEN = re.compile(
    r"""(?P<space>[^\S\n]+|\#[^\n]*|\\[^\S\n]*\n)
      | (?P<end>\n|;)
      | (?P<text>\"\"\".*?\"\"\")
      | (?P<word>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[^\s{}=;\#"']+)
      | (?P<mark>[{}=])""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class PhilDefinition:
    """One `name = value`: full dotted name, the value's text and its line in the file."""

    name: str
    value: str
    line: int


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    line: int


def parse_phil(text: str, source: str) -> list[PhilDefinition]:
    """Read definitions, with scopes, comments (#), disabled parts (!) and attributes (.help = ...) left out.

    Quoted texts go on in the next line if that begins with a quote, as DIALS writes long ones.

    Parameters
    ----------
    text
        Content of the file.
    source
        Its name, for messages.

    Returns
    -------
    list of PhilDefinition
        In the order of the text.

    Raises
    ------
    UsageError
        If the text cannot be read; the message has file and line.
    """
    definitions: list[PhilDefinition] = []
    scopes: list[str] = []
    words: list[str] = []
    opening: list[str] = []
    in_value = False
    for token in [*_tokens(text, source), _Token("end", "\n", text.count("\n") + 1)]:
        if token.kind == "word" or (token.text == "=" and in_value):
            words.append(token.text)
        elif token.text == "=":
            if len(words) == 2 and words[1].startswith("."):
                # An attribute of a scope, between its name and its brace.
                opening = [words.pop(0)]
            if len(words) != 1:
                raise _wrong(source, token, "expected one name before =")
            in_value = True
        elif token.text == "{":
            if in_value or len(words) != 1 or len(scopes) == _DEEPEST:
                raise _wrong(source, token, "expected one name before {")
            scopes.append(words.pop())
        else:
            if words or in_value:
                definitions += _definition(scopes, words, in_value, source, token)
            # A scope's brace may stand on the line after its name.
            words = words if _waits_for_brace(token, words, in_value) else opening
            in_value, opening = False, []
            if token.text == "}":
                if not scopes:
                    raise _wrong(source, token, "} without {")
                scopes.pop()
    if scopes or words:
        raise UsageError(f"{source}: scope {_shown(scopes or words)} has no end")
    return definitions


def _waits_for_brace(token: _Token, words: list[str], in_value: bool) -> bool:
    return token.text == "\n" and not in_value and len(words) == 1 and not words[0].startswith(".")


def _definition(
    scopes: list[str], words: list[str], in_value: bool, source: str, token: _Token
) -> list[PhilDefinition]:
    if not in_value:
        if _waits_for_brace(token, words, in_value):
            return []
        if words[0] == "include":
            raise _wrong(source, token, "include is not supported: give the other file as an argument of its own")
        raise _wrong(source, token, f"expected name = value, not {_shown(words)}")
    name, *values = words
    path = [*scopes, name]
    if name.startswith(".") or any(part.startswith("!") for part in path):
        return []
    return [PhilDefinition(".".join(path), " ".join(values), token.line)]


def _tokens(text: str, source: str) -> list[_Token]:
    tokens: list[_Token] = []
    position, line = 0, 1
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise UsageError(f"{source} line {line}: a quote has no end")
        kind, found = str(match.lastgroup), match.group()
        if kind == "text":
            kind, found = "word", json.dumps(found[3:-3])
        if kind == "word" and found[0] in _QUOTES:
            _continue_quoted(tokens)
        if kind != "space":
            tokens.append(_Token(kind, found, line))
        line += match.group().count("\n")
        position = match.end()
    return tokens


def _continue_quoted(tokens: list[_Token]) -> None:
    """A quoted text goes on in the next line, if that begins with a quote."""
    last = next((k for k in range(len(tokens) - 1, -1, -1) if tokens[k].text != "\n"), None)
    if last is not None and tokens[last].kind == "word" and tokens[last].text[0] in _QUOTES:
        del tokens[last + 1 :]


def _shown(words: list[str]) -> str:
    return " ".join(" ".join(words).split())[:40]


def _wrong(source: str, token: _Token, reason: str) -> UsageError:
    return UsageError(f"{source} line {token.line}: {reason}")
