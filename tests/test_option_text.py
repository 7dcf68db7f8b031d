"""Text to options and back: the command line, option files, older names."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from pyscale.errors import UsageError
from pyscale.option_documents import json_schema, phil_text, toml_text
from pyscale.option_text import (
    changed_options,
    format_option,
    format_value,
    parse_arguments,
    parse_value,
)
from pyscale.options import AUTO, SCALING_NAMES, Option, ScalingOptions, options_of, with_changes
from pyscale.options.names import OptionNames
from pyscale.options.option import ValueType, option
from pyscale.options.tree import OptionScope
from pyscale.phil import parse_phil
from pyscale.simulation import SimulationOptions

OPTIONS = {option.path: option for option in options_of(ScalingOptions)}
SCHEMA = Draft202012Validator(json_schema(ScalingOptions, "options"))


@dataclass(frozen=True, kw_only=True)
class RepeatableOptions(OptionScope):
    """A list that may be given several times, and one of which the last counts."""

    ranges: tuple[str, ...] = option((), "ranges", repeatable=True)
    other: tuple[str, ...] = option((), "something else")


DECAYS = tuple(f"{model}.decay_correction" for model in ("physical", "array", "KB", "dose_decay"))


def changes(*arguments: str) -> dict[str, Any]:
    return changed_options(parse_arguments(arguments, SCALING_NAMES).options)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("d_min=1.6", {"cut_data.d_min": 1.6}),
        ("cut_data.d_min = 1.6", {"cut_data.d_min": 1.6}),
        ("d_min=None", {}),
        ("min_isigi=-1e1", {"cut_data.min_isigi": -10.0}),
        ("model=physical", {"model": "physical"}),
        ("model=kb", {"model": "KB"}),
        ("model=auto", {}),
        ("model=None", {}),
        ("nproc=4", {"scaling_options.nproc": 4}),
        ("n_threads=4", {"scaling_options.nproc": 4}),
        ("anomalous=yes", {"anomalous": True}),
        ("anomalous=1", {"anomalous": True}),
        ("anomalous=False", {}),
        ("absorption_correction=off", {f"{model}.absorption_correction": False for model in ("physical", "array")}),
        ("physical.absorption_correction=Auto", {}),
        ("absorption_level=high", {"physical.absorption_level": "high"}),
        ("lmax=6", {"physical.lmax": 6, "dose_decay.lmax": 6}),
        ("lmax=Auto", {}),
        ("decay_correction=0", dict.fromkeys(DECAYS, False)),
        ("error_model=None", {"weighting.error_model.error_model": None}),
        ("outlier_rejection=none", {"scaling_options.outlier_rejection": None}),
        ("output.html=None", {"output.html": None}),
        ("merged_mtz=a b.mtz", {"output.merged_mtz": "a b.mtz"}),
        ('merged_mtz="None"', {"output.merged_mtz": "None"}),
        ("json=a=b.json", {"output.json": "a=b.json"}),
        ("nbins=10", {"output.merging.nbins": 10}),
        ("method.x", {}),
        (
            "best_unit_cell=10,20 30, 90 90 90",
            {"reflection_selection.best_unit_cell": (10.0, 20.0, 30.0, 90.0, 90.0, 90.0)},
        ),
        ("engine=SimpleLBFGS GaussNewton *LevMar", {"scaling_refinery.engine": "LevMar"}),
        ("zmax=9", {"scaling_options.outlier_zmax": 9.0}),
        ("exclude_images=None", {}),
        ("exclude_images=0:1:5,*:7:9 x:1:2", {"exclude_images": ("0:1:5", "*:7:9", "x:1:2")}),
        ("exclude_datasets=0 2", {"dataset_selection.exclude_datasets": ("0", "2")}),
        ('use_datasets="0,2"', {"dataset_selection.use_datasets": ("0,2",)}),
        ("include_datasets=#1", {"dataset_selection.use_datasets": ("#1",)}),
        ("quasi_random.min_per_area=50", {"reflection_selection.quasi_random.min_per_area": (50,)}),
        ("quasi_random.n_resolution_bins=15", {"reflection_selection.quasi_random.n_resolution_bins": (15,)}),
        ("full_matrix=False", {"scaling_options.full_matrix": False}),
    ],
)
def test_arguments(text: str, expected: dict[str, Any]) -> None:
    assert changes(text) == expected


@pytest.mark.parametrize(
    ("text", "expected", "note"),
    [
        ("scale_term=False", {"physical.scale_correction": False}, "renamed to physical.scale_correction"),
        (
            "decay_term=False",
            dict.fromkeys(DECAYS, False),
            f"renamed to {' and '.join(DECAYS)}",
        ),
        (
            "parameterisation.absorption_term=True",
            {"physical.absorption_correction": True, "dose_decay.absorption_correction": True},
            "renamed",
        ),
        ("parameterisation.lmax=5", {"physical.lmax": 5, "dose_decay.lmax": 5}, "renamed to physical.lmax"),
        ("parameterisation.surface_weight=1e6", {"physical.surface_weight": 1e6}, "renamed"),
        ("optimise_errors=False", {"weighting.error_model.error_model": None}, "renamed"),
        ("optimise_errors=True", {}, "renamed"),
        ("concurrent=True", {}, "renamed to scaling_refinery.refinement_order"),
        ("concurrent=False", {"scaling_refinery.refinement_order": "consecutive"}, "renamed"),
        ("plot_merging_stats=True", {}, "has no effect any more"),
        ("exclude_image_range=0:1:5", {"exclude_images": ("0:1:5",)}, "renamed to exclude_images"),
    ],
)
def test_names_of_the_guide(text: str, expected: dict[str, Any], note: str) -> None:
    parsed = parse_arguments([text], SCALING_NAMES)
    assert changed_options(parsed.options) == expected
    assert len(parsed.notes) == 1 and note in parsed.notes[0]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("dmin=2", "unknown option dmin: did you mean cut_data.d_min"),
        ("cut_data.dmin=2", "did you mean cut_data.d_min"),
        ("qqq=1", "unknown option qqq (--show-options"),
        ("method=use_all", "ambiguous: write reflection_selection.method or filtering.method"),
        ("d_min=low", "option cut_data.d_min=low: expected number or auto or None"),
        ("d_min=nan", "option cut_data.d_min=nan: expected number or auto or None"),
        ("d_min=inf", "expected number or auto or None"),
        ("d_min=1,6", "expected number or auto or None"),
        ("d_min=", "option cut_data.d_min has no value: expected number or auto or None"),
        ("d_max=auto", "expected number or None"),
        ("d_min=0", "must be at least 0.05"),
        ("lmax=4.0", "option physical.lmax=4.0: expected integer or auto"),
        ("lmax=" + "9" * 5000, "expected integer or auto"),
        ("anomalous=maybe", "option anomalous=maybe: expected True or False"),
        ("anomalous=None", "option anomalous=None: expected True or False"),
        ("model=phys", "expected one of physical, KB, array, dose_decay, cross_validated or auto"),
        ("refinery_log=x", "option scaling_refinery.refinery_log is not yet available in pyscale: every step"),
        ("best_unit_cell=1 2 3", "expected 6 numbers or None"),
        ("best_unit_cell=1 2 3 4 5 x", "expected 6 numbers or None"),
        ("missing.phil", "cannot read options from missing.phil: No such file"),
        ("missing.toml", "cannot read options from missing.toml: No such file"),
        ("", "an argument is empty"),
        ("outlier_zmax=2", "option scaling_options.outlier_zmax=2.0: must be at least 3"),
    ],
)
def test_wrong_arguments(text: str, reason: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_arguments([text], SCALING_NAMES)
    message = str(error.value)
    assert reason in message
    assert "\n" not in message and len(message) < 300


def test_files_notes_and_given() -> None:
    parsed = parse_arguments(
        ["a.expt", "physical.lmax=5", "b.refl", "physical.lmax=6", "anomalous=False"], SCALING_NAMES
    )
    assert parsed.files == (Path("a.expt"), Path("b.refl"))
    assert parsed.options.physical.lmax == 6 and parsed.notes == ()
    assert parsed.given == {"physical.lmax", "anomalous"}


def test_a_file_may_have_an_equals_sign(tmp_path: Path) -> None:
    path = tmp_path / "x=1.expt"
    path.touch()
    assert parse_arguments([str(path)], SCALING_NAMES).files == (path,)


def test_repeatable_options_add_up() -> None:
    names = OptionNames(RepeatableOptions)
    options = parse_arguments(["ranges=0:1:5,1:2:3", "other=1", "ranges=2:7:9", "other=2"], names).options
    assert options.ranges == ("0:1:5", "1:2:3", "2:7:9") and options.other == ("2",)


PHIL = """
# options of an earlier job
model = KB array dose_decay *physical
anomalous = True  # a comment
!overwrite_existing_models = True
cut_data {
  d_min = 1.8
    .help = "a text { with marks"
    .type = float
  d_max = None
}
physical
{
  lmax = 6; decay_restraint = 0.2
  !share { absorption = True }
}
cut_data.min_isigi=-3
output { json = "my results.json" }
weighting { error_model { basic { a = 1.1 } } }
reflection_selection.best_unit_cell = 10, 20, \\
  30, 90, 90, 90
