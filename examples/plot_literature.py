"""
Published results, computed
===========================

Each section states a theorem of the literature, computes it with the exact minimizer, and ends in an assertion on the
relative error. :doc:`/literature` has them all in one table, with what other examples check and what is not covered.
"""

import math
from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np

import encollapse as ec
from encollapse.report.style import house_style


def claim(source: str, statement: str, error: float, *, below: float) -> None:
    """One line of the table in the documentation, and its assertion."""
    print(f"{source:18} {statement:45} {error:.1e}")
    assert error <= below


def relative(found: object, expected: object) -> float:
    """Largest deviation in units of the largest entry."""
    found, expected = np.asarray(found, dtype=float), np.asarray(expected, dtype=float)
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def turning_point(holds: Callable[[float], bool]) -> float:
    """The share of a predicted threshold at which something begins to hold, by bisection from 0.9 to 1.1."""
    low, high = 0.9, 1.1
    assert not holds(low)
    assert holds(high)
    while high - low > 1e-3:
        share = (low + high) / 2
        low, high = (low, share) if holds(share) else (share, high)
    return (low + high) / 2


# %%
# Balanced cross-entropy: a simplex, and its size
# -----------------------------------------------
#
# For balanced one-hot labels every global minimum under cross-entropy is a simplex :cite:p:`zhu2021`, and the outputs
# are :math:`a(I - J/K)` with :math:`a = \log(1/p - K + 1)`, where :math:`p = \sqrt{n\lambda_W\lambda_H}` is the
# probability left to each wrong class. Label smoothing δ adds δ/K to p :cite:p:`guo2025`.

num_classes, count, decays = 7, 30, {"weight_decay": 2e-3, "feature_decay": 1e-3}
centering = np.eye(num_classes) - 1 / num_classes
deviations = []
for smoothing in (0.0, 0.1):
    labels = ec.encodings.label_smoothing(num_classes, smoothing)
    solution = ec.ufm.solve(ec.ufm.Problem(labels, count, **decays, loss="cross_entropy"))
    wrong = smoothing / num_classes + math.sqrt(count * decays["weight_decay"] * decays["feature_decay"])
    outputs = solution.geometry.class_outputs
    deviations.append(relative(outputs, math.log(1 / wrong - num_classes + 1) * centering))
    assert solution.certificate.holds
    assert solution.geometry.distance("simplex_etf") < 1e-6
claim("zhu2021", "cross-entropy: outputs", deviations[0], below=1e-12)
claim("guo2025", "label smoothing: outputs", deviations[1], below=1e-12)

# %%
# Squared error: the bias decides between two frames
# --------------------------------------------------
#
# With a free bias the class means form a simplex :cite:p:`zhou2022`, without one an orthogonal frame
# :cite:p:`tirer2022`.

one_hot = ec.encodings.one_hot(num_classes)
free = ec.ufm.solve(ec.ufm.Problem(one_hot, count, **decays, bias_decay=0.0))
claim("zhou2022", "squared error, free bias: simplex", free.geometry.distance("simplex_etf"), below=1e-12)
without = ec.ufm.solve(ec.ufm.Problem(one_hot, count, **decays, bias_decay=math.inf))
claim("tirer2022", "squared error, no bias: orthogonal frame", without.geometry.distance("orthogonal"), below=1e-12)

# %%
# Any targets: a square root of their covariance
# ----------------------------------------------
#
# With a free bias and targets of covariance S, :math:`WW^\top = \sqrt{\lambda_H'/\lambda_W}\,[S^{1/2} - \sqrt c\,I]_+`
# with :math:`\lambda_H' = N\lambda_H` and :math:`\sqrt c = \sqrt{N\lambda_W\lambda_H}` :cite:p:`andriopoulos2024`
# (Theorem 4.1).

counts = np.array([40, 25, 20, 10, 5])
targets = ec.encodings.random(5, 3, seed=1)
solution = ec.ufm.solve(ec.ufm.Problem(targets, counts, **decays))
centered = targets.centered(counts / counts.sum()).codewords
values, axes_of_targets = np.linalg.eigh(centered * (counts / counts.sum()) @ centered.T)
threshold = math.sqrt(counts.sum() * decays["weight_decay"] * decays["feature_decay"])
shrunk = np.maximum(np.sqrt(values) - threshold, 0)
scale = math.sqrt(counts.sum() * decays["feature_decay"] / decays["weight_decay"])
expected = scale * (axes_of_targets * shrunk) @ axes_of_targets.T
claim("andriopoulos2024", "any targets: W Wᵀ", relative(solution.geometry.classifier_gram, expected), below=1e-12)

# %%
# Minority collapse
# -----------------
#
# Under cross-entropy with two groups of classes, rare classes merge :cite:p:`fang2021` exactly when
# :math:`\sqrt{\lambda_W\lambda_H} \ge \sqrt{n_\text{rare}}/N` :cite:p:`hong2023`.

groups = np.array([60, 60, 60, 6, 6, 6])
critical = math.sqrt(groups[-1]) / groups.sum()
shares = np.array([0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 1.01, 1.05, 1.2])


