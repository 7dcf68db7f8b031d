"""Every option of dials.scale and of its guide: it exists with type, range and default, and works or says why not."""

from __future__ import annotations

import json
import re
import runpy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pyscale.errors import UsageError
from pyscale.option_text import parse_arguments, parse_value
from pyscale.options import AUTO, SCALING_NAMES, Option, ScalingOptions, options_of
from pyscale.options.dials import DIALS_DEFAULTS, expert_level

OPTIONS = {option.path: option for option in options_of(ScalingOptions)}

# The options of dials.scale (August 2026), written down from its documentation, not from our tree: path, type with
# range or choices, default, expert level. "-" leads a default that is only one way to leave the option unset.
_TABLE = """
model choice:KB,array,dose_decay,physical auto 0
anomalous bool False 0
overwrite_existing_models bool False 0
output.log str dials.scale.log 0
output.experiments str scaled.expt 0
output.reflections str scaled.refl 0
output.html str dials.scale.html 0
output.json str None 0
output.unmerged_mtz str None 0
output.merged_mtz str None 0
output.crystal_name str XTAL 1
output.project_name str DIALS 0
output.use_internal_variance bool False 1
output.merging.nbins int 20 1
output.additional_stats bool False 2
output.delete_integration_shoeboxes bool True 2
physical.scale_interval float>=1 auto 1
physical.decay_correction bool True 1
physical.decay_interval float>=1 auto 1
physical.decay_restraint float>=0 0.1 2
physical.absorption_correction bool auto 1
physical.absorption_level choice:low,medium,high None 1
physical.lmax int>=2 auto 1
physical.surface_weight float>=0 auto 1
physical.share.absorption bool False 1
physical.fix_initial bool True 2
physical.correction.fix strs None 1
physical.analytical_correction bool False 1
array.decay_correction bool True 1
array.decay_interval float>=1 20.0 1
array.n_resolution_bins int>=1 10 1
array.absorption_correction bool True 1
array.n_absorption_bins int>=1 3 1
array.modulation_correction bool False 2
array.n_modulation_bins int>=1 20 2
array.correction.fix strs None 1
array.analytical_correction bool False 1
KB.decay_correction bool True 1
KB.correction.fix strs None 1
KB.analytical_correction bool False 1
dose_decay.scale_interval float>=1 2.0 1
dose_decay.relative_B_correction bool True 1
dose_decay.decay_correction bool True 1
dose_decay.share.decay bool True 1
dose_decay.resolution_dependence choice:quadratic,linear quadratic 1
dose_decay.absorption_correction bool False 1
dose_decay.lmax int 4 2
dose_decay.surface_weight float 1e6 2
dose_decay.fix_initial bool True 2
dose_decay.correction.fix strs None 1
dose_decay.analytical_correction bool False 1
reflection_selection.method choice:quasi_random,intensity_ranges,use_all,random auto 0
reflection_selection.random.multi_dataset.Isigma_cutoff float 1.0 0
reflection_selection.random.min_groups int 2000 1
reflection_selection.random.min_reflections int 50000 1
reflection_selection.best_unit_cell 6floats None 0
reflection_selection.E2_range 2floats 0.8,5.0 1
reflection_selection.Isigma_range 2floats 2.0,0.0 1
reflection_selection.d_range 2floats None 1
reflection_selection.min_partiality float 0.25 2
reflection_selection.intensity_choice choice:profile,sum,combine combine 1
reflection_selection.combine.Imid floats None 2
reflection_selection.combine.joint_analysis bool True 2
weighting.weighting_scheme choice:invvar invvar 2
weighting.error_model.error_model choice:basic basic 1
weighting.error_model.basic.a float None 2
weighting.error_model.basic.b float None 2
weighting.error_model.basic.minimisation choice:individual,regression individual 3
weighting.error_model.basic.stills.min_Isigma float 2.0 0
weighting.error_model.basic.stills.min_multiplicity int 4 0
weighting.error_model.basic.min_Ih float 25.0 2
weighting.error_model.basic.n_bins int 10 2
weighting.error_model.reset_error_model bool False 0
weighting.error_model.grouping choice:individual,grouped,combined combined 2
weighting.error_model.error_model_group ints None 0
cut_data.d_min float None 1
cut_data.d_max float None 1
cut_data.partiality_cutoff float 0.25 1
cut_data.min_isigi float -5 1
cut_data.small_scale_cutoff float auto 3
scaling_options.check_consistent_indexing bool False 0
scaling_options.target_cycle bool True 2
scaling_options.only_target bool False 2
scaling_options.only_save_targeted bool True 2
scaling_options.target_model str None 2
scaling_options.target_mtz str None 2
scaling_options.reference str None 2
scaling_options.reference_model.k_sol float 0.35 3
scaling_options.reference_model.b_sol float 46.0 3
scaling_options.nproc int>=1 1 2
scaling_options.use_free_set bool False 2
scaling_options.free_set_percentage float 10.0 2
scaling_options.free_set_offset int 0 2
scaling_options.full_matrix bool auto 2
scaling_options.outlier_rejection choice:standard,simple standard 1
scaling_options.outlier_zmax float>=3 6.0 1
scaling_options.emax float>=0 10 2
scaling_refinery.engine choice:SimpleLBFGS,GaussNewton,LevMar SimpleLBFGS 1
scaling_refinery.refinement_order choice:concurrent,consecutive concurrent 2
scaling_refinery.max_iterations int>=1 None 1
scaling_refinery.rmsd_tolerance float>=1e-6 0.0001 1
scaling_refinery.full_matrix_engine choice:GaussNewton,LevMar LevMar 1
scaling_refinery.full_matrix_max_iterations int>=1 None 1
scaling_refinery.refinery_log str None 3
scaling_refinery.journal.track_step bool False 3
scaling_refinery.journal.track_gradient bool False 3
scaling_refinery.journal.track_parameter_correlation bool False 3
scaling_refinery.journal.track_condition_number bool False 3
scaling_refinery.journal.track_out_of_sample_rmsd bool False 3
cross_validation.cross_validation_mode choice:multi,single None 2
cross_validation.parameter str None 2
cross_validation.parameter_values strs None 2
cross_validation.nfolds int>=1 1 2
filtering.method choice:deltacchalf None 0
filtering.deltacchalf.max_cycles int>=1 6 0
filtering.deltacchalf.max_percent_removed float 10 0
filtering.deltacchalf.min_completeness float>=0 None 0
filtering.deltacchalf.mode choice:dataset,image_group dataset 0
filtering.deltacchalf.group_size int>=1 10 0
filtering.deltacchalf.stdcutoff float 4.0 0
filtering.output.scale_and_filter_results str scale_and_filter_results.json 0
exclude_images strs None 1
exclude_images_multiple int>=2 None 2
dataset_selection.use_datasets strs None 2
dataset_selection.exclude_datasets strs None 2
"""


