"""The option tree: names, types, ranges, and what is not available yet."""

from __future__ import annotations

import ast
import dataclasses
import json
import runpy
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyscale.errors import UsageError
from pyscale.options import (
    AUTO,
    SCALING_NAMES,
    Option,
    ScalingOptions,
    options_from_keywords,
    options_of,
    to_dict,
    with_changes,
)
from pyscale.options.models import KBOptions, PhysicalOptions
from pyscale.options.option import option as declared
from pyscale.options.selection import CutDataOptions
from pyscale.options.tree import OptionScope

OPTIONS = options_of(ScalingOptions)


@pytest.mark.parametrize(
    ("name", "paths"),
    [
        ("scale_interval", ["physical.scale_interval", "dose_decay.scale_interval"]),
        ("lmax", ["physical.lmax", "dose_decay.lmax"]),
        ("decay_correction", [f"{model}.decay_correction" for model in ("physical", "array", "KB", "dose_decay")]),
        ("n_resolution_bins", ["array.n_resolution_bins"]),
        ("n_threads", ["scaling_options.nproc"]),
        ("intensity", ["reflection_selection.intensity_choice"]),
        ("include_datasets", ["dataset_selection.use_datasets"]),
    ],
)
def test_names_for_several_models_and_aliases(name: str, paths: list[str]) -> None:
    assert [option.path for option in SCALING_NAMES.resolve(name)] == paths


def test_every_option_has_help_a_valid_default_and_one_sentence() -> None:
    for option in OPTIONS:
        assert option.help, option.path
        assert option.topic, option.path
        assert option.check(option.default) == option.default
        if isinstance(option.unavailable, str):
            assert option.unavailable and "\n" not in option.unavailable


def other_value(option: Option) -> object:
    kind = option.type
    if kind.choices:
        return next((choice for choice in kind.choices if choice != option.default), None)
    low, high = option.range or (None, None)
    value: object = {
        bool: not option.default,
        str: "other",
        int: 1 + int(low or 0),
        float: 0.5 + (low or 0.0),
    }[kind.kind]
    if value == option.default and not isinstance(value, (bool, str)):
        value = value + 1  # type: ignore[operator]
    assert high is None or isinstance(value, str) or value <= high  # type: ignore[operator]
    if kind.is_nested:
        return ((value,),)
    return (value,) * (kind.length or 1) if kind.is_list else value


@pytest.mark.parametrize("option", [o for o in OPTIONS if isinstance(o.unavailable, str)], ids=lambda o: o.path)
def test_unavailable_options_say_what_to_do_instead(option: Option) -> None:
    with pytest.raises(UsageError, match="not yet available in pyscale: ") as error:
        with_changes(ScalingOptions(), {option.path: other_value(option)})
    assert option.path in str(error.value)
    assert with_changes(ScalingOptions(), {option.path: option.default}) == ScalingOptions()


@pytest.mark.parametrize("option", [o for o in OPTIONS if o.unavailable is None], ids=lambda o: o.path)
def test_available_options_change_and_nothing_else_does(option: Option) -> None:
    if option.type.choices == ("invvar",):
        pytest.skip("only one choice")
    value = other_value(option)
    changed = flat(to_dict(with_changes(ScalingOptions(), {option.path: value})))
    before = flat(to_dict(ScalingOptions()))
    assert {name for name in before if before[name] != changed[name]} == {option.path}
    assert changed[option.path] == json.loads(json.dumps(value))


def flat(values: dict[str, object], prefix: str = "") -> dict[str, object]:
    result: dict[str, object] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            result |= flat(value, f"{prefix}{name}.")
        else:
            result[prefix + name] = value
    return result


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("cut_data.d_min", -1.0, "at least 0.05"),
        ("cut_data.d_min", float("nan"), "expected number"),
        ("cut_data.d_min", "1.6", "expected number"),
        ("cut_data.d_min", True, "expected number"),
        ("cut_data.min_isigi", None, "expected number"),
        ("cut_data.partiality_cutoff", 1.5, "at most 1"),
        ("physical.lmax", 2.5, "expected integer or auto"),
        ("physical.lmax", 1, "at least 2"),
        ("physical.lmax", 10**9, "at most 12"),
        ("physical.decay_correction", 1, "True or False"),
        ("physical.scale_interval", 0.5, "at least 1"),
        ("model", "phsical", "one of physical"),
        ("model", 3, "one of physical"),
        ("reflection_selection.best_unit_cell", (1.0, 2.0), "6 numbers"),
        ("scaling_options.outlier_zmax", 2.0, "at least 3"),
        ("scaling_options.nproc", 0, "at least 1"),
        ("output.experiments", None, "expected text"),
        ("scaling_refinery.rmsd_tolerance", 1e-9, "at least 1e-06"),
    ],
)
def test_wrong_values_are_one_line(path: str, value: object, reason: str) -> None:
    with pytest.raises(UsageError) as error:
        with_changes(ScalingOptions(), {path: value})
    message = str(error.value)
    assert message.startswith(f"option {path}=") and reason in message and "\n" not in message


