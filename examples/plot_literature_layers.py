"""
Published results: depth, ReLU and normalization
================================================

What the layers below the head change. Each section states a published result, computes it, and ends in an assertion on
the error. :doc:`/literature` has all of them in one table.
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


# %%
# Two linear layers, and non-negative features
# --------------------------------------------
#
# With a second linear layer and no bias the class means are still an orthogonal frame :cite:p:`tirer2022`, and so
# they are for non-negative features, where a free bias changes the classifier and not the features.

one_hot, decays = ec.encodings.one_hot(5), {"weight_decay": 3e-3, "feature_decay": 1e-3}
two_layers = ec.ufm.solve(ec.ufm.Problem(one_hot, 20, **decays, bias_decay=math.inf, depth=2))
distance = two_layers.geometry.distance("orthogonal")
claim("tirer2022", "two linear layers, no bias: orthogonal frame", distance, below=1e-12)

distances = []
for bias_decay in (math.inf, 0.0):
    relu = ec.ufm.solve(ec.ufm.Problem(one_hot, 20, **decays, bias_decay=bias_decay, features="relu"))
    distances.append(relu.geometry.distance("orthogonal"))
claim("tirer2022", "non-negative features: orthogonal frame", max(distances), below=1e-6)

# %%
# Non-negative features and rare classes
# --------------------------------------
#
# Under cross-entropy without a bias non-negative features of different classes are orthogonal at any counts, and class
# k is learned if and only if :math:`\sqrt{N\lambda_W\lambda_H} < \sqrt{(K - 1)n_k/(KN)}` :cite:p:`dang2024`. The
# outputs of a class then are :math:`\log(1/p_k - K + 1)(e_k - 1/K)` with :math:`p_k = \sqrt{N\lambda_W\lambda_H/(K(K -
# 1)n_k/N)}`.

counts = np.array([50, 30, 10])
shares, classes = counts / counts.sum(), 3


def rare(threshold: float) -> ec.ClassGeometry:
    decay = threshold / math.sqrt(counts.sum())
    problem = ec.ufm.Problem(
        ec.encodings.one_hot(classes),
        counts,
        weight_decay=decay,
        feature_decay=decay,
        bias_decay=math.inf,
        features="relu",
        loss="cross_entropy",
    )
    return ec.ufm.solve(problem).geometry


critical = math.sqrt((classes - 1) * shares[-1] / classes)
low, high = 0.9, 1.1  # shares of the critical threshold at which the rare class is and is not learned
assert rare(low * critical).norm(2) > 0.1
assert rare(high * critical).norm(2) == 0
while high - low > 1e-3:
    share = (low + high) / 2
    low, high = (low, share) if rare(share * critical).norm(2) == 0 else (share, high)
claim("dang2024", "non-negative features: threshold of a class", abs((low + high) / 2 - 1), below=1e-3)
wrong = 0.1 / np.sqrt(classes * (classes - 1) * shares)
expected = np.log(1 / wrong - classes + 1) * (np.eye(classes) - 1 / classes)
deviation = np.abs(rare(0.1).class_outputs - expected).max() / np.abs(expected).max()
claim("dang2024", "non-negative features: outputs", deviation, below=1e-9)

# %%
# A last batch normalization with weight decay
# --------------------------------------------
#
# Batch normalization and weight decay bring cosines near those of collapse where cross-entropy is near its optimum
# :cite:p:`pan2023`. At the optimum itself nothing is approximate: the decay of gains and offsets is a price on the
# features, and the minimum is a simplex at every decay below the threshold.

distances = []
for decay in (1e-4, 1e-3, 1e-2, 1e-1):
    problem = ec.ufm.batch_norm_problem(
        ec.encodings.one_hot(7), 100, weight_decay=decay, gain_decay=decay, bias_decay=decay, loss="cross_entropy"
    )
    distances.append(ec.ufm.solve(problem).geometry.distance("simplex_etf"))
claim("pan2023", "batch normalization: simplex at the optimum", max(distances), below=1e-6)

# %%
# Linear layers at the end
# ------------------------
#
# With several linear layers at the end and weight decay, a network that fits its data collapses: NC1 is small where
# the last nonlinear layer is well conditioned, and each further layer makes the head better conditioned
# :cite:p:`jacot2024`. Given the activations below them, two layers have a certified minimum. Its NC1 is not 0, and
# gradient descent on the explicit layers finds it.

random = np.random.default_rng(0)
labels = np.arange(60) % 3
activations = random.standard_normal((60, 11)) + 3 * np.eye(3, 11)[labels]
head_decay, inner_decay, width = 2e-2, 1e-2, 7
tail = ec.ufm.TailProblem(
    ec.encodings.one_hot(3), labels, activations, weight_decay=head_decay, inner_decay=inner_decay
)
predicted = ec.ufm.solve(tail)
ends = np.cumsum([3 * width, width * 11])


def explicit(x: np.ndarray) -> tuple[float, np.ndarray]:
    """Loss and gradient of the two layers themselves, with the bias of the head."""
    head, inner, bias = x[: ends[0]].reshape(3, width), x[ends[0] : ends[1]].reshape(width, 11), x[ends[1] :]
    features = inner @ activations.T
    residual = (head @ features + bias[:, None] - np.eye(3)[labels].T) / 60
    loss = 30 * (residual**2).sum() + head_decay / 2 * (head**2).sum() + inner_decay / 2 * (inner**2).sum()
    to_inner = head.T @ residual @ activations + inner_decay * inner
    parts = [residual @ features.T + head_decay * head, to_inner, residual.sum(axis=1)]
    return loss, np.concatenate([part.ravel() for part in parts])


start = 0.3 * random.standard_normal(ends[1] + 3)
options = {"maxiter": 5000, "ftol": 1e-15, "gtol": 1e-10}
found = minimize(explicit, start, jac=True, method="L-BFGS-B", options=options).x
trained = ec.measure.collapse((found[ends[0] : ends[1]].reshape(width, 11) @ activations.T).T, labels)
deviation = abs(trained.nc1_trace_ratio / predicted.nc1_trace_ratio - 1)
claim("jacot2024", "two linear layers at the end: NC1", deviation, below=1e-6)

# %%
# The head of M balanced layers has the M-th roots of the singular values of their product, so its condition number
# tends to 1.

conditions = []
for layers in (2, 3, 5):
    tail = ec.ufm.TailProblem(
        ec.encodings.one_hot(3), labels, activations, weight_decay=1e-3, inner_decay=1e-3, layers=layers
    )
    solution = ec.ufm.solve(tail)
    values = np.sqrt(np.linalg.eigvalsh(solution.geometry.classifier_gram)[-2:])
    conditions.append(values[1] / values[0])
    print(f"{layers} layers: condition number of the head {conditions[-1]:.4f}")
assert conditions[0] > conditions[1] > conditions[2] > 1

# %%
# A last normalization of each sample
# -----------------------------------
#
# Deep residual networks and transformers with layer normalization and weight decay collapse in the limit of depth
# :cite:p:`sukenik2025`. Where decayed gains follow the last normalization, as in transformers, the singular values have
# a concave price, and for balanced labels with a free bias r of them are learned, all alike, with r next to
# :math:`(a/2c)^2`, where :math:`a = 1/\sqrt K` and :math:`c = \sqrt{\lambda_W\lambda_\gamma/d}`. So the simplex is
# optimal below a decay, and beyond it the frame has fewer directions.

num_classes, dimension, top = 10, 32, 1 / math.sqrt(10)
used, decays_tried = [], np.array([0.1, 0.2, 0.35, 0.4, 0.5, 0.6])
best = []
for decay in decays_tried:
    problem = ec.ufm.sample_norm_problem(
        ec.encodings.one_hot(num_classes), 100, feature_dim=dimension, weight_decay=decay, gain_decay=decay
    )
    solution = ec.ufm.solve(problem)
    used.append(int((solution.singular_values > 1e-9).sum()))
    price, ranks = decay / math.sqrt(dimension), np.arange(1, num_classes)
    best.append(int(ranks[(ranks * np.maximum(top - price * np.sqrt(ranks), 0) ** 2).argmax()]))
    if used[-1] == num_classes - 1:
        assert solution.geometry.distance("simplex_etf") < 1e-9
assert used[0] == num_classes - 1
assert used[-1] < num_classes - 1
claim("sukenik2025", "normalized samples: directions learned", max(abs(np.subtract(used, best))), below=0.0)

with house_style("layers"):
    figure, axes = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
    axes.plot(decays_tried, used, "o", color="#0072b2", label="exact minimizer")
    axes.plot(decays_tried, best, color="0.6", label=r"$\arg\max_r\; r(a - c\sqrt{r})_+^2$", zorder=0)
    axes.axhline(num_classes - 1, color="0.5", linestyle=":")
    axes.set(xlabel="decay of classifier and gains", ylabel="directions learned")
    axes.legend()
plt.show()
