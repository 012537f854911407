"""
When deep neural collapse is not the minimum
============================================

With a ReLU between the layers, deep neural collapse gives every class an axis of its own in each hidden layer. For two
classes that is the global minimum :cite:p:`sukenik2023`. For more classes and layers there are solutions of lower rank
and lower loss :cite:p:`sukenik2024`. Here are six classes and four layers.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.optimize import minimize

import encollapse as ec
from encollapse.report.style import DIVERGING, house_style


def claim(source: str, statement: str, error: float, *, below: float) -> None:
    """One line of the table in the documentation, and its assertion."""
    print(f"{source:18} {statement:48} {error:.1e}")
    assert error <= below


# %%
# Two classes
# -----------
#
# For two balanced classes ``solve`` returns deep collapse by the theorem. Here fifty descents from random features and
# layers check it: three layers of four units, three samples a class, each with features of its own. The lowest ends at
# the loss of deep collapse, with equal features within a class and orthogonal ones after every ReLU.

samples, width, depth, decay = 3, 4, 3, 0.02
two = ec.ufm.deep_relu_problem(
    ec.encodings.one_hot(2), samples, weight_decay=decay, feature_decay=decay, depth=depth, feature_dim=width
)
targets = torch.eye(2, dtype=torch.float64).repeat_interleave(samples, dim=1)
shapes = [(width, 2 * samples), (width, width), (width, width), (2, width)]
sizes = [rows * columns for rows, columns in shapes]


def split(flat: torch.Tensor) -> list[torch.Tensor]:
    """Features and layers out of one vector."""
    return [part.reshape(shape) for part, shape in zip(flat.split(sizes), shapes, strict=True)]


def loss_and_slope(x: np.ndarray) -> tuple[float, np.ndarray]:
    """The regularized squared error of features and layers."""
    flat = torch.tensor(x, requires_grad=True)
    values, *layers = split(flat)
    for layer in layers[:-1]:
        values = torch.relu(layer @ values)
    loss = ((layers[-1] @ values - targets) ** 2).sum() / (4 * samples) + decay / 2 * (flat**2).sum()
    loss.backward()
    return loss.item(), flat.grad.numpy()


random = np.random.default_rng(0)
options = {"maxiter": 3000, "ftol": 1e-16, "gtol": 1e-12}
ends = [
    minimize(loss_and_slope, 0.7 * random.standard_normal(sum(sizes)), jac=True, method="L-BFGS-B", options=options)
    for _ in range(50)
]
best = min(ends, key=lambda end: end.fun)
collapse = two.deep_collapse_loss()
print(f"deep collapse {collapse:.10f}, lowest of 50 descents {best.fun:.10f}")
assert best.fun > collapse * (1 - 1e-12)
claim("sukenik2023", "two classes: lowest descent over deep collapse", best.fun / collapse - 1, below=1e-8)
values, *layers = split(torch.tensor(best.x))
defects = []
for layer in layers[:-1]:
    values = torch.relu(layer @ values)
    means = values.reshape(width, 2, samples).mean(dim=2)
    spread = (values.reshape(width, 2, samples) - means[:, :, None]).abs().max()
    gram = means.T @ means
    defects += [float(spread / values.abs().max()), float((gram - gram[0, 0] * torch.eye(2)).abs().max() / gram[0, 0])]
claim("sukenik2023", "two classes: spread and angles of every layer", max(defects), below=1e-3)

# %%
# Six classes
# -----------

problem = ec.ufm.deep_relu_problem(ec.encodings.one_hot(6), 1, weight_decay=0.013, feature_decay=0.013, depth=4)
solution = ec.ufm.solve(problem)
print(f"deep neural collapse  {problem.deep_collapse_loss():.4f}")
print(f"lowest descent        {solution.loss:.4f}")
print(f"lower bound           {solution.certificate.lower_bound:.4f}")
print(f"ranks before ReLUs    {solution.layer_ranks}")

# %%
# The pre-activations of the last hidden layer have rank 3. The ReLU takes off what is negative and raises the rank
# to 6, so that the last weight layer can fit six labels. The features there are no orthogonal frame.

layers = solution.layers()
hidden = solution.inputs
for weight in layers[:-2]:
    hidden = np.maximum(weight @ hidden, 0.0)
before = layers[-2] @ hidden
order = np.argsort(before.argmax(axis=1), kind="stable")
with house_style("deep relu"):
    figure, axes = plt.subplots(1, 3, figsize=(9, 3), layout="constrained")
    size = float(np.abs(before).max())
    for ax, values, title in (
        (axes[0], before[order], "before the last ReLU"),
        (axes[1], np.maximum(before, 0.0)[order], "after it"),
    ):
        image = ax.imshow(values, cmap=DIVERGING, vmin=-size, vmax=size)
        ax.set(title=title, xlabel="class", ylabel="unit", xticks=range(6))
    figure.colorbar(image, ax=axes[:2], shrink=0.9, label="activation")
    spectrum = np.linalg.svd(before, compute_uv=False)
    axes[2].bar(range(1, 7), spectrum, label="before")
    axes[2].plot(range(1, 7), np.linalg.svd(np.maximum(before, 0.0), compute_uv=False), "ko", label="after")
    axes[2].set(title="singular values", xlabel="index", xticks=range(1, 7))
    axes[2].legend()

assert solution.certificate.holds
assert solution.certificate.lower_bound < solution.loss
share = solution.loss / problem.deep_collapse_loss()
claim("sukenik2024", "lowest loss over that of deep collapse", share, below=0.95)
assert max(solution.layer_ranks) < 6