@dataclass(frozen=True)
class Row:
    """One option as dials.scale documents it."""

    path: str
    kind: str
    default: str
    level: int

    @property
    def low(self) -> float | None:
        """The least value."""
        return float(self.kind.partition(">=")[2]) if ">=" in self.kind else None

    @property
    def choices(self) -> tuple[str, ...]:
        """The values of a choice."""
        return tuple(self.kind[7:].split(",")) if self.kind.startswith("choice:") else ()

    @property
    def other(self) -> str:
        """A valid value that is not the default."""
        if self.choices:
            return next((choice for choice in self.choices if choice != self.default), self.default)
        word = self.kind.partition(">=")[0]
        samples = {
            "bool": str(self.default == "False"),
            "str": "other.name",
            "strs": "0",
            "int": "7",
            "ints": "0,1",
            "float": "0.5" if (self.low or 0.0) <= 0.5 else "3.5",
            "floats": "0 1",
            "2floats": "(2.5,1)",
            "6floats": "10 20 30 90 90 90",
        }
        return samples[word]


ROWS = [Row(*line.split()[:3], int(line.split()[3])) for line in _TABLE.strip().splitlines()]
PATHS = [row.path for row in ROWS]


def kind_word(option: Option) -> str:
    kind = option.type
    if kind.choices:
        return "choice"
    word = {bool: "bool", int: "int", float: "float", str: "str"}[kind.kind]
    return f"{kind.length or ''}{word}s" if kind.is_list else word


@pytest.mark.parametrize("row", ROWS, ids=PATHS)
def test_type_range_and_level(row: Row) -> None:
    option = OPTIONS[row.path]
    assert kind_word(option) == row.kind.partition(":")[0].partition(">=")[0]
    assert set(row.choices) <= set(option.type.choices)
    if row.low is not None:
        assert option.range is not None and option.range[0] == row.low
    assert option.type.auto or row.default != "auto"
    assert expert_level(row.path) == row.level
    assert not option.own
    assert [found.path for found in SCALING_NAMES.resolve(row.path)] == [row.path]


