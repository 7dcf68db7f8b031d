"""Use the stages of scaling one by one, on plain arrays and on a job."""

# %% Observations of a simulated crystal
import numpy as np

import pyscale
from pyscale import stages

data = pyscale.simulate(d_min=3.0, seed=5).job()

# %% A job: prepare, fit, finish are what pyscale.scale does
prepared = stages.prepare(data, model="physical")
start = stages.evaluate(prepared.models, prepared.observations)
fitted = stages.fit(prepared)
result = stages.finish(prepared, fitted)
print(f"g from {start.min():.2f}-{start.max():.2f} to {fitted.fit.g.min():.2f}-{fitted.fit.g.max():.2f}; {result}")

# %% Arrays: the scales may come from anywhere
table = result.table
scaled = table["inverse_scale_factor_variance"] > 0
hkl, g = table["miller_index"][scaled], table["inverse_scale_factor"][scaled]
intensity, variance = table["intensity.scale.value"][scaled], table["intensity.scale.variance"][scaled]
groups = stages.group(hkl, "P 21 21 21")
i, v, k = (groups.sorted(values) for values in (intensity, variance, g))
outlier = stages.reject_outliers(i, v, k, groups.offsets)
model = stages.fit_error_model(i, v, k, groups.offsets, excluded=outlier).model
print(f"{groups}: {np.count_nonzero(outlier)} outliers, error model a = {model.a:.3f}, b = {model.b:.4f}")

# %% Merge and judge what is left
kept = ~groups.unsorted(outlier)
scaled_data = (hkl[kept], (intensity / g)[kept], (variance / g**2)[kept])
merged = stages.merge(*scaled_data, "P 21 21 21")
print(merged, stages.statistics(*scaled_data, result.unit_cell, "P 21 21 21").overall.line(), sep="\n")
