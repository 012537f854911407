"""
Deep cross-entropy prefers low ranks
====================================

With several linear layers under cross-entropy a simplex is not the minimum in general: solutions of lower rank cost
less, and the deeper the network, the fewer singular values of the outputs are not negligible. Nevertheless a simplex is
a point where no direction goes down :cite:p:`garrod2025`.
"""

import math

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.optimize import minimize_scalar

import encollapse as ec
from encollapse.report.style import house_style


def claim(source: str, statement: str, error: float, *, below: float) -> None:
    """One line of the table in the documentation, and its assertion."""
    print(f"{source:18} {statement:48} {error:.1e}")
    assert error <= below


def solve(num_classes: int, depth: int, decay: float) -> ec.ufm.Solution:
    """Solve with one sample a class and one decay for features and layers."""
    encoding, decays = ec.encodings.one_hot(num_classes), {"weight_decay": decay, "feature_decay": decay}
    problem = ec.ufm.Problem(encoding, 1, **decays, bias_decay=math.inf, loss="cross_entropy", depth=depth)
    return ec.ufm.solve(problem)


def simplex(num_classes: int, depth: int, decay: float) -> tuple[float, float]:
    """Size a and loss of the best outputs ``a(I - J/K)``, which have K - 1 singular values of size a."""
    factors = depth + 1  # of each direction: the layers and the features

    def loss(size: float) -> float:
        fit = math.log1p((num_classes - 1) * math.exp(-size))
        return fit + (num_classes - 1) * factors / 2 * decay * size ** (2 / factors)

    found = minimize_scalar(loss, bounds=(2.0, 50.0), method="bounded", options={"xatol": 1e-12})
    return found.x, found.fun


# %%
# Classes and layers
# ------------------
#
# No simplex is a minimum from three layers on with four classes or more, and for two layers with six classes or more.
# Two layers and five classes are left open there: here too there is a point of lower loss, of rank 3. For four classes
# and two layers no descent ends below a simplex.

decay = 1e-3
cases = [(4, 3), (6, 2), (5, 2), (4, 2), (3, 3)]
shares = {}
for num_classes, depth in cases:
    solution = solve(num_classes, depth, decay)
    shares[num_classes, depth] = solution.loss / simplex(num_classes, depth, decay)[1]
    print(f"{num_classes} classes, {depth} layers: {shares[num_classes, depth]:.6f} of a simplex, rank {solution.rank}")
claim("garrod2025", "three layers or six classes: loss over a simplex", max(shares[4, 3], shares[6, 2]), below=0.95)
claim("garrod2025", "five classes, two layers: loss over a simplex", shares[5, 2], below=0.996)
assert min(shares[4, 2], shares[3, 3]) > 1 - 1e-6

# %%
# A simplex stays
# ---------------
#
# For small decays the Hessian at a simplex has no negative eigenvalue, so gradient descent need not leave it. Here are
# all second derivatives by features and layers, for four classes and three layers, where a simplex is no minimum.

size, _ = simplex(4, 3, decay)
frame = np.eye(4) - 1 / 4
factor = torch.tensor(size ** (1 / 4) * frame)  # a projection is the product of as many copies of itself as there are


def objective(parameters: torch.Tensor) -> torch.Tensor:
    """Loss of features and three layers, (4, 4, 4) in the order in which they act."""
    outputs = parameters[3] @ parameters[2] @ parameters[1] @ parameters[0]
    fit = torch.nn.functional.cross_entropy(outputs.T, torch.arange(4))
    return fit + decay / 2 * (parameters**2).sum()


point = torch.stack([factor] * 4)
slope = torch.autograd.functional.jacobian(objective, point)
hessian = torch.autograd.functional.hessian(objective, point).reshape(64, 64)
curvatures = torch.linalg.eigvalsh(hessian)
print(f"slope {slope.abs().max():.1e}, curvatures from {curvatures[0]:.1e} to {curvatures[-1]:.1e}")
assert slope.abs().max() < 1e-8
claim("garrod2025", "a simplex: negative curvature", max(-float(curvatures[0] / curvatures[-1]), 0.0), below=1e-6)

# %%
# Two directions are enough
# -------------------------
#
# If the decay falls faster than one over the number of layers, all singular values of the outputs but two become
# negligible, as two directions tell any number of classes apart. Here are six classes at a decay of 0.02 over the
# square of the number of layers: beyond the second they are 0 from four layers on.

num_classes, depths = 6, [1, 2, 3, 4, 6, 8]
decays = [0.02 / depth**2 for depth in depths]
solutions = [solve(num_classes, depth, decay) for depth, decay in zip(depths, decays, strict=True)]
ranks = [solution.rank for solution in solutions]
print("layers", depths, "rank", ranks)
thirds = [float(s.singular_values[2] / s.singular_values[0]) for s in solutions]
claim("garrod2025", "six classes, four layers or more: a third direction", max(thirds[3:]), below=1e-9)
assert ranks[0] == num_classes - 1

# %%
# At each depth their number is bounded by any point: with the price :math:`\kappa s^r` of a direction, n of them above
# s cost at least :math:`n\kappa s^r`, and the minimum costs no more than a regular hexagon, which two directions hold.


def hexagon_loss(depth: int, price: float) -> float:
    """Least loss of classes and rows at the corners of a regular hexagon, with two equal singular values."""
    angles = 2 * np.pi * np.arange(num_classes) / num_classes
    cosines = np.cos(angles[:, None] - angles)  # singular values K/2, twice
    best = math.inf
    for size in np.geomspace(0.1, 1000, 4_000):
        outputs = size * cosines
        fit = np.log(np.exp(outputs[0] - outputs[0, 0]).sum())
        best = min(best, float(fit) + 2 * price * (size * num_classes / 2) ** (2 / (depth + 1)))
    return best


bounds = []
for depth, decay, solution in zip(depths, decays, solutions, strict=True):
    price, power = (depth + 1) / 2 * decay, 2 / (depth + 1)
    smallest = solution.singular_values[solution.rank - 1] * math.sqrt(num_classes)  # of the outputs of all samples
    bounds.append(hexagon_loss(depth, price) / (price * smallest**power))
print("bound on their number", np.round(bounds, 2))
ratio = max(rank / bound for rank, bound in zip(ranks, bounds, strict=True))
claim("garrod2025", "singular values learned over their bound", ratio, below=1.0)
assert all(solution.certificate.lower_bound <= solution.loss for solution in solutions)

with house_style("deep cross-entropy"):
    figure, axes = plt.subplots(1, 2, figsize=(8.4, 3.2), layout="constrained")
    axes[0].plot(depths, ranks, "o-", color="#0072b2", label="learned")
    axes[0].plot(depths, bounds, "k:", label="bound")
    axes[0].set(xlabel="weight layers", ylabel="singular values", ylim=(0, 10.5))
    axes[0].legend()
    kept = [s.loss / simplex(num_classes, n, w)[1] for s, n, w in zip(solutions, depths, decays, strict=True)]
    axes[1].plot(depths, kept, "o-", color="#d55e00")
    axes[1].axhline(1, color="0.5", linestyle=":")
    axes[1].set(xlabel="weight layers", ylabel="loss over that of a simplex")
plt.show()