@pytest.mark.parametrize("row", ROWS, ids=PATHS)
def test_default_is_that_of_dials_or_a_documented_difference(row: Row, repository: Path) -> None:
    option = OPTIONS[row.path]
    if row.path in DIALS_DEFAULTS:
        assert DIALS_DEFAULTS[row.path].startswith(row.default)
        page = (repository / "docs" / "reference" / "options.md").read_text(encoding="utf-8")
        differences = page.partition("## Where defaults differ")[2].partition("\n## ")[0]
        assert f"| `{row.path}` |" in differences
    else:
        assert parse_value(option, row.default) == option.default


def test_documented_differences_are_differences() -> None:
    assert set(DIALS_DEFAULTS) <= set(PATHS)
    for row in ROWS:
        option, theirs = OPTIONS[row.path], DIALS_DEFAULTS.get(row.path)
        # A default that is called auto in both may be another rule.
        if theirs is not None and option.default is not AUTO:
            assert row.default == "auto" or parse_value_or_text(option, row.default) != option.default


def parse_value_or_text(option: Option, text: str) -> Any:
    try:
        return parse_value(option, text)
    except UsageError:
        return text


@pytest.mark.parametrize("row", ROWS, ids=PATHS)
def test_a_valid_value_works_or_is_refused_with_what_to_use_instead(row: Row, repository: Path) -> None:
    option = OPTIONS[row.path]
    try:
        parsed = parse_arguments([f"{row.path}={row.other}"], SCALING_NAMES)
    except UsageError as error:
        text = str(error)
        assert re.match(rf"option {re.escape(row.path)}(=\S+)? is not yet available in pyscale: \w.{{10,}}", text)
        page = (repository / "docs" / "reference" / "options.md").read_text(encoding="utf-8")
        refused = page.partition("## What is refused")[2].partition("\n## ")[0]
        assert f"| `{row.path}` |" in refused or f"| `{row.path}={row.other}` |" in refused
    else:
        assert parsed.given == {row.path}
        assert option.available


@pytest.mark.parametrize("row", [row for row in ROWS if row.low is not None], ids=lambda row: row.path)
def test_values_below_the_range_are_refused(row: Row) -> None:
    with pytest.raises(UsageError, match=rf"{re.escape(row.path)}=.*must be at least") as error:
        parse_arguments([f"{row.path}={'0' if row.low else '-1'}"], SCALING_NAMES)
    assert "not yet available" not in str(error.value)


# Names of the guide (2018-19) with a value, and the options that they set now; "=": that of the same name; none: it has
# no effect any more.
_GUIDE = """
parameterisation.scale_term=True physical.scale_correction
parameterisation.decay_term=True physical.decay_correction array.decay_correction KB.decay_correction
parameterisation.absorption_term=True physical.absorption_correction array.absorption_correction
parameterisation.modulation_term=False array.modulation_correction
parameterisation.scale_interval=15.0 physical.scale_interval
parameterisation.decay_interval=20.0 physical.decay_interval array.decay_interval
parameterisation.n_resolution_bins=10 array.n_resolution_bins
parameterisation.n_absorption_bins=3 array.n_absorption_bins
parameterisation.n_modulation_bins=20 array.n_modulation_bins
parameterisation.decay_restraint=0.1 physical.decay_restraint
parameterisation.lmax=4 physical.lmax
parameterisation.surface_weight=1e6 physical.surface_weight
reflection_selection.method=use_all reflection_selection.method
reflection_selection.quasi_random.min_per_area=100 =
reflection_selection.quasi_random.n_resolution_bins=20 =
reflection_selection.quasi_random.multi_dataset.min_per_dataset=500 =
reflection_selection.quasi_random.multi_dataset.Isigma_cutoff=1.0 =
reflection_selection.quasi_random.multi_dataset.min_multiplicity=2 =
weighting.optimise_errors=True weighting.error_model.error_model
weighting.output_optimised_vars=True
cut_data.exclude_image_range=None exclude_images
scaling_options.exclude_datasets=None dataset_selection.exclude_datasets
scaling_options.use_datasets=None dataset_selection.use_datasets
scaling_options.full_matrix=True scaling_options.full_matrix
full_matrix_max_iterations=1 scaling_refinery.full_matrix_max_iterations
scaling_refinery.concurrent=True scaling_refinery.refinement_order
scaling_options.nproc=1 scaling_options.nproc
scaling_options.target_model=None scaling_options.target_model
scaling_options.target_mtz=None scaling_options.target_mtz
scaling_options.space_group=None space_group
scaling_options.outlier_rejection=standard scaling_options.outlier_rejection
scaling_options.outlier_zmax=9.0 scaling_options.outlier_zmax
output.experiments=scaled_experiments.json output.experiments
output.reflections=scaled.pickle output.reflections
output.debug.log=dials.scale.debug.log
output.plot_scaling_models=False
output.plot_merging_stats=False
"""
# Bare names that are those of other options by now.
_TAKEN = {"method", "log", "n_resolution_bins", "Isigma_cutoff", "min_multiplicity"}
GUIDE = [line.split() for line in _GUIDE.strip().splitlines()]