def rare_cosine(share: float) -> float:
    """Cosine of two rare classes at a share of the critical decay."""
    decay = share * critical  # both decays, so that the root of their product is this
    problem = ec.ufm.Problem(
        ec.encodings.one_hot(6), groups, weight_decay=decay, feature_decay=decay, loss="cross_entropy"
    )
    return ec.ufm.solve(problem).geometry.cosine(4, 5)


cosines = [rare_cosine(share) for share in shares]
merge = turning_point(lambda share: rare_cosine(share) > 1 - 1e-6)
claim("hong2023", "minority collapse: threshold", abs(merge - 1), below=1e-3)

with house_style("literature"):
    figure, axes = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
    axes.plot(shares, cosines, "o-", color="#0072b2")
    axes.axvline(1, color="0.5", linestyle=":")
    axes.set(xlabel=r"$\sqrt{\lambda_W\lambda_H}$ in units of $\sqrt{n_{rare}}/N$", ylabel="cosine of two rare classes")
plt.show()

# %%
# Bounds on norms instead of decays
# ---------------------------------
#
# The layer-peeled model of :cite:t:`fang2021` bounds the mean squared norms of classifier and class means. For balanced
# classes the minimum is a simplex whose norms are the bounds. The paper proves that rare classes merge when the
# imbalance grows without end. They do so from one ratio on, which the multiplier of the bounds tells: where it reaches
# :math:`\pi_\text{rare}\sqrt K`. Where the rare classes in fact merge is within a per cent of that ratio.

bounds = {"weight_bound": 1.0, "feature_bound": 1.0}
balanced = ec.ufm.solve_layer_peeled(ec.encodings.one_hot(6), 5, **bounds)
inner = balanced.geometry.class_outputs
claim("fang2021", "layer-peeled model: simplex", relative(inner, ec.simplex_etf_gram(6)), below=1e-8)


def peeled(ratio: float) -> ec.ufm.LayerPeeledSolution:
    """Three frequent and three rare classes of 10,000 samples each."""
    return ec.ufm.solve_layer_peeled(ec.encodings.one_hot(6), [round(10_000 * ratio)] * 3 + [10_000] * 3, **bounds)


low, high = 1.0, 10.0
while high / low > 1.001:
    ratio = math.sqrt(low * high)
    low, high = (low, ratio) if peeled(ratio).multiplier > math.sqrt(6) / (3 * ratio + 3) else (ratio, high)
critical_ratio = math.sqrt(low * high)
print(f"classes merge from a ratio of {critical_ratio:.2f}")
merge = turning_point(lambda share: peeled(share * critical_ratio).geometry.cosine(4, 5) > 1 - 1e-6)
claim("fang2021", "layer-peeled model: threshold", abs(merge - 1), below=1e-3)

# %%
# Vanishing decay: simplex-encoded labels
# ---------------------------------------
#
# As the decay vanishes, cross-entropy without a bias interpolates the simplex-encoded labels, and the class means take
# their geometry from the singular vectors of that matrix, whatever the imbalance :cite:p:`thrampoulidis2022`. The way
# there is logarithmic in the decay.

sizes = np.array([40, 40, 4, 4])
encoded = np.repeat(np.eye(4) - 1 / 4, sizes, axis=1)
_, singular, right = np.linalg.svd(encoded, full_matrices=False)
factor = np.sqrt(singular[:3])[:, None] * right[:3]
means = factor[:, np.cumsum(sizes) - 1]
limit = means.T @ means
distances = []
for decay in (1e-3, 1e-5, 1e-7):
    problem = ec.ufm.Problem(
        ec.encodings.one_hot(4),
        sizes,
        weight_decay=decay,
        feature_decay=decay,
        bias_decay=math.inf,
        loss="cross_entropy",
    )
    distances.append(ec.ufm.solve(problem).geometry.distance(limit))
print("distance from the limit at decays 1e-3, 1e-5 and 1e-7:", np.round(distances, 3))
assert distances[0] > distances[1] > distances[2]
claim("thrampoulidis2022", "vanishing decay: distance at 1e-7", distances[-1], below=0.1)

# %%
# Deep linear heads: which classes are learned
# --------------------------------------------
#
# With M weight layers and no bias, a class is learned if and only if
# :math:`M N (N\lambda_H \prod_l \lambda_l)^{1/M}/n_k < (M - 1)^{(M - 1)/M}/M` :cite:p:`dang2023`.

layers, uneven = 3, np.array([90, 30])
total = uneven.sum()
bound = (layers - 1) ** ((layers - 1) / layers) / layers


def lost(share: float) -> bool:
    """Whether the rare class is not learned at a share of its bound."""
    product = (share * bound * uneven[1] / (layers * total)) ** layers / total
    decay = product ** (1 / (layers + 1))  # features and each layer alike
    problem = ec.ufm.Problem(
        ec.encodings.one_hot(2), uneven, weight_decay=decay, feature_decay=decay, bias_decay=math.inf, depth=layers
    )
    return int((ec.ufm.solve(problem).singular_values > 0).sum()) < 2


claim("dang2023", "deep linear heads: threshold of a class", abs(turning_point(lost) - 1), below=1e-3)
