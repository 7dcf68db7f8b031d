"""From integrated files to a merged MTZ file; run it where integrated.expt and integrated.refl are."""

# %% Read, leave out the last images, scale
import pyscale

data = pyscale.read("integrated.expt", "integrated.refl")
result = pyscale.scale(data, d_min=1.8, exclude_images="0:171:180")
print(result)

# %% Look at the statistics
print(result.statistics.to_pandas()[["d_min", "completeness", "i_over_sigma", "r_pim", "cc_half"]].round(3))
print(*result.warnings(), sep="\n")

# %% Merge, and write what refinement needs
merged = pyscale.merge(result, anomalous=False)
merged.write_mtz("merged.mtz")
