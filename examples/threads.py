"""Scale two crystals at once in two threads of one process; results do not depend on it."""

# %% Two data sets
from concurrent.futures import ThreadPoolExecutor

import numpy as np

import pyscale

crystals = [pyscale.simulate(d_min=3.0, seed=seed).job() for seed in (1, 2)]

# %% One thread of the core for each: nproc belongs to the call
with ThreadPoolExecutor(2) as pool:
    together = list(pool.map(lambda data: pyscale.scale(data, nproc=1), crystals))
print(*together, sep="\n")

# %% The same numbers as one after the other
alone = [pyscale.scale(data, nproc=1) for data in crystals]
print(all(np.array_equal(a.inverse_scale_factor, b.inverse_scale_factor) for a, b in zip(together, alone, strict=True)))
