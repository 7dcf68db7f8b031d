"""What libtbx's PHIL makes of short names of options, or of PHIL text; JSON in, JSON out.

names QUERIES.json RESULT.json: {"paths": [...], "names": [...]} to the path that each name stands for, or null.
text FILE.phil RESULT.json: path and words of every definition.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import iotbx.phil
from libtbx.phil.command_line import argument_interpreter
from libtbx.utils import Sorry


def resolved(query: dict[str, list[str]]) -> dict[str, str | None]:
    """The path that each name stands for."""
    master = iotbx.phil.parse("\n".join(f"{path} = None\n  .type = str" for path in query["paths"]))
    interpreter = argument_interpreter(master_phil=master)
    found: dict[str, str | None] = {}
    for name in query["names"]:
        try:
            source = interpreter.process_arg(f"{name}=zzz")
        except Sorry:
            found[name] = None
            continue
        chosen = [item.path for item in master.fetch(source=source).all_definitions() if item.object.extract() == "zzz"]
        found[name] = chosen[0]
    return found


if __name__ == "__main__":
    what, source, target = sys.argv[1:]
    text = Path(source).read_text(encoding="utf-8")
    if what == "names":
        result: object = resolved(json.loads(text))
    else:
        result = [[d.path, [w.value for w in d.object.words]] for d in iotbx.phil.parse(text).all_definitions()]
    Path(target).write_text(json.dumps(result), encoding="utf-8")
