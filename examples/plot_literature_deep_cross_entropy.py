"""
Deep cross-entropy prefers low ranks
====================================

With several linear layers under cross-entropy a simplex is not the minimum in general: solutions of lower rank cost
less, and the deeper the network, the fewer singular values of the outputs are not negligible :cite:p:`garrod2025`. Here
are six classes and one to eight layers, all with the same price of one direction.
"""

import math

import matplotlib.pyplot as plt
import numpy as np

import encollapse as ec


def claim(source: str, statement: str, error: float, *, below: float) -> None:
    """One line of the table in the documentation, and its assertion."""
    print(f"{source:18} {statement:48} {error:.1e}")
    assert error <= below


num_classes, kappa = 6, 0.02
depths = [1, 2, 3, 4, 6, 8]


solutions = []
for depth in depths:
    decay = 2 * kappa / (depth + 1)  # of each factor, for which a direction costs κ σ^(2/(depth + 1))
    problem = ec.ufm.Problem(
        ec.encodings.one_hot(num_classes),
        1,
        weight_decay=decay,
        feature_decay=decay / num_classes,
        bias_decay=math.inf,
        loss="cross_entropy",
        depth=depth,
    )
    solutions.append(ec.ufm.solve(problem))
ranks = [solution.rank for solution in solutions]
print("layers", depths, "rank", ranks)


# %%
# A simplex has five equal singular values. Its best size is a scalar problem, which a grid solves to the digits that
# are shown. With one layer it is the minimum.


def simplex_loss(depth: int) -> float:
    """Least loss of outputs ``a(I - J/K)``, whose singular values are a/√K."""
    sizes = np.geomspace(0.1, 100, 20_000)
    penalty = kappa * (num_classes - 1) * (sizes / math.sqrt(num_classes)) ** (2 / (depth + 1))
    return float((np.log1p((num_classes - 1) * np.exp(-sizes)) + penalty).min())


shares = [solution.loss / simplex_loss(depth) for solution, depth in zip(solutions, depths, strict=True)]
assert abs(shares[0] - 1) < 1e-6
claim("garrod2025", "six classes, four layers: loss over a simplex", shares[depths.index(4)], below=0.9)

# %%
# How many singular values can be above a size is bounded by any point: n of them above s cost at least ``n κ s^r``, and
# the minimum costs no more than a regular hexagon, which two directions hold at every depth. So the number stays
# bounded as the depth grows, where the simplex would need five.


def hexagon_loss(depth: int) -> float:
    """Least loss of classes and rows at the corners of a regular hexagon, with two equal singular values."""
    angles = 2 * np.pi * np.arange(num_classes) / num_classes
    cosines = np.cos(angles[:, None] - angles)  # singular values K/2, twice
    best = math.inf
    for size in np.geomspace(0.1, 1000, 4_000):
        outputs = size * cosines
        fit = np.log(np.exp(outputs[0] - outputs[0, 0]).sum())
        singular = size * num_classes / 2 / math.sqrt(num_classes)
        best = min(best, float(fit) + 2 * kappa * singular ** (2 / (depth + 1)))
    return best


bounds = []
for depth, solution in zip(depths, solutions, strict=True):
    smallest = solution.singular_values[solution.rank - 1]
    bounds.append(hexagon_loss(depth) / (kappa * smallest ** (2 / (depth + 1))))
print("bound on their number", np.round(bounds, 2))
ratio = max(rank / bound for rank, bound in zip(ranks, bounds, strict=True))
claim("garrod2025", "singular values learned over their bound", ratio, below=1.0)
assert ranks[0] == num_classes - 1
assert ranks[-1] == 2
assert all(solution.certificate.lower_bound <= solution.loss for solution in solutions)

figure, axes = plt.subplots(1, 2, figsize=(8.4, 3.2), layout="constrained")
axes[0].plot(depths, ranks, "o-", color="#0072b2", label="learned")
axes[0].plot(depths, bounds, "k:", label="bound")
axes[0].set(xlabel="weight layers", ylabel="singular values", ylim=(0, 8))
axes[0].legend()
axes[1].plot(depths, shares, "o-", color="#d55e00")
axes[1].axhline(1, color="0.5", linestyle=":")
axes[1].set(xlabel="weight layers", ylabel="loss over that of a simplex")
plt.show()
