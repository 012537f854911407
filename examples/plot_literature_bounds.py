"""
Published results: bounds beside measurements
=============================================

Small loss, small gradients and weight decay guarantee collapse, up to what is left of them: by :cite:t:`pan2023` for
cross-entropy near its optimum behind batch normalization, by :cite:t:`wu2025` near stationary points of a network of
three layers. The first is asymptotic, and the second is for infinite width. Here are five guarantees with explicit
constants along trainings, and which of them is tighter when.
"""

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
# Guarantees for cross-entropy
# ----------------------------
#
# Write F for the regularized loss as a function of classifier and features, λ for the price of the features of N
# samples (:math:`\lambda_H = \lambda/N`), and ε for the excess of F over the certified minimum.
#
# * **From the loss.** A convex loss does not grow when each feature is replaced by its class mean, and the price falls
#   by :math:`\lambda/2` times :math:`\operatorname{tr}\Sigma_W`. What is left is at least the minimum, so
#   :math:`\operatorname{tr}\Sigma_W \le 2\varepsilon/\lambda`.
# * **From the gradient.** Let :math:`g_i` be the gradient of F at the feature of sample i. The gradients of a convex
#   loss are monotone, so for two samples of a class :math:`\lambda_H |h_i - h_j| \le |g_i - g_j|`, and
#   :math:`\operatorname{tr}\Sigma_W` is at most :math:`N^2/\lambda^2` times the spread of the gradients within the
#   classes. No minimum is needed.
# * **For the outputs.** ``ec.ufm.excess`` bounds the mean divergence of the outputs from the predicted ones, class
#   means and all: the first two say nothing of where the class means are.

torch.manual_seed(0)
digits = ec.data.load("digits", per_class=30).train
inputs, labels = torch.tensor(digits.inputs, dtype=torch.float64).flatten(1), torch.tensor(digits.labels)
network = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 24), nn.BatchNorm1d(24), nn.Linear(24, 10)).double()
decay, total = 1e-2, len(labels)
optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=decay)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 700)
problem = ec.ufm.batch_norm_problem(
    ec.encodings.one_hot(10), 30, weight_decay=decay, gain_decay=decay, bias_decay=decay, loss="cross_entropy"
)
solution = ec.ufm.solve(problem)


def spread(rows: np.ndarray) -> float:
    """Mean square distance of rows from the mean of their class."""
    means = np.stack([rows[labels == k].mean(axis=0) for k in range(10)])
    return float(((rows - means[labels]) ** 2).sum(axis=1).mean())


steps, rows = [], []
for step in range(701):
    if step in (0, 3, 10, 30, 60, 100, 200, 300, 400, 500, 600, 700):
        head, features = network[-1], network[:-1](inputs).detach().requires_grad_()
        value = nn.functional.cross_entropy(head(features), labels) + decay / total / 2 * (features**2).sum()
        (gradient,) = torch.autograd.grad(value, features)
        found = features.detach().numpy()
        weight, bias = head.weight.detach().numpy(), head.bias.detach().numpy()
        excess = ec.ufm.excess(problem, found, labels.numpy(), weight, bias, solution=solution)
        steps.append(step)
        from_loss, from_gradient = 2 * excess.total / decay, (total / decay) ** 2 * spread(gradient.numpy())
        rows.append((spread(found), from_loss, from_gradient, excess.distance, excess.guarantee))
    optimizer.zero_grad()
    nn.functional.cross_entropy(network(inputs), labels).backward()
    optimizer.step()
    scheduler.step()
measured, from_loss, from_gradient, distance, guarantee = np.array(rows).T
print("  step  tr Σ_W  by the loss  by the gradient   outputs  guaranteed")
for step, values in zip(steps, rows, strict=True):
    print(f"{step:6} {values[0]:7.3f} {values[1]:12.3f} {values[2]:16.3f} {values[3]:9.2e} {values[4]:11.2e}")

# %%
# Both hold at every step, and the loss bounds better in all but the first few. The gradient counts every difference
# within a class at the curvature :math:`\lambda_H`, the least that there is, while differences that the classifier sees
# have a larger one. It is the tighter one where the loss is far from its minimum for other reasons, and the only one
# where no minimum is known.

