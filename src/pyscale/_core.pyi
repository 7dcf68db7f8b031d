from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import DataError

__version__: str

class CoreDataError(DataError): ...

class Cancellation:
    def __init__(self) -> None: ...
    def cancel(self) -> None: ...
    @property
    def is_cancelled(self) -> bool: ...

class CancellationScope:
    def __init__(self, request: Cancellation | None = None, poll: Callable[[], bool] | None = None) -> None: ...
    def __enter__(self) -> None: ...
    def __exit__(self, *args: object) -> None: ...

def throw_if_cancelled() -> None: ...

class SmootherAxis:
    def __init__(self, factor: float, origin: float, spacing: float, n_nodes: int) -> None: ...
    @property
    def factor(self) -> float: ...
    @property
    def origin(self) -> float: ...
    @property
    def spacing(self) -> float: ...
    @property
    def n_nodes(self) -> int: ...

class Component:
    @staticmethod
    def smooth_scale(axis: SmootherAxis) -> Component: ...
    @staticmethod
    def smooth_decay(axis: SmootherAxis) -> Component: ...
    @staticmethod
    def absorption(lmax: int) -> Component: ...
    @staticmethod
    def constant_scale() -> Component: ...
    @staticmethod
    def constant_decay() -> Component: ...
    @staticmethod
    def image_scale(first_image: float, n_images: int) -> Component: ...
    @staticmethod
    def dose_decay(power: int, dose_per_image: float, dose_at_zero: float) -> Component: ...
    @staticmethod
    def grid(axes: Sequence[tuple[str, SmootherAxis]]) -> Component: ...
    @property
    def n_parameters(self) -> int: ...

class JobModel:
    def __init__(self) -> None: ...
    @property
    def n_parameters(self) -> int: ...
    @property
    def n_data_sets(self) -> int: ...
    def add_data_set(self) -> int: ...
    def add(self, data_set: int, component: Component) -> int: ...
    def share(self, data_set: int, component: Component, first_parameter: int) -> None: ...

class Observations:
    def __init__(
        self,
        data_set: NDArray[np.int32],
        image_z: NDArray[np.float64],
        half_inv_d2: NDArray[np.float64],
        s0_crystal: NDArray[np.float64] | None = None,
        s1_crystal: NDArray[np.float64] | None = None,
        x_px: NDArray[np.float64] | None = None,
        y_px: NDArray[np.float64] | None = None,
        given_factor: NDArray[np.float64] | None = None,
    ) -> None: ...

class FitProblem:
    def __init__(
        self,
        model: JobModel,
        observations: Observations,
        intensity: NDArray[np.float64],
        offsets: NDArray[np.int64],
        n_threads: int = 1,
    ) -> None: ...
    @property
    def n_parameters(self) -> int: ...
    @property
    def n_observations(self) -> int: ...
    @property
    def n_groups(self) -> int: ...
    def set_weights(self, weight: NDArray[np.float64]) -> None: ...
    def set_intensity(self, intensity: NDArray[np.float64]) -> None: ...
    def set_restraints(
        self,
        row_offsets: NDArray[np.int64],
        column: NDArray[np.int32],
        value: NDArray[np.float64],
        target: NDArray[np.float64],
        weight: NDArray[np.float64],
    ) -> None: ...
    def set_reference(self, intensity: NDArray[np.float64], weight: NDArray[np.float64]) -> None: ...
    def set_held(self, held: NDArray[np.uint8]) -> None: ...
    def cost(self, parameters: NDArray[np.float64]) -> float: ...
    def inverse_scale_factors(self, parameters: NDArray[np.float64]) -> NDArray[np.float64]: ...
    def cost_and_half_gradient(self, parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]: ...
    def normal_equations(
        self, parameters: NDArray[np.float64]
    ) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]: ...
    def jacobian(self, parameters: NDArray[np.float64]) -> dict[str, NDArray[Any]]: ...
    def gauge_sums(
        self, parameters: NDArray[np.float64], label: NDArray[np.int32], n_labels: int
    ) -> dict[str, NDArray[np.float64]]: ...
    def scale_correlations(
        self,
        parameters: NDArray[np.float64],
        covariance: NDArray[np.float64],
        weight: NDArray[np.float64],
        scale_variance: NDArray[np.float64],
        offsets: NDArray[np.int64],
        anomalous_offsets: NDArray[np.int64],
    ) -> NDArray[np.float64]: ...
    def local_scale_correlations(
        self,
        parameters: NDArray[np.float64],
        covariance: NDArray[np.float64],
        weight: NDArray[np.float64],
        scale_variance: NDArray[np.float64],
        offsets: NDArray[np.int64],
        anomalous_offsets: NDArray[np.int64],
    ) -> NDArray[np.float64]: ...

