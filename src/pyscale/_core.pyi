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
