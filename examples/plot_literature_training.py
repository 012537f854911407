"""
Published results: what training does
=====================================

Results on the way to the minimum and on optimizers, at a scale of seconds: 300 real digits and a small network with a
last batch normalization, and gradient flow on the unrestricted feature model. Each section ends in an assertion.
:doc:`/literature` has all of them in one table.
"""

import copy
import math
from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn

import encollapse as ec
from encollapse.report.style import house_style


def claim(source: str, statement: str, error: float, *, below: float) -> None:
    """One line of the table in the documentation, and its assertion."""
    print(f"{source:18} {statement:48} {error:.1e}")
    assert error <= below


# %%
# The four properties
# -------------------
#
# Trained on beyond zero error, the features of a class come together, the class means form a simplex, the classifier
# aligns with them, and decides for the nearest class mean :cite:p:`papyan2020`. The weight decay that standard training
# has decides how long this takes (:doc:`/your-training`): here :math:`\eta\lambda/(1 - \mu)` times the steps is 3.5.

torch.manual_seed(0)
digits = ec.data.load("digits", per_class=30).train
inputs, labels = torch.tensor(digits.inputs, dtype=torch.float64).flatten(1), torch.tensor(digits.labels)
untrained = nn.Sequential(
    nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 24), nn.BatchNorm1d(24), nn.Linear(24, 10)
).double()


def train(make: Callable[..., torch.optim.Optimizer], steps: int) -> tuple[nn.Sequential, np.ndarray]:
    """The network after full-batch steps, and the norm of the sum of the rows of its classifier before each."""
    network = copy.deepcopy(untrained)
    optimizer = make(network.parameters())
    sums = []
    for _ in range(steps):
        sums.append(float(network[-1].weight.detach().sum(dim=0).norm()))
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(inputs), labels).backward()
        optimizer.step()
    return network, np.array(sums) / sums[0]


def measured(network: nn.Sequential) -> ec.measure.Collapse:
    with torch.no_grad():
        features = network[:-1](inputs)
    return ec.measure.collapse(features, labels, weight=network[-1].weight, bias=network[-1].bias)


decay, steps = 5e-3, 700
sgd, sgd_sums = train(lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=decay), steps)
collapse = measured(sgd)
assert collapse.accuracy == 1
claim("papyan2020", "within-class over between-class spread", collapse.nc1_trace_ratio, below=0.1)
claim("papyan2020", "distance of the means from a simplex", collapse.nc2_etf, below=0.1)
claim("papyan2020", "distance of the classifier from the means", collapse.nc3_alignment, below=0.1)
claim("papyan2020", "disagreement with the nearest class mean", 1 - collapse.nc4_agreement, below=0.0)

# %%
# The optimizer matters
# ---------------------
#
# A simplex as classifier has rows that sum to 0. Under cross-entropy the gradient never moves that sum, so coupled
# decay shrinks it by :math:`1 - \eta\lambda` a step under plain gradient descent, and decoupled decay under an adaptive
# method does not shrink it to 0 :cite:p:`zhao2026`. Adam with its decay in the gradient collapses as SGD does. AdamW,
# with the same learning rate, has small spread within classes too, and keeps its sum and its distance from the simplex.

_, plain_sums = train(lambda p: torch.optim.SGD(p, lr=0.2, weight_decay=decay), 200)
deviation = np.abs(plain_sums / (1 - 0.2 * decay) ** np.arange(200) - 1).max()
claim("zhao2026", "gradient descent: decay of the sum", deviation, below=1e-9)

adam, adam_sums = train(lambda p: torch.optim.Adam(p, lr=4e-3, weight_decay=decay), steps)
adamw, adamw_sums = train(lambda p: torch.optim.AdamW(p, lr=4e-3, weight_decay=0.5), steps)
claim("zhao2026", "sum of the rows, Adam over AdamW", adam_sums[-1] / adamw_sums[-1], below=0.5)
for name, network in (("SGD", sgd), ("Adam", adam), ("AdamW", adamw)):
    found = measured(network)
    print(f"{name:6} NC1 {found.nc1_trace_ratio:.3f}  NC2 {found.nc2_etf:.3f}  NC3 {found.nc3_alignment:.3f}")

