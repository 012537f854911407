"""
Train, measure, compare
=======================

A small network on real digits, trained on the objective of the unrestricted feature model with an encoding of our own,
reaches the exact minimizer that the theory predicts.
"""

import matplotlib.pyplot as plt
import numpy as np

import encollapse as ec
from encollapse.report.style import DIVERGING, house_style

# Three groups of digits: straight strokes, loops, and the rest. Codewords within a group are closer.
groups = [0, 1, 2, 2, 1, 2, 0, 1, 0, 0]
codewords = np.vstack([np.eye(10), 0.8 * np.eye(3)[:, groups]])
encoding = ec.encodings.Encoding(codewords, name="digit groups")

run = ec.train.fit("digits", encoding, weight_decay=5e-3, feature_decay=1e-3, bias_decay=0.1, progress=False)
print(run.comparison)

# %%
# The Gram matrices of the class means, predicted and measured, on one color scale.
predicted, measured = run.prediction.geometry.feature_gram, run.collapse.geometry.feature_gram
limit = np.abs(predicted).max()
with house_style("compare"):
    figure, axes = plt.subplots(1, 2, figsize=(7, 3.2), layout="constrained")
    for ax, gram, title in zip(axes, (predicted, measured), ("predicted", "measured"), strict=True):
        image = ax.imshow(gram, cmap=DIVERGING, vmin=-limit, vmax=limit)
        ax.set(title=title, xlabel="digit", ylabel="digit", xticks=range(10), yticks=range(10))
    figure.colorbar(image, ax=axes, shrink=0.9, label=r"$\langle m_k, m_l\rangle$")
plt.show()

assert run.prediction.certificate.holds
assert run.comparison.gram_error < 0.01
assert run.comparison.bias_error < 0.005
