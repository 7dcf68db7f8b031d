"""Scale observations that are in arrays, without files; here simulated ones, whose scales are known."""

# %% What any program has: indices, intensities, variances, rotation angles, and beams for an absorption surface
import gemmi
import numpy as np

import pyscale

simulated = pyscale.simulate(d_min=3.0, seed=7)
sweep, experiment = simulated.columns[0], simulated.experiments()[0]
start, width = experiment.oscillation
data = pyscale.from_arrays(
    sweep["miller_index"],
    sweep["intensity.prf.value"],
    sweep["intensity.prf.variance"],
    unit_cell=experiment.unit_cell,
    space_group="P 21 21 21",
    rotation_angle=start + width * sweep["xyzobs.px.value"][:, 2],
    image_width=width,
    s0=-experiment.beam_direction / experiment.wavelength,
    s1=sweep["s1"],
    rotation_axis=experiment.rotation_axis,
    lp=sweep["lp"],
)

# %% Scale; rows of the result are those of the arrays
result = pyscale.scale(data)
g = result.inverse_scale_factor
print(result)

# %% How far the scales are from the true ones, apart from a common factor and B, which no scaling can know
error = np.log(g / simulated.truth["g"])
half_inv_d2 = 0.5 * gemmi.UnitCell(*experiment.unit_cell).calculate_1_d2_array(sweep["miller_index"])
error -= np.polyval(np.polyfit(half_inv_d2, error, 1), half_inv_d2)
print(f"rms error of ln g: {np.std(error):.4f}")
