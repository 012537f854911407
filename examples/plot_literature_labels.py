"""
Published results: other labels
===============================

Sets of labels and ordered classes are encodings too. Each section states a published result, computes it, and ends in
an assertion on the error. :doc:`/literature` has all of them in one table.
"""

import itertools
import math

import matplotlib.pyplot as plt
import numpy as np

import encollapse as ec
from encollapse.report.style import house_style


def claim(source: str, statement: str, error: float, *, below: float) -> None:
    """One line of the table in the documentation, and its assertion."""
    print(f"{source:18} {statement:45} {error:.1e}")
    assert error <= below


# %%
# Several labels a sample
# -----------------------
#
# With the pick-all-label loss and equally many samples within each multiplicity, samples of one label form a simplex,
# and the mean of a set of labels points along the sum of the means of its members :cite:p:`li2024`.

num_labels = 5
pairs = list(itertools.combinations(range(num_labels), 2))
sets = [{j} for j in range(num_labels) for _ in range(30)] + [set(pair) for pair in pairs for _ in range(7)]
encoding, counts, class_weights = ec.encodings.pick_all_labels(sets, num_labels)
problem = ec.ufm.Problem(
    encoding, counts, weight_decay=1e-3, feature_decay=1e-4, loss="cross_entropy", class_weights=class_weights
)
solution = ec.ufm.solve(problem)
assert solution.certificate.holds
_, means, _ = solution.parameters()


def sine(x: np.ndarray, y: np.ndarray) -> float:
    """Of the angle between two vectors."""
    return float(np.linalg.norm(x / np.linalg.norm(x) - y / np.linalg.norm(y)))


single = means[:, :num_labels]
frame = single.T @ single
simplex = ec.simplex_etf_gram(num_labels)
deviation = np.linalg.norm(frame / np.linalg.norm(frame) - simplex / np.linalg.norm(simplex))
claim("li2024", "samples of one label: simplex", deviation, below=1e-6)
angles = [sine(means[:, num_labels + n], single[:, i] + single[:, j]) for n, (i, j) in enumerate(pairs)]
claim("li2024", "two labels: sum of the means", max(angles), below=1e-6)

# %%
# Where labels are imbalanced within a multiplicity, a weighting by frequency takes the place of the sum
# :cite:p:`ma2026`. Here single labels occur 80, 40, 20 and 10 times. With a free bias the minimizer weighs frequent
# labels more, but by far less than their frequencies, and a part of the mean of a pair lies outside the plane of its
# members. Without a bias the weights are equal, and that part is small. Both stay so at lower decays.

often = [80, 40, 20, 10]
pairs = list(itertools.combinations(range(4), 2))
sets = [{j} for j in range(4) for _ in range(often[j])] + [set(pair) for pair in pairs for _ in range(10)]
encoding, counts, class_weights = ec.encodings.pick_all_labels(sets, 4)


def pairs_from_members(bias_decay: float, decay: float) -> tuple[np.ndarray, np.ndarray]:
    """Ratio of the weights of both members of each pair, and the share of its mean outside their plane."""
    problem = ec.ufm.Problem(
        encoding,
        counts,
        weight_decay=decay,
        feature_decay=decay / 10,
        bias_decay=bias_decay,
        loss="cross_entropy",
        class_weights=class_weights,
    )
    solution = ec.ufm.solve(problem)
    assert solution.certificate.holds
    _, means, _ = solution.parameters()
    ratios, outside = [], []
    for n, (i, j) in enumerate(pairs):
        mean, plane = means[:, 4 + n], means[:, [i, j]]
        weights = np.linalg.lstsq(plane, mean, rcond=None)[0]
        ratios.append(weights[0] / weights[1])
        outside.append(np.linalg.norm(mean - plane @ weights) / np.linalg.norm(mean))
    return np.array(ratios), np.array(outside)


frequencies = np.array([often[i] / often[j] for i, j in pairs])
print("frequencies, times:   ", frequencies)
for bias_decay, decay in ((0.0, 1e-5), (0.0, 1e-7), (math.inf, 1e-5), (math.inf, 1e-7)):
    ratios, outside = pairs_from_members(bias_decay, decay)
    print(f"bias decay {bias_decay}, decay {decay}: weights, times {ratios.round(2)}, outside {outside.round(3)}")
    if bias_decay == 0:
        assert (ratios < 1.5).all()
        assert max(outside) > 0.1
    else:
        assert np.abs(ratios - 1).max() < 0.02
        assert max(outside) < 0.03
claim("ma2026", "part of a pair outside the plane", max(pairs_from_members(0.0, 1e-5)[1]), below=0.2)

# %%
# Ordered classes
# ---------------
#
# With cumulative links and fixed thresholds class means lie on a line in the order of the classes, and as the decay
# vanishes every inner class comes to the middle of its interval :cite:p:`ma2025`.

loss = ec.ufm.CumulativeLink([-2.0, 0.0, 3.0, 4.0])
middles = (loss.thresholds[1:] + loss.thresholds[:-1]) / 2
decays, distances = np.array([1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7]), []
for decay in decays:
    problem = ec.ufm.Problem(
        loss.encoding, [40, 30, 20, 10, 5], weight_decay=decay, feature_decay=decay, bias_decay=math.inf, loss=loss
    )
    solution = ec.ufm.solve(problem)
    weight, means, _ = solution.parameters()
    latent = (weight @ means)[0]
    assert solution.certificate.holds
    assert (np.diff(latent) > 0).all()
    distances.append(np.abs(latent[1:-1] - middles).max())
claim("ma2025", "ordinal classes: middles of the intervals", distances[-1], below=1e-3)

with house_style("labels"):
    figure, axes = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
    axes.loglog(decays, distances, "o-")
    axes.set(xlabel="decay", ylabel="distance from the middles")
plt.show()