class CoarseModes:
    def __init__(self, mode: NDArray[np.int32], value: NDArray[np.float64], n_modes: int) -> None: ...
    @property
    def n_modes(self) -> int: ...

class NormalOperator:
    def __init__(self, problem: FitProblem, parameters: NDArray[np.float64]) -> None: ...
    @property
    def cost(self) -> float: ...
    @property
    def half_gradient(self) -> NDArray[np.float64]: ...
    def product(self, x: NDArray[np.float64]) -> NDArray[np.float64]: ...
    def diagonal_blocks(self) -> NDArray[np.float64]: ...
    def diagonal(self) -> NDArray[np.float64]: ...
    def coarse_matrix(self, modes: CoarseModes) -> NDArray[np.float64]: ...
    def solve(
        self,
        b: NDArray[np.float64],
        modes: CoarseModes,
        damping: float = 0.0,
        tolerance: float = 1e-8,
        max_iterations: int = 1000,
    ) -> dict[str, Any]: ...

class IterationSummary:
    @property
    def index(self) -> int: ...
    @property
    def cost(self) -> float: ...
    @property
    def decrease(self) -> float: ...
    @property
    def predicted_decrease(self) -> float: ...
    @property
    def damping(self) -> float: ...
    @property
    def accepted(self) -> bool: ...

def simd_name() -> str: ...
def gathered(values: NDArray[np.float64], rows: NDArray[np.int64], n_threads: int = 1) -> NDArray[np.float64]: ...
def group_reflections(
    miller_index: NDArray[np.int32],
    rotations: NDArray[np.int32],
    rank: NDArray[np.int64],
    n_threads: int = 1,
) -> dict[str, NDArray[np.int64]]: ...
def canonical_order(
    order: NDArray[np.int64],
    offsets: NDArray[np.int64],
    data_set: NDArray[np.int32],
    image_z: NDArray[np.float64],
    intensity: NDArray[np.float64],
    n_threads: int = 1,
) -> NDArray[np.int64]: ...
def canonical_rank(
    data_set: NDArray[np.int32],
    image_z: NDArray[np.float64],
    intensity: NDArray[np.float64],
    n_data_sets: int,
    n_threads: int = 1,
) -> NDArray[np.int64]: ...
def count_variance_factors(
    intensity: NDArray[np.float64],
    variance: NDArray[np.float64],
    conversion: NDArray[np.float64],
    data_set: NDArray[np.int32],
    n_data_sets: int,
    n_threads: int = 1,
) -> NDArray[np.float64]: ...
def pair_residuals(
    offsets: NDArray[np.int64],
    data_set: NDArray[np.int32],
    value: NDArray[np.float64],
    weight: NDArray[np.float64],
    x: NDArray[np.float64],
    n_threads: int = 1,
) -> NDArray[np.float64]: ...
def pair_residual_sums(
    offsets: NDArray[np.int64],
    data_set: NDArray[np.int32],
    value: NDArray[np.float64],
    weight: NDArray[np.float64],
    x: NDArray[np.float64],
    n_threads: int = 1,
) -> NDArray[np.float64]: ...

class GroupStatistics:
    @property
    def n_obs(self) -> NDArray[np.int64]: ...
    @property
    def intensity(self) -> NDArray[np.float64]: ...
    @property
    def sigma(self) -> NDArray[np.float64]: ...
    @property
    def intensity_sum(self) -> NDArray[np.float64]: ...
    @property
    def i_over_sigma_sum(self) -> NDArray[np.float64]: ...
    @property
    def absolute_deviation(self) -> NDArray[np.float64]: ...
    @property
    def chi_square(self) -> NDArray[np.float64]: ...
    @property
    def mean(self) -> NDArray[np.float64]: ...
    @property
    def variance_of_mean(self) -> NDArray[np.float64]: ...