claim("pan2023", "spread over its bound by the loss", (measured / from_loss).max(), below=1.0)
claim("wu2025", "spread over its bound by the gradient", (measured / from_gradient).max(), below=1.0)
print(f"at the end: {from_loss[-1] / measured[-1]:.1f} times the spread by the loss,", end=" ")
print(f"{from_gradient[-1] / measured[-1]:.1f} times by the gradient")
assert from_gradient[0] < from_loss[0]
assert from_loss[-1] < from_gradient[-1]
assert (distance <= guarantee).all()

# %%
# Cosines under squared error
# ---------------------------
#
# Under squared error and without a bias the loss bounds the whole geometry. Let A be the classifier times
# :math:`\sqrt{\lambda_W}`, and B the class means times :math:`\sqrt{\pi_k N\lambda_H}`, so that :math:`AB = cZ`. Three
# steps lead from the excess ε to the cosines.
#
# * One part of ε is the imbalance :math:`\varepsilon_1 = (|A|^2 + |B|^2)/2 - |AB|_*`. With the polar factor P of AB it
#   is at least :math:`|B - A^\top P|^2/2`, and :math:`B^\top B - |AB| = (B - A^\top P)^\top B`. So :math:`B^\top B` is
#   within :math:`\sqrt{2\varepsilon_1}\,|B|_{op}` of :math:`c|Z|`.
# * Another part is at least :math:`|Z - Z^*|^2/2`, and :math:`|Z|` is within :math:`\sqrt 2\,|Z - Z^*|` of
#   :math:`|Z^*|`.
# * Both parts together are at most ε. So :math:`B^\top B` is within :math:`\nu = \sqrt{2\varepsilon(|B|_{op}^2 +
#   2c^2)}` of the predicted one, and no cosine is further off than :math:`2\nu` over the smallest squared norm that is
#   predicted.

targets = torch.eye(10, dtype=torch.float64)[labels]
network = nn.Sequential(
    nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.BatchNorm1d(64, eps=1e-10), nn.Linear(64, 10, bias=False)
).double()
decay = 0.05
optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=decay)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 1000)
problem = ec.ufm.batch_norm_problem(
    ec.encodings.one_hot(10), 30, weight_decay=decay, gain_decay=decay, bias_decay=np.inf, loss="mse"
)
solution = ec.ufm.solve(problem)
wanted = solution.geometry.cosines()
smallest = decay * np.diag(solution.geometry.feature_gram).min() / 10
moments, turned = [], []
for step in range(1001):
    if step in (10, 30, 100, 200, 300, 400, 500, 600, 700, 800, 900, 1000):
        found, weight = network[:-1](inputs).detach().numpy(), network[-1].weight.detach().numpy()
        excess = ec.ufm.excess(problem, found, labels.numpy(), weight, np.zeros(10), solution=solution)
        means = np.stack([found[labels == k].mean(axis=0) for k in range(10)])
        norms = np.linalg.norm(means, axis=1)
        off = np.abs(means @ means.T / norms[:, None] / norms - wanted).max()
        size = decay * np.linalg.norm(means, 2) ** 2 / 10
        moments.append(step)
        turned.append((off, 2 * np.sqrt(2 * excess.total * (size + 2 * decay**2)) / smallest))
    optimizer.zero_grad()
    (0.5 * (network(inputs) - targets) ** 2).sum(dim=1).mean().backward()
    optimizer.step()
    scheduler.step()
angles, bound = np.array(turned).T
print("  step  cosines off  at most, by the loss")
for step, values in zip(moments, turned, strict=True):
    print(f"{step:6} {values[0]:12.2e} {values[1]:21.2e}")
claim("pan2023", "squared error: cosines over their bound", (angles / bound).max(), below=1.0)

# %%
# No cosine can be off by more than 2, so the bound says something only near the end, and there it is some hundred times
# the measured error: it falls with the root of the excess, of which little goes into the angles.

# %%
# A trained linear layer, by loss, gradient and decay
# ---------------------------------------------------
#
# The gradient at the features is no gradient of a network: at rest it is the parameters that have none. Where a
# linear layer V makes the features :math:`h = V\varphi` of the activations below, as in the paper, its own gradient
# :math:`G` will do, decay :math:`\lambda V` included. Let P be the projection onto the features that the classifier W
# does not see.
#
# * What W sees of :math:`h_i - h_j` is at most the difference of the outputs over :math:`\sigma`, its smallest singular
#   value above 0. Outputs of a class are spread by no more than the mean of :math:`|o - e|^2`, twice the squared error
#   L.
# * The loss of the data does not pull at what W does not see. So there :math:`PG = \lambda PV`, and the rest of the
#   spread is at most :math:`|PG|^2/\lambda^2` times the largest variance of the activations within the classes.
#
# So :math:`\operatorname{tr}\Sigma_W \le 2L/\sigma^2 + |PG|^2/\lambda^2 \cdot |\Sigma_W(\varphi)|_{op}` for every
# network with such a tail, at rest or not. The first term stays at rest, as decay keeps the loss above 0, and the
# second goes. The head has no bias here: beside a bias the classifier hardly uses the common direction of one-hot
# labels, and σ is small.

