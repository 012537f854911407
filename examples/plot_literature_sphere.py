"""
Published results: unit features at a temperature
=================================================

Features and classifier rows on the unit sphere, under cross-entropy of their cosines divided by a temperature. With
room for it the minimum is a simplex :cite:p:`yaras2022`. With more classes it tends, as the temperature falls, to a
softmax code, whose one-vs-rest margin is largest :cite:p:`jiang2024`: in the plane that is a regular polygon.
"""

import math

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import minimize

import encollapse as ec
from encollapse.report.style import house_style


def claim(source: str, statement: str, error: float, *, below: float) -> None:
    """One line of the table in the documentation, and its assertion."""
    print(f"{source:18} {statement:48} {error:.1e}")
    assert error <= below


wide = ec.ufm.solve_on_sphere(7, 6, temperature=0.1)
gram = wide.weight @ wide.class_means
claim("yaras2022", "unit features: simplex", float(np.abs(gram - ec.simplex_etf_gram(7)).max()), below=1e-12)

# %%
# Seven classes in the plane
# --------------------------

temperatures = np.array([0.5, 0.2, 0.1, 0.05, 0.02])
margins = [ec.ufm.solve_on_sphere(7, 2, temperature=float(t)).one_vs_rest_margin for t in temperatures]
largest = 1 - math.cos(2 * math.pi / 7)
claim("jiang2024", "seven classes in the plane: margin at 0.02", abs(margins[-1] / largest - 1), below=0.01)

with house_style("sphere"):
    figure, axes = plt.subplots(figsize=(5.6, 3.2), layout="constrained")
    axes.semilogx(temperatures, margins, "o-", color="#0072b2", label="minimizer")
    axes.axhline(largest, color="0.5", linestyle=":", label="polygon")
    axes.set(xlabel="temperature", ylabel="one-vs-rest margin", ylim=(0, 1.2 * largest))
    axes.set_xticks(temperatures, [f"{t:g}" for t in temperatures])
    axes.minorticks_off()
    axes.legend()
plt.show()

# %%
# Fixed prototypes and a loss of the cosine
# -----------------------------------------
#
# Hyperspherical prototype networks fix one unit vector for each class and train the outputs toward it by the loss
# :math:`(1 - \cos)^2` :cite:p:`mettes2019`. The classes need not be as many as the dimensions. Here are seven
# prototypes in three dimensions and a linear last layer over free features: from random starts the cosines of the
# outputs become those of the prototypes, with all samples of a class at one direction. The loss does not see lengths,
# so any weight decay shrinks features and layer without end, and then there is no minimizer.

prototypes = ec.encodings.spherical(7, 3).codewords.T
labels = np.repeat(np.arange(7), 3)
dim = 5


def cosine_loss(x: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean of ``(1 - cos)²`` over the samples, and its gradient by layer and features."""
    weight, features = x[: 3 * dim].reshape(3, dim), x[3 * dim :].reshape(dim, -1)
    outputs = (weight @ features).T
    lengths = np.linalg.norm(outputs, axis=1, keepdims=True)
    units = outputs / lengths
    cosines = np.sum(units * prototypes[labels], axis=1, keepdims=True)
    slope = -2 * (1 - cosines) * (prototypes[labels] - cosines * units) / lengths / len(labels)
    gradient = [(slope.T @ features.T).ravel(), (weight.T @ slope.T).ravel()]
    return float(((1 - cosines) ** 2).mean()), np.concatenate(gradient)


start = np.random.default_rng(0).standard_normal(3 * dim + dim * len(labels))
options = {"maxiter": 2000, "ftol": 0.0, "gtol": 1e-14}
end = minimize(cosine_loss, start, jac=True, method="L-BFGS-B", options=options).x
reached = (end[: 3 * dim].reshape(3, dim) @ end[3 * dim :].reshape(dim, -1)).T
reached /= np.linalg.norm(reached, axis=1, keepdims=True)
wanted = prototypes[labels] @ prototypes[labels].T
deviation = float(np.abs(reached @ reached.T - wanted).max())
claim("mettes2019", "prototypes: cosines of all pairs of samples", deviation, below=1e-3)
assert cosine_loss(0.5 * end)[0] <= cosine_loss(end)[0] + 1e-12  # half the lengths, a quarter of any decay