with house_style("training"):
    figure, axes = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
    axes.semilogy(sgd_sums, "-", label="SGD, momentum")
    axes.semilogy(adam_sums, "--", label="Adam, decay in the gradient")
    axes.semilogy(adamw_sums, ":", label="AdamW")
    axes.set(xlabel="step", ylabel="norm of the sum of rows, relative")
    axes.legend()
plt.show()

# %%
# Two time scales
# ---------------
#
# The training loss is fitted in a time that hardly depends on weight decay, and within-class variance in units of the
# features' length (RNC1) falls in a time of :math:`1/\lambda` :cite:p:`sakamoto2025`. In the unrestricted feature model
# the two are exact. Let samples of a class start apart, in directions that the classifier does not see. There the
# differences shrink as :math:`\exp(-N\lambda_H t)`, whatever the loss. Here gradient descent runs on all samples, with
# one decay λ for the classifier and :math:`\lambda/N` for the features.

count, num_classes, width = 10, 5, 40
total = count * num_classes
classes = np.repeat(np.arange(num_classes), count)
targets = np.eye(num_classes)[classes].T


def descend(decay: float, rate: float, most: int) -> tuple[float | None, float]:
    """Steps until the fit is below 0.02 and until RNC1 is below 0.01, times the rate."""
    random = np.random.default_rng(1)
    weight = np.zeros((num_classes, width))
    weight[:, :num_classes] = 0.3 * random.standard_normal((num_classes, num_classes))
    features = random.standard_normal((width, total)) / math.sqrt(width)
    fitted = None
    for step in range(most):
        residual = weight @ features - targets
        if fitted is None and (residual**2).mean() < 0.02:
            fitted = step * rate
        if step % 100 == 0 and ec.metrics.rnc1(features.T, classes) < 0.01:
            return fitted, step * rate
        to_weight, to_features = residual @ features.T / total + decay * weight, weight.T @ residual + decay * features
        weight, features = weight - rate * to_weight, features - rate * to_features
    raise AssertionError("not collapsed")


times = {decay: descend(decay, 0.1, 30_000) for decay in (8e-3, 2e-3)}
for decay, (fitted, collapsed) in times.items():
    print(f"decay {decay}: fitted at {fitted:.0f}, collapsed at {collapsed:.0f}, which is {decay * collapsed:.2f}/λ")
(fast_fit, fast), (slow_fit, slow) = times[8e-3], times[2e-3]
claim("sakamoto2025", "a quarter of the decay: 4 × the time of RNC1", abs(slow / fast / 4 - 1), below=0.1)
claim("sakamoto2025", "a quarter of the decay: the time of the fit", abs(slow_fit / fast_fit - 1), below=0.1)

# %%
# One direction after the other
# -----------------------------
#
# From a small balanced start along the singular vectors of the labels, each singular value follows a logistic curve,
# the larger ones earlier :cite:p:`saxe2014`. With decay the curve ends at the thresholded value.

encoding, counts, decay, small = ec.encodings.random(5, 3, seed=2), np.array([11, 7, 5, 3, 2]), 5e-3, 1e-4
problem = ec.ufm.Problem(encoding, counts, weight_decay=decay, feature_decay=decay, bias_decay=math.inf)
left, values, right = np.linalg.svd(encoding.codewords * np.sqrt(counts), full_matrices=False)
moments = np.linspace(0, 150, 61)
flow = ec.ufm.flow(
    problem, moments, weight=left * math.sqrt(small), class_means=math.sqrt(small) * right / np.sqrt(counts)
)
ends = values - counts.sum() * decay
logistic = ends / (1 + (ends / small - 1) * np.exp(-2 * ends * moments[:, None] / counts.sum()))
grown = flow.singular_values * math.sqrt(counts.sum())
claim("saxe2014", "each direction: logistic curve", np.abs(grown / logistic - 1).max(), below=1e-5)
half = [moments[(grown[:, mode] > ends[mode] / 2).argmax()] for mode in range(3)]
assert half[0] < half[1] < half[2]