class ShellStatistics:
    @property
    def n_obs(self) -> int: ...
    @property
    def n_unique(self) -> int: ...
    @property
    def mean_intensity(self) -> float: ...
    @property
    def i_over_sigma(self) -> float: ...
    @property
    def unmerged_i_over_sigma(self) -> float: ...
    @property
    def r_merge(self) -> float: ...
    @property
    def r_meas(self) -> float: ...
    @property
    def r_pim(self) -> float: ...
    @property
    def chi_square(self) -> float: ...
    @property
    def cc_half_sigma_tau(self) -> float: ...

class AnomalousStatistics:
    @property
    def n_pairs(self) -> int: ...
    @property
    def r_anom(self) -> float: ...
    @property
    def signal(self) -> float: ...
    @property
    def difference_over_sigma(self) -> float: ...

class HalfSetCorrelation:
    @property
    def n_pairs(self) -> int: ...
    @property
    def correlation(self) -> float: ...
    @property
    def standard_error(self) -> float: ...
    @property
    def r_split(self) -> float: ...

def merge(
    intensity: NDArray[np.float64],
    variance: NDArray[np.float64],
    offsets: NDArray[np.int64],
    use_internal_variance: bool = False,
    n_threads: int = 1,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]: ...
def statistical_variance(
    intensity: NDArray[np.float64],
    variance: NDArray[np.float64],
    offsets: NDArray[np.int64],
    scale_variance: NDArray[np.float64],
    n_threads: int = 1,
) -> NDArray[np.float64]: ...
def common_scale_error(
    intensity: NDArray[np.float64],
    variance: NDArray[np.float64],
    offsets: NDArray[np.int64],
    scale_variance: NDArray[np.float64],
    correlation: NDArray[np.float64] | None = None,
    n_threads: int = 1,
) -> NDArray[np.float64]: ...
def french_wilson(
    intensity: NDArray[np.float64],
    sigma: NDArray[np.float64],
    prior_mean: NDArray[np.float64],
    is_centric: NDArray[np.uint8],
    n_threads: int = 1,
) -> dict[str, NDArray[np.float64]]: ...
def group_statistics(
    intensity: NDArray[np.float64], variance: NDArray[np.float64], offsets: NDArray[np.int64], n_threads: int = 1
) -> GroupStatistics: ...
def half_sets(
    intensity: NDArray[np.float64],
    variance: NDArray[np.float64],
    offsets: NDArray[np.int64],
    group_index: NDArray[np.int32],
    seed: int,
    n_threads: int = 1,
) -> tuple[
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.int64],
    NDArray[np.int64],
]: ...
def half_set_correlations(
    intensity: NDArray[np.float64],
    variance: NDArray[np.float64],
    offsets: NDArray[np.int64],
    group_index: NDArray[np.int32],
    seed: int,
    n_splits: int,
    shell: NDArray[np.int64],
    n_shells: int,
    n_threads: int = 1,
) -> list[HalfSetCorrelation]: ...
def half_difference_correlations(
    intensity: NDArray[np.float64],
    variance: NDArray[np.float64],
    offsets: NDArray[np.int64],
    group_index: NDArray[np.int32],
    seed: int,
    n_splits: int,
    plus: NDArray[np.int64],
    minus: NDArray[np.int64],
    shell: NDArray[np.int64],
    n_shells: int,
    n_threads: int = 1,
) -> list[HalfSetCorrelation]: ...
def pair_differences(
    intensity: NDArray[np.float64],
    dose: NDArray[np.float64],
    series: NDArray[np.int32],
    offsets: NDArray[np.int64],
    start: float,
    width: float,
    n_bins: int,
    n_parts: int,
    n_threads: int = 1,
) -> tuple[
    tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]],
    tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]],
]: ...
def shell_statistics(groups: GroupStatistics, shell: NDArray[np.int64], n_shells: int) -> list[ShellStatistics]: ...
def anomalous_statistics(
    groups: GroupStatistics,
    plus: NDArray[np.int64],
    minus: NDArray[np.int64],
    shell: NDArray[np.int64],
    n_shells: int,
) -> list[AnomalousStatistics]: ...
def shoebox_offsets(data: NDArray[np.uint8], n_rows: int) -> NDArray[np.int64]: ...
def gather_bytes(data: NDArray[np.uint8], offsets: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.uint8]: ...
def read_flex_doubles(data: NDArray[np.uint8], n_rows: int, width: int) -> NDArray[np.float64]: ...
def read_flex_int32(data: NDArray[np.uint8], n_rows: int, width: int) -> NDArray[np.int32]: ...
def read_flex_uint64(data: NDArray[np.uint8], n_rows: int) -> NDArray[np.uint64]: ...
def read_flex_bools(data: NDArray[np.uint8], n_rows: int) -> NDArray[np.uint8]: ...
def read_number_rows(
    text: NDArray[np.uint8], width: int, wanted: NDArray[np.int32], first_line: int, n_threads: int
) -> tuple[NDArray[np.float64], int]: ...
def r_meas_of_crossovers(
    profile: NDArray[np.float64],
    profile_variance: NDArray[np.float64],
    summation: NDArray[np.float64],
    summation_variance: NDArray[np.float64],
    scale: NDArray[np.float64],
    offsets: NDArray[np.int64],
    class_offsets: NDArray[np.int64],
    imid: NDArray[np.float64],
    candidate_offsets: NDArray[np.int64],
    n_threads: int = 1,
) -> NDArray[np.float64]: ...
def delta_cc_half(
    intensity: NDArray[np.float64],
    offsets: NDArray[np.int64],
    bin: NDArray[np.int32],
    candidate: NDArray[np.int32],
    n_bins: int,
    n_candidates: int,
) -> tuple[float, NDArray[np.float64], NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]: ...
def leave_one_out_z(
    intensity: NDArray[np.float64],
    weight: NDArray[np.float64],
    g: NDArray[np.float64],
    offsets: NDArray[np.int64],
    excluded: NDArray[np.uint8],
    n_threads: int = 1,
) -> NDArray[np.float64]: ...
def find_outliers(
    intensity: NDArray[np.float64],
    weight: NDArray[np.float64],
    g: NDArray[np.float64],
    offsets: NDArray[np.int64],
    zmax: float,
    excluded: NDArray[np.uint8],
    n_threads: int = 1,
    reference: NDArray[np.float64] | None = None,
    reference_weight: NDArray[np.float64] | None = None,
    at_once: bool = False,
) -> NDArray[np.uint8]: ...
def disputed_pairs(
    intensity: NDArray[np.float64],
    weight: NDArray[np.float64],
    g: NDArray[np.float64],
    offsets: NDArray[np.int64],
    zmax: float,
    excluded: NDArray[np.uint8],
    n_threads: int = 1,
    reference: NDArray[np.float64] | None = None,
    reference_weight: NDArray[np.float64] | None = None,
) -> NDArray[np.uint8]: ...
def compare_with_others(
    intensity: NDArray[np.float64],
    weight: NDArray[np.float64],
    g: NDArray[np.float64],
    offsets: NDArray[np.int64],
    merged: NDArray[np.uint8],
    n_threads: int = 1,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]: ...
