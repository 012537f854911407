"""
When deep neural collapse is not the minimum
============================================

With a ReLU between the layers, deep neural collapse gives every class an axis of its own in each hidden layer. For two
classes that is the global minimum :cite:p:`sukenik2023`. For more classes and layers there are solutions of lower rank
and lower loss :cite:p:`sukenik2024`. Here are six classes and four layers.
"""

import matplotlib.pyplot as plt
import numpy as np

import encollapse as ec


def claim(source: str, statement: str, error: float, *, below: float) -> None:
    """One line of the table in the documentation, and its assertion."""
    print(f"{source:18} {statement:48} {error:.1e}")
    assert error <= below


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
figure, axes = plt.subplots(1, 3, figsize=(9, 3), layout="constrained")
size = float(np.abs(before).max())
for ax, values, title in (
    (axes[0], before[order], "before the last ReLU"),
    (axes[1], np.maximum(before, 0.0)[order], "after it"),
):
    ax.imshow(values, cmap="RdBu_r", vmin=-size, vmax=size)
    ax.set(title=title, xlabel="class", ylabel="unit")
spectrum = np.linalg.svd(before, compute_uv=False)
axes[2].bar(range(1, 7), spectrum, label="before")
axes[2].plot(range(1, 7), np.linalg.svd(np.maximum(before, 0.0), compute_uv=False), "ko", label="after")
axes[2].set(title="singular values", xlabel="index")
axes[2].legend()

assert solution.certificate.holds
assert solution.certificate.lower_bound < solution.loss
share = solution.loss / problem.deep_collapse_loss()
claim("sukenik2024", "lowest loss over that of deep collapse", share, below=0.95)
assert max(solution.layer_ranks) < 6