@dataclass(frozen=True, kw_only=True)
class Tree(OptionScope):
    """One option, a value of which is still to come."""

    kind: Literal["this", "that"] = declared("this", "which one", unavailable={"that": "use this"})


def test_values_that_are_not_available() -> None:
    assert Tree(kind="this").kind == "this"
    with pytest.raises(UsageError, match="kind=that is not yet available in pyscale: use this"):
        Tree(kind="that")


def test_construction_checks() -> None:
    with pytest.raises(UsageError, match=r"cut_data\.d_max"):
        CutDataOptions(d_min=2.0, d_max=1.0)
    with pytest.raises(UsageError, match=r"physical\.lmax"):
        PhysicalOptions(lmax=0)
    with pytest.raises(UsageError, match=r"KB\.decay_correction"):
        KBOptions(decay_correction="yes")  # type: ignore[arg-type]
    with pytest.raises(dataclasses.FrozenInstanceError):
        CutDataOptions().d_min = 1.0  # type: ignore[misc]
    with pytest.raises(UsageError, match="no option"):
        with_changes(ScalingOptions(), {"d_min": 1.0})


def test_values_get_the_types_of_their_options() -> None:
    options = with_changes(
        ScalingOptions(),
        {
            "cut_data.d_min": np.float32(1.5),
            "physical.lmax": np.int64(6),
            "anomalous": np.bool_(True),
            "model": "kb",
            "output.log": Path("my.log"),
            "physical.scale_interval": "Auto",
            "reflection_selection.best_unit_cell": np.array([10, 20, 30, 90, 90, 90]),
        },
    )
    assert type(options.cut_data.d_min) is float and options.cut_data.d_min == 1.5
    assert type(options.physical.lmax) is int and options.physical.lmax == 6
    assert options.anomalous is True and options.model == "KB" and options.output.log == "my.log"
    assert options.physical.scale_interval is AUTO
    assert options.reflection_selection.best_unit_cell == (10.0, 20.0, 30.0, 90.0, 90.0, 90.0)


def test_to_dict_is_json() -> None:
    values = json.loads(json.dumps(ScalingOptions().to_dict()))
    assert values["model"] == "auto" and values["scaling_options"]["seed"] == 42
    assert values["output"]["merging"] == {"nbins": 20, "n_splits": 10}
    assert set(flat(values)) == {option.path for option in OPTIONS}


def test_keywords() -> None:
    options = options_from_keywords(d_min=2, model="physical", lmax=6, physical={"scale_interval": 10.0})
    assert options.cut_data.d_min == 2.0 and options.model == "physical"
    assert options.physical.lmax == 6 and options.physical.scale_interval == 10.0
    assert options_from_keywords(decay_term=False).KB.decay_correction is False
    assert options_from_keywords(error_model=None).weighting.error_model.error_model is None
    assert options_from_keywords() == ScalingOptions()


@pytest.mark.parametrize(
    ("keywords", "reason"),
    [
        ({"dmin": 1.6}, r"unknown option dmin: did you mean cut_data\.d_min"),
        ({"method": "use_all"}, r"ambiguous: write reflection_selection\.method or filtering\.method"),
        ({"physical": {"lmx": 4}}, r"unknown option physical\.lmx: did you mean physical\.lmax"),
        ({"physical": 4}, "unknown option physical"),
        ({"exclude_on_batch_rmerge": 1}, "does not exist any more"),
    ],
)
def test_wrong_keywords(keywords: dict[str, object], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        options_from_keywords(**keywords)


@given(st.text(max_size=30))
def test_any_name_is_an_option_or_a_usage_error(name: str) -> None:
    try:
        assert SCALING_NAMES.resolve(name)
    except UsageError as error:
        assert "\n" not in str(error)


def test_the_page_of_options_is_current() -> None:
    docs = Path(__file__).parent.parent / "docs"
    made = runpy.run_path(str(docs / "make_options.py"))
    for path, text in made["pages"]().items():
        assert text == path.read_text(encoding="utf-8"), "run python docs/make_options.py"
    assert made["schema"]() == made["SCHEMA"].read_text(encoding="utf-8"), "run python docs/make_options.py"


def test_what_is_available_is_read_somewhere(repository: Path) -> None:
    package = repository / "src" / "pyscale"
    readers = [path for path in package.rglob("*.py") if not {"options", "simulation"} & set(path.parts)]
    nodes = [node for path in readers for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    read = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    read |= {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    # True is what full_matrix=auto means; of a choice all values but one may be refused.
    unread = [option for option in OPTIONS if option.available and option.name not in {*read, "full_matrix"}]
    offered = {option.path: set(option.type.choices) - set(option.unavailable or ()) for option in unread}
    assert [path for path, choices in offered.items() if len(choices) != 1] == []