torch.manual_seed(0)
network = nn.Sequential(
    nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 24, bias=False), nn.Linear(24, 10, bias=False)
).double()
decay = 3e-3
optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=decay)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 800)
moments_linear, linear = [], []
for step in range(801):
    value = (0.5 * (network(inputs) - targets) ** 2).sum(dim=1).mean()
    if step in (0, 10, 30, 60, 100, 200, 300, 400, 600, 800):
        inner, head = network[2].weight, network[3].weight.detach().numpy()
        (gradient,) = torch.autograd.grad(value + decay / 2 * (inner**2).sum(), inner, retain_graph=True)
        activations, found = network[:2](inputs).detach().numpy(), network[:3](inputs).detach().numpy()
        means = np.stack([activations[labels == k].mean(axis=0) for k in range(10)])
        variance = np.linalg.norm(activations - means[labels], 2) ** 2 / total
        _, sizes, seen = np.linalg.svd(head, full_matrices=False)
        unseen = gradient.numpy() - seen.T @ (seen @ gradient.numpy())
        by_fit, by_rest = 2 * value.item() / sizes[-1] ** 2, (np.linalg.norm(unseen) / decay) ** 2 * variance
        moments_linear.append(step)
        linear.append((spread(found), by_fit, by_rest))
    optimizer.zero_grad()
    value.backward()
    optimizer.step()
    scheduler.step()
spreads, by_fit, by_rest = np.array(linear).T
print("  step  tr Σ_W  at most  of that by the loss")
for step, values in zip(moments_linear, linear, strict=True):
    print(f"{step:6} {values[0]:7.3f} {values[1] + values[2]:8.3f} {values[1]:20.3f}")
claim("wu2025", "linear layer: spread over its bound", (spreads / (by_fit + by_rest)).max(), below=1.0)
between = float(((found - found.mean(axis=0)) ** 2).sum(axis=1).mean()) - spreads[-1]
print(f"at the end: {(by_fit + by_rest)[-1] / spreads[-1]:.1f} times the spread within classes,", end=" ")
print(f"{(by_fit + by_rest)[-1] / between:.2f} times that of the class means")
assert (by_fit + by_rest)[-1] < between / 2

# %%
# So this bound says by itself that the features have collapsed: it ends well below the spread of the class means.

with house_style("bounds"):
    figure, grid = plt.subplots(2, 2, figsize=(7.2, 6.2), layout="constrained")
    axes = grid.ravel()
    axes[0].semilogy(steps, measured, "o-", color="#0072b2", label="measured")
    axes[0].semilogy(steps, from_loss, "--", color="#d55e00", label="at most, by the loss")
    axes[0].semilogy(steps, from_gradient, ":", color="#009e73", label="at most, by the gradient")
    axes[0].set(xlabel="step", ylabel="within-class variance", ylim=(0.1, 3e4))
    axes[0].legend()
    axes[1].semilogy(steps, distance, "o-", color="#0072b2", label="measured")
    axes[1].semilogy(steps, guarantee, "--", color="#d55e00", label="guaranteed")
    axes[1].set(xlabel="step", ylabel="divergence of the outputs")
    axes[1].legend()
    axes[2].semilogy(moments, angles, "o-", color="#0072b2", label="measured")
    axes[2].semilogy(moments, bound, "--", color="#d55e00", label="at most, by the loss")
    axes[2].set(xlabel="step", ylabel="largest error of a cosine")
    axes[2].legend()
    axes[3].semilogy(moments_linear, spreads, "o-", color="#0072b2", label="measured")
    axes[3].semilogy(moments_linear, by_fit + by_rest, "--", color="#d55e00", label="at most, by loss and gradient")
    axes[3].set(xlabel="step", ylabel="within-class variance, linear layer")
    axes[3].legend()
plt.show()