def sum_over_cells(
    key: NDArray[np.int32],
    deviation: NDArray[np.float64],
    square: NDArray[np.float64],
    signal: NDArray[np.float64],
    rejected: NDArray[np.uint8],
    n_cells: int,
) -> NDArray[np.float64]: ...

N_SEGMENTS: int

def equal_area_segments(direction: NDArray[np.float64]) -> NDArray[np.int32]: ...
def select_groups(
    class_of_row: NDArray[np.int32],
    offsets: NDArray[np.int64],
    stratum_of_group: NDArray[np.int32],
    min_per_class: NDArray[np.int64],
    min_total: NDArray[np.int64],
    chosen_before: NDArray[np.uint8],
    n_threads: int = 1,
) -> NDArray[np.uint8]: ...
def connectivity(
    data_set: NDArray[np.int32],
    offsets: NDArray[np.int64],
    use: NDArray[np.uint8],
    shell_of_group: NDArray[np.int32],
    n_data_sets: int,
    n_shells: int,
) -> dict[str, Any]: ...
def expected_intensity(
    intensity: NDArray[np.float64],
    weight: NDArray[np.float64],
    g: NDArray[np.float64],
    offsets: NDArray[np.int64],
    excluded: NDArray[np.uint8],
    n_threads: int = 1,
    reference: NDArray[np.float64] | None = None,
    reference_weight: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]: ...
