r"""
A simplex in spite of class imbalance
=====================================

With one-hot labels, the geometry that a last layer collapses to follows the class counts. Rare classes lose their
angles first: below a certain count their means merge, which is known as minority collapse :cite:p:`fang2021`. An
encoding can be *designed* instead, so that the minimizer is a simplex equiangular tight frame whatever the counts
are. The derivation is on the page :doc:`/design`.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

import encollapse as ec
from encollapse.report.style import BLUE, DIVERGING, GREY, INK, VERMILLION, house_style

# %%
# Three frequent classes and two rare ones, and the decays of the training.

counts = np.array([1000, 1000, 1000, 40, 40])
decays = {"weight_decay": 5e-3, "feature_decay": 8e-4, "bias_decay": 0.1}

# %%
# One-hot labels first. ``solve`` gives the global minimum, with a certificate.

one_hot = ec.encodings.one_hot(5)
usual = ec.ufm.solve(ec.ufm.Problem(one_hot, counts, **decays))
print(usual)
print("cosine between the two rare classes:", round(usual.geometry.cosine(3, 4), 4))

# %%
# Now the encoding whose minimizer is a simplex. Only the labels change: the counts and the decays stay.

designed = ec.ufm.design("simplex", counts, **decays)
fair = ec.ufm.solve(ec.ufm.Problem(designed, counts, **decays))
print("cosine between the two rare classes:", round(fair.geometry.cosine(3, 4), 4))

# %%
# The same question for every size of the rare classes, from balanced down to ten samples.

sizes = np.unique(np.rint(np.geomspace(10, 1000, 61)).astype(int))


def rare_pair(size: int, design: bool) -> tuple[np.ndarray, float]:
    """Gram matrix of the means of two classes with `size` samples, beside three with 1000."""
    some = np.array([1000, 1000, 1000, size, size])
    encoding = ec.ufm.design("simplex", some, **decays) if design else one_hot
    geometry = ec.ufm.solve(ec.ufm.Problem(encoding, some, **decays)).geometry
    return geometry.feature_gram[3:, 3:], geometry.cosine(3, 4)


grams, with_one_hot = zip(*(rare_pair(size, design=False) for size in sizes), strict=True)
_, with_design = zip(*(rare_pair(size, design=True) for size in sizes), strict=True)

# %%
# One-hot labels tell two classes of n samples apart by a singular value :math:`\sqrt{n/N}`, which is not learned up to
# the threshold :math:`c = \sqrt{N \lambda_W \lambda_H}`: they merge exactly when
# :math:`n \le N^2 \lambda_W \lambda_H`, and with fewer samples still even their common mean is zero. Designed codewords
# of rare classes ask for more, by just as much as is needed.

totals = 3000 + 2 * sizes
merged = sizes <= totals**2 * decays["weight_decay"] * decays["feature_decay"]
silent = np.isnan(with_one_hot)


def matrix(axes: Axes, values: np.ndarray, limit: float, title: str) -> None:
    """Draw a small matrix with its numbers."""
    axes.imshow(values, cmap=DIVERGING, vmin=-limit, vmax=limit, interpolation="none")
    for (row, column), value in np.ndenumerate(values):
        strong = abs(value) > 0.75 * limit
        text = f"{value:.2f}".replace("-", "−").removesuffix(".00").replace("0.", ".")
        axes.text(column, row, text, ha="center", va="center", fontsize=6.8, color="white" if strong else INK)
    axes.set_title(title, loc="center")
    axes.set_xticks(range(5), [f"{n}" for n in counts])
    axes.set_yticks([])
    axes.tick_params(length=0, labelsize=7, labelcolor=GREY)
    for spine in axes.spines.values():
        spine.set(visible=True, color=GREY, linewidth=0.5)


with house_style("design"):
    figure = plt.figure(figsize=(9.2, 4.5), layout="constrained")
    grid = figure.add_gridspec(2, 3, width_ratios=[1, 1, 2.35])
    rows = [("one-hot", one_hot, usual, VERMILLION), ("designed", designed, fair, BLUE)]
    for row, (name, encoding, solution, color) in enumerate(rows):
        left, right = (figure.add_subplot(grid[row, column]) for column in (0, 1))
        matrix(left, encoding.codewords, 1.6, "codewords" if row == 0 else "")
        matrix(right, solution.geometry.cosines(), 1.0, "cosines of class means" if row == 0 else "")
        left.set_ylabel(name, color=color, fontsize=10, fontweight="bold")
        right.add_patch(Rectangle((2.52, 2.52), 1.96, 1.96, fill=False, edgecolor=INK, linewidth=1.6))
    for axes in (left, right):
        axes.set_xlabel("samples of each class", color=GREY, fontsize=7.5)

    axes = figure.add_subplot(grid[:, 2])
    upper, lower = sizes[merged].max(), sizes[silent].max()
    axes.axvspan(lower, upper, color=VERMILLION, alpha=0.10, linewidth=0)
    axes.axvspan(sizes.min(), lower, color=VERMILLION, alpha=0.22, linewidth=0)
    axes.text(np.sqrt(lower * upper), 0.0, "merged", color=VERMILLION, rotation=90, ha="center", va="center")
    axes.text(
        np.sqrt(lower * sizes.min()), 0.0, "both at zero", color=VERMILLION, rotation=90, ha="center", va="center"
    )
    axes.plot(sizes, with_one_hot, color=VERMILLION, marker="o", markersize=3)
    axes.plot(sizes, with_design, color=BLUE, linewidth=2)
    axes.plot(counts[3], usual.geometry.cosine(3, 4), "o", markersize=9, markerfacecolor="none", color=INK)
    axes.plot(counts[3], fair.geometry.cosine(3, 4), "o", markersize=9, markerfacecolor="none", color=INK)
    axes.annotate(
        "the matrices on the left",
        (counts[3] * 1.06, usual.geometry.cosine(3, 4)),
        xytext=(-14, 0),
        textcoords="offset points",
        ha="right",
        va="center",
        color=GREY,
        fontsize=7.5,
    )
    axes.text(230, 0.22, "one-hot", color=VERMILLION, fontsize=10, fontweight="bold", ha="right")
    axes.text(700, -0.36, "designed: $-1/(K-1)$", color=BLUE, fontsize=10, fontweight="bold")
    axes.set(xscale="log", xlim=(1100, sizes.min()), ylim=(-0.45, 1.08))
    axes.set_xticks([1000, 300, 100, 30, 10], ["1000", "300", "100", "30", "10"])
    axes.minorticks_off()
    axes.set_xlabel("samples of each rare class (the others have 1000)")
    axes.set_title("cosine between the two rare classes")
plt.show()

# %%
# Both statements are theorems, so they can be asserted.

np.testing.assert_allclose(fair.geometry.cosines(), ec.simplex_etf_gram(5), atol=1e-9)
np.testing.assert_allclose(with_design, -0.25, atol=1e-9)
apart = np.array([gram[0, 0] + gram[1, 1] - 2 * gram[0, 1] for gram in grams])
np.testing.assert_array_equal(apart < 1e-12, merged)
assert usual.certificate.holds
assert fair.certificate.holds
