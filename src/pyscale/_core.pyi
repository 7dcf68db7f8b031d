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