def error_model_variances(
    variance: NDArray[np.float64],
    expected: NDArray[np.float64],
    conversion: NDArray[np.float64],
    parameters: NDArray[np.float64],
    model: NDArray[np.int32],
    n_threads: int = 1,
) -> NDArray[np.float64]: ...
def repeated_observations(
    intensity: NDArray[np.float64],
    variance: NDArray[np.float64],
    g: NDArray[np.float64],
    expected: NDArray[np.float64],
    conversion: NDArray[np.float64],
    offsets: NDArray[np.int64],
    excluded: NDArray[np.uint8],
    min_multiplicity: int = 2,
) -> tuple[
    NDArray[np.int64],
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.int64],
]: ...
def group_residuals(
    intensity: NDArray[np.float64],
    variance: NDArray[np.float64],
    linear: NDArray[np.float64],
    quadratic: NDArray[np.float64],
    offsets: NDArray[np.int64],
    parameters: NDArray[np.float64],
    model: NDArray[np.int32],
    n_threads: int = 1,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
def residual_variances(
    intensity: NDArray[np.float64],
    variance: NDArray[np.float64],
    linear: NDArray[np.float64],
    quadratic: NDArray[np.float64],
    offsets: NDArray[np.int64],
    share: NDArray[np.float64],
    parameters: NDArray[np.float64],
    model: NDArray[np.int32],
    n_threads: int = 1,
) -> NDArray[np.float64]: ...
def student_cost(
    intensity: NDArray[np.float64],
    variance: NDArray[np.float64],
    linear: NDArray[np.float64],
    quadratic: NDArray[np.float64],
    offsets: NDArray[np.int64],
    residual: NDArray[np.float64],
    share: NDArray[np.float64],
    parameters: NDArray[np.float64],
    model: NDArray[np.int32],
    nu: float,
    kappa: float,
    n_threads: int = 1,
) -> tuple[float, NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]: ...
def make_smoother_axis(factor: float, n_nodes: int, z_min: float, z_max: float) -> SmootherAxis: ...
def smoother_window(axis: SmootherAxis, z: float) -> tuple[int, list[float]]: ...
def node_coordinates(axis: SmootherAxis) -> NDArray[np.float64]: ...
def node_count(range_deg: float, interval_deg: float) -> tuple[int, float]: ...
def real_harmonics(lmax: int, direction: Sequence[float]) -> NDArray[np.float64]: ...
def crystal_frame_beams(
    beam_direction: Sequence[float],
    rotation_axis: Sequence[float],
    fixed_rotation: NDArray[np.float64],
    setting_rotation: NDArray[np.float64],
    phi_start_deg: float,
    image_width_deg: float,
    first_image: float,
    s1: NDArray[np.float64],
    image_z: NDArray[np.float64],
    n_threads: int = 1,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
def inverse_scale_factors(
    model: JobModel, observations: Observations, parameters: NDArray[np.float64], n_threads: int = 1
) -> NDArray[np.float64]: ...
def inverse_scale_factor_variances(
    model: JobModel,
    observations: Observations,
    parameters: NDArray[np.float64],
    covariance: NDArray[np.float64],
    n_threads: int = 1,
) -> NDArray[np.float64]: ...
def local_scale_factor_variances(
    model: JobModel,
    observations: Observations,
    parameters: NDArray[np.float64],
    covariance: NDArray[np.float64],
    n_threads: int = 1,
) -> NDArray[np.float64]: ...
def parameter_blocks(model: JobModel) -> NDArray[np.int64]: ...
def minimise(
    problem: FitProblem,
    start: NDArray[np.float64],
    max_iterations: int = 50,
    cost_tolerance: float = 1e-08,
    initial_damping: float = 0.0001,
    on_iteration: Callable[[IterationSummary], bool] | None = None,
    n_threads: int = 1,
    gauss_newton: bool = False,
    keep_matrix: bool = False,
    largest_step: NDArray[np.float64] | None = None,
) -> dict[str, Any]: ...
def minimise_iteratively(
    problem: FitProblem,
    start: NDArray[np.float64],
    modes: CoarseModes,
    max_iterations: int = 50,
    cost_tolerance: float = 1e-08,
    initial_damping: float = 0.0001,
    on_iteration: Callable[[IterationSummary], bool] | None = None,
    n_threads: int = 1,
    solver_tolerance: float = 0.0001,
    gauss_newton: bool = False,
    largest_step: NDArray[np.float64] | None = None,
) -> dict[str, Any]: ...
def gauge_covariance(
    matrix: NDArray[np.float64],
    direction: NDArray[np.float64],
    functional: NDArray[np.float64],
    n_threads: int = 1,
) -> dict[str, Any]: ...
def inverse(matrix: NDArray[np.float64], n_threads: int = 1) -> NDArray[np.float64]: ...
def stable_order(keys: NDArray[np.int64], n_threads: int = 1) -> NDArray[np.int64]: ...
