"""
For a lecturer: five pictures for one lecture
=============================================

The pictures of a lecture on neural collapse, in the order in which they are told: the label vectors, the frame that
they ask for, what the bias makes of it, what happens to rare classes, and the certificate of the numbers.
"""

import matplotlib.pyplot as plt
import numpy as np

import encollapse as ec
from encollapse.report.style import house_style

num_classes = 5
decays = {"weight_decay": 5e-3, "feature_decay": 2e-3}

# %%
# Two sets of label vectors: one-hot labels are orthogonal, those of a simplex are as far apart as possible.
encodings = {"one-hot": ec.encodings.one_hot(num_classes), "simplex": ec.encodings.simplex(num_classes)}
with house_style("lecture"):
    figure, axes = plt.subplots(1, 2, figsize=(7.2, 3.2), layout="constrained")
    for axis, encoding in zip(axes, encodings.values(), strict=True):
        encoding.plot(ax=axis)
plt.show()

# %%
# The exact minimizer turns both into the same frame where the bias is free, because the bias absorbs the mean label.
free = {
    name: ec.ufm.solve(ec.ufm.Problem(encoding, 20, **decays, bias_decay=0.0)) for name, encoding in encodings.items()
}
off = ~np.eye(num_classes, dtype=bool)
for name, solution in free.items():
    print(name, solution.geometry.cosines()[off].round(4)[:4])
    np.testing.assert_allclose(solution.geometry.cosines()[off], -1 / (num_classes - 1), atol=1e-9)

# %%
# As the bias is held back, one-hot labels leave the simplex and turn into an orthogonal frame.
problem = ec.ufm.Problem(encodings["one-hot"], 20, **decays)
path = ec.ufm.bias_path(problem, np.geomspace(1e-3, 1e2, 81))
path.plot()
assert np.all(np.diff(path.mean_cosine) > -1e-9)
assert path.mean_cosine[-1] > -0.01
assert path.critical is not None

# %%
# With rare classes the frame is no longer regular. A free bias keeps the mean of all samples at zero, so the means of
# frequent classes are near zero and those of rare classes far from it.
counts = [100, 60, 30, 15, 7]
rare = ec.ufm.solve(ec.ufm.Problem(encodings["one-hot"], counts, **decays, bias_decay=0.0))
lengths = np.sqrt(np.diag(rare.geometry.feature_gram))
assert (np.diff(lengths) > 0).all()
np.testing.assert_allclose(rare.geometry.class_outputs @ counts, 0, atol=1e-10)
with house_style("lecture"):
    figure, axis = plt.subplots(figsize=(4.6, 3.0), layout="constrained")
    axis.bar([str(count) for count in counts], lengths, color="#0072b2")
    axis.set_xlabel("samples of the class")
    axis.set_ylabel("length of the class mean")
plt.show()
print(rare.geometry)

# %%
# Each of these minima is proved, with a bound that the computer checks anew: no point can have a smaller loss.
for solution in (*free.values(), *path.solutions, rare):
    assert solution.certificate.holds
print(rare.certificate)
