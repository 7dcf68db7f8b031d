import numpy as np
from numpy.typing import NDArray

__version__: str

class CoreDataError(ValueError): ...

def group_reflections(
    miller_index: NDArray[np.int32],
    rotations: NDArray[np.int32],
    rank: NDArray[np.int64],
    n_threads: int = 1,
) -> dict[str, NDArray[np.int64]]: ...

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
    def absolute_deviation(self) -> NDArray[np.float64]: ...
    @property
    def chi_square(self) -> NDArray[np.float64]: ...
    @property
    def mean(self) -> NDArray[np.float64]: ...
    @property
    def variance_of_mean(self) -> NDArray[np.float64]: ...
    @property
    def half_intensity_1(self) -> NDArray[np.float64]: ...
    @property
    def half_intensity_2(self) -> NDArray[np.float64]: ...
    @property
    def half_mean_1(self) -> NDArray[np.float64]: ...
    @property
    def half_mean_2(self) -> NDArray[np.float64]: ...

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
    def r_merge(self) -> float: ...
    @property
    def r_meas(self) -> float: ...
    @property
    def r_pim(self) -> float: ...
    @property
    def chi_square(self) -> float: ...
    @property
    def cc_half(self) -> float: ...
    @property
    def cc_half_sigma_tau(self) -> float: ...
    @property
    def n_half_pairs(self) -> int: ...

class AnomalousStatistics:
    @property
    def n_pairs(self) -> int: ...
    @property
    def r_anom(self) -> float: ...
    @property
    def signal(self) -> float: ...
    @property
    def difference_over_sigma(self) -> float: ...
    @property
    def n_half_pairs(self) -> int: ...
    @property
    def cc_anom(self) -> float: ...

def merge(
    intensity: NDArray[np.float64],
    variance: NDArray[np.float64],
    offsets: NDArray[np.int64],
    use_internal_variance: bool = False,
    n_threads: int = 1,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]: ...
def group_statistics(
    intensity: NDArray[np.float64],
    variance: NDArray[np.float64],
    offsets: NDArray[np.int64],
    group_index: NDArray[np.int32],
    seed: int,
    n_threads: int = 1,
) -> GroupStatistics: ...
def shell_statistics(
    groups: GroupStatistics, shell: NDArray[np.int64], n_shells: int
) -> list[ShellStatistics]: ...
def anomalous_statistics(
    groups: GroupStatistics,
    plus: NDArray[np.int64],
    minus: NDArray[np.int64],
    shell: NDArray[np.int64],
    n_shells: int,
) -> list[AnomalousStatistics]: ...
def shoebox_offsets(data: NDArray[np.uint8], n_rows: int) -> NDArray[np.int64]: ...
def gather_bytes(
    data: NDArray[np.uint8], offsets: NDArray[np.int64], rows: NDArray[np.int64]
) -> NDArray[np.uint8]: ...
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
) -> NDArray[np.uint8]: ...
def expected_intensity(
    intensity: NDArray[np.float64],
    weight: NDArray[np.float64],
    g: NDArray[np.float64],
    offsets: NDArray[np.int64],
    excluded: NDArray[np.uint8],
    n_threads: int = 1,
) -> NDArray[np.float64]: ...
def repeated_observations(
    intensity: NDArray[np.float64],
    variance: NDArray[np.float64],
    g: NDArray[np.float64],
    expected: NDArray[np.float64],
    offsets: NDArray[np.int64],
    excluded: NDArray[np.uint8],
    min_multiplicity: int = 2,
) -> tuple[
    NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]
]: ...
def restricted_likelihood(
    intensity: NDArray[np.float64],
    variance: NDArray[np.float64],
    expected_squared: NDArray[np.float64],
    offsets: NDArray[np.int64],
    log_a: float,
    b_squared: float,
    n_threads: int = 1,
) -> tuple[float, list[float], list[float], list[float]]: ...
def group_residuals(
    intensity: NDArray[np.float64],
    variance: NDArray[np.float64],
    expected_squared: NDArray[np.float64],
    offsets: NDArray[np.int64],
    b_squared: float,
    n_threads: int = 1,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]: ...
def student_likelihood(
    residual: NDArray[np.float64],
    variance: NDArray[np.float64],
    expected_squared: NDArray[np.float64],
    weight: NDArray[np.float64],
    log_a: float,
    b_squared: float,
    nu: float,
    kappa: float,
    n_threads: int = 1,
) -> tuple[float, list[float], list[float], list[float]]: ...