@pytest.mark.parametrize("words", GUIDE, ids=[words[0] for words in GUIDE])
def test_names_of_the_guide_by_their_full_and_bare_names(words: list[str]) -> None:
    argument, *paths = words
    name, _, value = argument.partition("=")
    paths = [name if path == "=" else path for path in paths]
    bare = name.rpartition(".")[2]
    for written in {name, bare} - _TAKEN:
        parsed = parse_arguments([f"{written}={value}"], SCALING_NAMES)
        assert {path for path in paths if OPTIONS[path].available} <= parsed.given
        if paths and not any(f".{path}".endswith(f".{written}") for path in paths):
            assert "was renamed to" in parsed.notes[0]
        if not paths:
            assert "has no effect any more" in parsed.notes[0]


@pytest.mark.parametrize("name", ["exclude_on_image_scale", "output.exclude_on_batch_rmerge"])
def test_names_that_changed_results_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"does not exist any more: filtering\.method=deltacchalf"):
        parse_arguments([f"{name}=1.0"], SCALING_NAMES)


# The cell of a file's data sets in pyscale; best_unit_cell, which dials.scale takes it for, then is the same cell.
TAKEN = {"unit_cell": "input.unit_cell"}


def suffixes(path: str) -> list[str]:
    """The name and every part of it that begins after a dot or an underscore."""
    return [path, *(path[i + 1 :] for i, letter in enumerate(path) if letter in "._")]


def rank(full: str, name: str) -> int:
    """How well a suffix fits: the whole name, after a dot, after an underscore, not at all."""
    if full == name:
        return 3
    return 2 if full.endswith("." + name) else int(full.endswith("_" + name))


def test_unique_suffixes_of_dials_resolve_alike() -> None:
    checked = 0
    for path in PATHS:
        for name in suffixes(path):
            ranks = [rank(full, name) for full in PATHS]
            if ranks.count(max(ranks)) == 1 and PATHS[ranks.index(max(ranks))] == path:
                assert [option.path for option in SCALING_NAMES.resolve(name)] == [TAKEN.get(name, path)], name
                checked += 1
    assert checked > len(PATHS)


def parts(path: str) -> set[str]:
    """Parts of a name between its dots and underscores, and those that lack a letter at either end."""
    edges = [0, *(i + 1 for i, letter in enumerate(path) if letter in "._"), len(path) + 1]
    whole = [path[a : b - 1] for k, a in enumerate(edges) for b in edges[k + 1 :]]
    shorter = [cut for part in whole for cut in (part, part[1:], part[:-1])]
    return {part for part in shorter if re.fullmatch(r"[A-Za-z_][\w.]*", part)}


def test_parts_of_names_mean_what_libtbx_makes_of_them(run_oracle: Callable[..., None], tmp_path: Path) -> None:
    names = sorted(set().union(*(parts(path) for path in PATHS)))[::2]
    query, answer = tmp_path / "query.json", tmp_path / "answer.json"
    query.write_text(json.dumps({"paths": PATHS, "names": names}), encoding="utf-8")
    run_oracle("libtbx_phil.py", "names", query, answer)
    checked = 0
    for name, path in json.loads(answer.read_text(encoding="utf-8")).items():
        if path is not None:
            assert [option.path for option in SCALING_NAMES.resolve(name)] == [TAKEN.get(name, path)], name
            checked += 1
    assert checked > 300


def test_the_page_lists_each_option_once(repository: Path) -> None:
    page = runpy.run_path(str(repository / "docs" / "make_options.py"))["page"]()
    options, _, refused = page.partition("## What is refused")
    refused = refused.partition("\n## ")[0]
    for option in OPTIONS.values():
        found = (options.count(f"| `{option.path}`"), refused.count(f"| `{option.path}` |"))
        assert found == ((1, 0) if option.available else (0, 1)), option.path
