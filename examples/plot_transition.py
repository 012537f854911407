r"""
The frame turns: cosine of the class means against the bias decay
=================================================================

For balanced one-hot labels the uncentered class means are *exactly* a simplex equiangular tight frame up to a
critical bias decay, and turn toward an orthogonal frame beyond it :cite:p:`massion2026`. The position of the
critical point is set by :math:`t = c\sqrt K` alone.
"""

import math

import matplotlib.pyplot as plt
import numpy as np

import encollapse as ec
from encollapse.report.style import house_style

num_classes, count, weight_decay = 10, 100, 5e-3
grid = np.geomspace(1e-2, 1e2, 121)

with house_style("transition"):
    figure, axes = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
    for t, color in ((0.1, "#56b4e9"), (0.3, "#0072b2"), (0.6, "#d55e00")):
        feature_decay = t**2 / (num_classes * num_classes * count * weight_decay)
        problem = ec.ufm.Problem(
            ec.encodings.one_hot(num_classes), count, weight_decay=weight_decay, feature_decay=feature_decay
        )
        path = ec.ufm.bias_path(problem, grid)
        axes.semilogx(path.bias_decays, path.mean_cosine, color=color, label=f"t = {t}")
        axes.axvline(path.critical, color=color, linestyle=":", linewidth=1)

        # Every point is a proved global minimum, and the critical point is t / (1 - t).
        assert all(solution.certificate.holds for solution in path.solutions)
        assert math.isclose(path.critical, t / (1 - t), rel_tol=1e-12)
        below = path.bias_decays < path.critical
        np.testing.assert_allclose(path.mean_cosine[below], -1 / (num_classes - 1), atol=1e-12)

    axes.axhline(-1 / (num_classes - 1), color="0.6", linewidth=0.8)
    axes.axhline(0, color="0.6", linewidth=0.8)
    axes.text(1e-2, -1 / (num_classes - 1) + 0.002, "simplex frame", color="0.4", fontsize=9)
    axes.text(1e-2, 0.002, "orthogonal frame", color="0.4", fontsize=9)
    axes.set(xlabel=r"bias decay $\lambda_b$", ylabel="cosine between class means", ylim=(-0.12, 0.012))
    axes.legend(frameon=False, loc="center right")
plt.show()
