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