"""


def test_phil_file(tmp_path: Path) -> None:
    path = tmp_path / "options.phil"
    path.write_text(PHIL)
    assert changes(str(path)) == {
        "model": "physical",
        "anomalous": True,
        "cut_data.d_min": 1.8,
        "cut_data.min_isigi": -3.0,
        "physical.lmax": 6,
        "physical.decay_restraint": 0.2,
        "output.json": "my results.json",
        "weighting.error_model.basic.a": 1.1,
        "reflection_selection.best_unit_cell": (10.0, 20.0, 30.0, 90.0, 90.0, 90.0),
    }
    # The command line wins over the file wherever it stands.
    assert changes("d_min=2.5", str(path))["cut_data.d_min"] == 2.5


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("cut_data { d_min = 1", "scope cut_data has no end"),
        ("d_min = 1 }", "line 1: } without {"),
        ("\n d_min 1\n", "line 2: expected name = value, not d_min 1"),
        ("= 3", "line 1: expected one name before ="),
        ("a b { c = 1 }", "line 1: expected one name before {"),
        ("\n\njson = 'x", "line 3: a quote has no end"),
        ("a\nb = 3", "line 2: expected one name before ="),
        ("a {" * 30, "line 1: expected one name before {"),
        ("\nlmax = 4.5", "options.phil line 2: option physical.lmax=4.5: expected integer or auto"),
        ("a.b = 1 # x\nlmx = 4", "options.phil line 1: unknown option a.b"),
    ],
)
def test_wrong_phil(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "options.phil"
    path.write_text(text)
    with pytest.raises(UsageError) as error:
        parse_arguments([str(path)], SCALING_NAMES)
    assert reason in str(error.value) and "\n" not in str(error.value)


@given(st.text(alphabet="ab1 .=\n{}#\"'\\;!,", max_size=40))
def test_any_phil_text_is_read_or_a_usage_error(text: str) -> None:
    try:
        assert all(item.name for item in parse_phil(text, "x.phil"))
    except UsageError as error:
        assert "x.phil" in str(error) and "\n" not in str(error)


TOML = """
model = "KB"
lmax = "auto"
[cut_data]
d_min = 2
[reflection_selection]
best_unit_cell = [10.0, 20.0, 30.0, 90.0, 90.0, 90.0]
[output]
html = "None"
merging.nbins = 10
"""


@pytest.mark.skipif(sys.version_info < (3, 11), reason="TOML needs Python 3.11")
def test_toml_file(tmp_path: Path) -> None:
    path = tmp_path / "options.toml"
    path.write_text(TOML)
    assert changes(str(path)) == {
        "model": "KB",
        "cut_data.d_min": 2.0,
        "reflection_selection.best_unit_cell": (10.0, 20.0, 30.0, 90.0, 90.0, 90.0),
        "output.html": None,
        "output.merging.nbins": 10,
    }


@pytest.mark.skipif(sys.version_info < (3, 11), reason="TOML needs Python 3.11")
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"model = ", "cannot read options from"),
        (b"\xff\xfe", "it is not text"),
        (b"d_min = true", "expected number"),
        (b"d_min = 1979-05-27", "expected number"),
        (b"[cut_data]\nd_mn = 1", "options.toml: unknown option cut_data.d_mn"),
        (b"x" * 1_000_001, "too large"),
    ],
)
def test_wrong_toml(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "options.toml"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=reason):
        parse_arguments([str(path)], SCALING_NAMES)


def test_toml_without_a_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "options.toml"
    path.write_text(TOML)
    for module in ("tomllib", "tomli"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match="pip install tomli"):
        parse_arguments([str(path)], SCALING_NAMES)


def values_of(option: Option) -> st.SearchStrategy[Any]:
    """All values that an option takes at present."""
    kind = option.type
    low, high = option.range or (None, None)
    if kind.choices:
        elements: st.SearchStrategy[Any] = st.sampled_from(kind.choices)
    elif kind.kind is str:
        elements = st.text(max_size=12)
    elif kind.kind is bool:
        elements = st.booleans()
    elif kind.kind is int:
        elements = st.integers(None if low is None else int(low), None if high is None else int(high))
        elements = elements.filter(lambda value: abs(value) < 10**30)
    else:
        elements = st.floats(low, high, allow_nan=False, allow_infinity=False)
    values = elements
    if kind.is_list:
        values = st.lists(elements, min_size=kind.length or 0, max_size=kind.length or 4).map(tuple)
    values = st.one_of([values, *([st.just(AUTO)] * kind.auto), *([st.none()] * kind.none)])

    def accepted(value: Any) -> bool:
        try:
            option.check(value)
        except UsageError:
            return False
        return True

    return values.filter(accepted)


@st.composite
def trees(draw: st.DrawFn) -> ScalingOptions:
    """Options of which some have other values than their defaults."""
    free = [option for option in OPTIONS.values() if option.available and "cut_data.d_m" not in option.path]
    chosen = draw(st.lists(st.sampled_from(free), max_size=6, unique_by=lambda option: option.path))
    return with_changes(ScalingOptions(), {option.path: draw(values_of(option)) for option in chosen})


@settings(deadline=None)
@given(trees())
def test_options_to_text_and_back(options: ScalingOptions) -> None:
    texts = [format_option(path, value) for path, value in changed_options(options).items()]
    assert parse_arguments(texts, SCALING_NAMES).options == options


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("options")


def read_back(text: str, path: Path) -> ScalingOptions:
    path.write_bytes(text.encode())
    return parse_arguments([str(path)], SCALING_NAMES).options


@settings(deadline=None, max_examples=50)
@given(options=trees())
def test_options_to_phil_and_back(options: ScalingOptions, folder: Path) -> None:
    for attributes in (0, 2):
        assert read_back(phil_text(options, attributes=attributes), folder / "x.phil") == options


@pytest.mark.skipif(sys.version_info < (3, 11), reason="TOML needs Python 3.11")
@settings(deadline=None, max_examples=50)
@example(options=with_changes(ScalingOptions(), {"weighting.error_model.error_model_group": ((0, 2), (1,))}))
@given(options=trees())
def test_options_to_toml_and_back(options: ScalingOptions, folder: Path) -> None:
    assert read_back(toml_text(options), folder / "x.toml") == options


@settings(deadline=None, max_examples=50)
@given(trees())
def test_any_options_fit_the_schema(options: ScalingOptions) -> None:
    values = json.loads(json.dumps(options.to_dict()))
    assert [error.message for error in SCHEMA.iter_errors(values)] == []


KINDS = [
    ValueType(kind=str, is_list=True),
    ValueType(kind=str, is_list=True, none=True),
    ValueType(kind=str, none=True),
    ValueType(kind=int, is_list=True, none=True),
    ValueType(kind=float, is_list=True, length=2, auto=True),
]


@given(st.data(), st.sampled_from(KINDS))
def test_values_of_any_kind_to_text_and_back(data: st.DataObject, kind: ValueType) -> None:
    option = Option(path="x", type=kind, default=None)
    value = data.draw(values_of(option))
    assert parse_value(option, format_value(value)) == value


@pytest.mark.parametrize("value", [(" ",), ("a b",), ("a b", "c"), ('"x"',), ("''",), ("\\",), ("a,b",), ("[a]",), ()])
def test_lists_of_awkward_texts_to_text_and_back(value: tuple[str, ...]) -> None:
    option = Option(path="x", type=ValueType(kind=str, is_list=True), default=None)
    assert parse_value(option, format_value(value)) == value


def test_quotes_around_a_whole_list() -> None:
    option = Option(path="x", type=ValueType(kind=float, is_list=True), default=None)
    for text in ('"1 2.5"', "'1 2.5'", "1 2.5", "1,2.5", "(1, 2.5)", '["1", "2.5"]'):
        assert parse_value(option, text) == (1.0, 2.5), text


@given(st.sampled_from(sorted(OPTIONS)), st.text(max_size=20))
def test_any_text_is_a_value_or_a_usage_error(path: str, text: str) -> None:
    try:
        OPTIONS[path].check(parse_value(OPTIONS[path], text))
    except UsageError as error:
        assert path in str(error) and "\n" not in str(error)


def test_flat_dataclasses_of_other_commands() -> None:
    names = OptionNames(SimulationOptions)
    arguments = ["d_min=3", "kind=stills", "unit_cell=10 20 30 90 90 90", "start_angles=0,5", "n_sweeps=2"]
    options = parse_arguments(arguments, names).options
    assert options == SimulationOptions(
        d_min=3.0,
        kind="stills",
        unit_cell=(10.0, 20.0, 30.0, 90.0, 90.0, 90.0),
        start_angles=(0.0, 5.0),
        n_sweeps=2,
    )
    for text in ("kind=foo", "d_min=1e9", "d_min=x", "outlier_kinds=foo", "dmin=3"):
        with pytest.raises(UsageError, match=text.partition("=")[0]):
            parse_arguments([text], names)
