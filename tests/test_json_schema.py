"""The JSON document of a real job against its published schema, and the page made from it."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import pyscale
from pyscale.result import ScalingResult

TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "null": (type(None),),
}


def problems(value: Any, schema: dict[str, Any], root: dict[str, Any], path: str = "$") -> list[str]:
    """What in a value contradicts a schema, in the part of JSON Schema that ours uses.

    Stricter than JSON Schema: a key beside known ones must be in the schema, so that none goes undocumented.
    """
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    allowed = tuple(t for kind in kinds for t in TYPES[kind])
    if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
        return [f"{path}: {value!r} is not {kinds}"]
    found = []
    if isinstance(value, list) and "items" in schema:
        for k, item in enumerate(value):
            found += problems(item, schema["items"], root, f"{path}[{k}]")
    if isinstance(value, dict):
        known = schema.get("properties", {})
        others = schema.get("additionalProperties", not known)
        found += [f"{path}: no {name}" for name in schema.get("required", ()) if name not in value]
        for name, item in value.items():
            if name in known:
                found += problems(item, known[name], root, f"{path}.{name}")
            elif others is False:
                found.append(f"{path}: {name} is not in the schema")
            elif isinstance(others, dict):
                found += problems(item, others, root, f"{path}.{name}")
    return found


@pytest.fixture(scope="module")
def schema(repository: Path) -> dict[str, Any]:
    path = repository / "src" / "pyscale" / "schema" / "scale.schema.json"
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return result


@pytest.fixture(scope="module")
def document(data_root: Path) -> dict[str, Any]:
    folder = data_root / "l_cysteine"
    files = [folder / f"{n}_integrated.{suffix}" for n in (20, 25) for suffix in ("expt", "refl")]
    result: dict[str, Any] = json.loads(json.dumps(pyscale.scale(pyscale.read(*files)).to_dict(), allow_nan=False))
    return result


def test_document_fits_its_schema(document: dict[str, Any], schema: dict[str, Any]) -> None:
    assert problems(document, schema, schema) == []


def test_options_of_the_document_fit_their_schema(document: dict[str, Any], repository: Path) -> None:
    path = repository / "src" / "pyscale" / "schema" / "options.schema.json"
    validator = Draft202012Validator(json.loads(path.read_text(encoding="utf-8")))
    assert [error.message for error in validator.iter_errors(document["options"])] == []


def test_merged_document_fits_its_schema(small_result: ScalingResult, repository: Path) -> None:
    path = repository / "src" / "pyscale" / "schema" / "merge.schema.json"
    schema = json.loads(path.read_text(encoding="utf-8"))
    for options in ({}, {"assess_space_group": False, "r_free_flags": {"generate": False}}):
        document = json.loads(json.dumps(pyscale.merge(small_result, **options).to_dict(), allow_nan=False))
        assert problems(document, schema, schema) == []


def test_a_wrong_document_does_not(document: dict[str, Any], schema: dict[str, Any]) -> None:
    changed = json.loads(json.dumps(document))
    del changed["fit"]["cost"]
    changed["merging_statistics"]["overall"]["n_obs"] = "many"
    changed["datasets"][0]["model"]["components"][0]["colour"] = 1
    assert len(problems(changed, schema, schema)) == 3


def test_ledger_adds_up(document: dict[str, Any]) -> None:
    for entry in document["ledger"].values():
        parts = sum(sum(entry[kind].values()) for kind in ("filtered", "user_excluded", "rejected"))
        assert entry["read"] == entry["partials_merged"] + parts + entry["merged"]
        assert entry["used_in_fit"] <= entry["merged"]


def test_chi_squared_is_what_the_document_says(document: dict[str, Any]) -> None:
    fit = document["fit"]
    freedom = fit["n_observations"] - fit["n_groups"] - fit["effective_parameters"]
    assert math.isclose(fit["chi_squared"], fit["cost"] / freedom, rel_tol=1e-12)


def test_page_is_made_from_the_schema(repository: Path) -> None:
    done = subprocess.run([sys.executable, repository / "docs" / "make_json.py", "--check"], check=False)
    assert done.returncode == 0, "run python docs/make_json.py"