# %%
# The end of training
# -------------------
#
# Han, Papyan and Donoho split squared error along the path to collapse :cite:p:`han2022`. How fast the path ends is
# read off the Hessian at the exact minimum: the excess falls as :math:`\exp(-2rt)` with the smallest rate r.

problem = ec.ufm.Problem(ec.encodings.one_hot(4), [9, 7, 5, 3], weight_decay=1e-2, feature_decay=2e-3, bias_decay=0.1)
solution = ec.ufm.solve(problem)
slowest = ec.ufm.rates(solution)[0]
late = ec.ufm.flow(problem, np.array([6.0, 7.0]) / slowest, scale=1.0, seed=3)
observed = -np.diff(np.log(late.losses - solution.loss))[0] / 2
claim("han2022", "last rate of gradient flow", abs(observed - 1), below=0.05)

# %%
# The central path
# ----------------
#
# Multiplying all features by a matrix changes nothing for a last layer that is always the best one. So Han, Papyan and
# Donoho keep the features at a within-class covariance of one, and follow the part of the gradient flow that stays
# there. Each singular value ω of the signal-to-noise matrix then moves alone, on a path in closed form
# :cite:p:`han2022`: all grow, and their ratios go to one. Here it is set beside small steps of all features, with the
# last layer fitted anew and the features renormalized at each.

count, num_classes = 6, 4
classes = np.repeat(np.arange(num_classes), count)
total, targets = len(classes), np.eye(num_classes)[classes]


def parts(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Class means about their mean (d, K), and samples about their class mean (d, N)."""
    means = np.stack([features[:, classes == k].mean(axis=1) for k in range(num_classes)], axis=1)
    return means - means.mean(axis=1, keepdims=True), features - means[:, classes]


def renormalized(features: np.ndarray) -> np.ndarray:
    means, within = parts(features)
    values, vectors = np.linalg.eigh(within @ within.T / total)
    return (vectors / np.sqrt(values)) @ vectors.T @ (means[:, classes] + within)


def ratios(features: np.ndarray) -> np.ndarray:
    return np.linalg.svd(parts(features)[0], compute_uv=False)[: num_classes - 1]


random = np.random.default_rng(4)
features = renormalized(0.3 * random.standard_normal((5, num_classes))[:, classes] + random.standard_normal((5, total)))
rate, stepped = 0.1, []
path = ec.ufm.central_path(ratios(features), rate * np.arange(3001), num_classes=num_classes, samples_per_class=count)
for _ in path.times:
    stepped.append(ratios(features))
    rows = np.vstack([features, np.ones(total)]).T
    layer = np.linalg.lstsq(rows, targets, rcond=None)[0]
    gradient = layer[:-1] @ (rows @ layer - targets).T / total
    _, within = parts(features)
    product = gradient @ within.T / total
    features = renormalized(features - rate * (gradient - (product + product.T) / 2 @ within))
claim(
    "han2022", "central path: small steps of all features", np.abs(stepped / path.signal_to_noise - 1).max(), below=1e-3
)

times = np.geomspace(1, 1e6, 61)
later = ec.ufm.central_path(stepped[0], times, num_classes=num_classes, samples_per_class=count)
with house_style("training"):
    figure, axes = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
    axes.loglog(times, later.signal_to_noise, color="#0072b2", label=["closed form", None, None])
    axes.loglog(path.times[10:], np.array(stepped)[10:], "k.", markevery=0.08, label=["small steps", None, None])
    axes.set(xlabel="learning rate × steps", ylabel="signal-to-noise ratio")
    axes.legend()
plt.show()
