"""
The encodings, side by side
===========================

Every encoding by name for the same twelve classes, as the Gram matrix of its codewords scaled to cosines: one
row and column a class, blue where two codewords point apart, orange where they point together.
"""

import matplotlib.pyplot as plt
import numpy as np

import encollapse as ec
from encollapse.encodings.registry import ENCODINGS
from encollapse.report.style import DIVERGING, GREY, house_style

K = 12

# %%
# Most encodings need the number of classes only. Some are told how long a codeword may be, and three are described by
# data: a tree of classes, a similarity matrix, or the sets of labels that occur.

tree = [[["oak", "elm"], ["fir", "yew"]], [["cat", "dog"], ["cow", "pig"]], [["owl", "jay"], ["cod", "eel"]]]
blocks = np.kron(np.eye(3), np.ones((4, 4)))
similarity = 0.5 * blocks + 0.3 * 0.8 ** np.abs(np.subtract.outer(np.arange(K), np.arange(K))) + 0.2 * np.eye(K)
label_sets = [{0}, {1}, {2}, {3}, {0, 1}, {1, 2}, {2, 3}, {0, 3}, {0, 1, 2}, {1, 2, 3}, {0, 2, 3}, {0, 1, 3}]
options = {
    "scaled-one-hot": {"on": 8.0, "off": -1.0},
    "error-correcting": {"code_dim": 8},
    "spherical": {"code_dim": 4},
    "random": {"code_dim": 8},
    "hierarchical": {"tree": tree},
    "from-similarity": {"S": similarity},
    "multi-label": {"label_sets": label_sets, "num_labels": 4},
}
encodings = {
    name: ec.encodings.by_name(name, K, **options.get(name, entry.example_for(K))) for name, entry in ENCODINGS.items()
}


def cosines(encoding: ec.encodings.Encoding) -> np.ndarray:
    gram = encoding.gram()
    lengths = np.sqrt(np.diag(gram))
    scale = np.where(lengths > 0, lengths, np.inf)
    return gram / np.outer(scale, scale)


def draw(title: str, matrices: dict[str, np.ndarray], note: dict[str, str]) -> None:
    columns = 5
    rows = -(-len(matrices) // columns)
    with house_style("encodings"):
        figure, grid = plt.subplots(rows, columns, figsize=(9.2, 1.92 * rows + 0.35), layout="constrained")
        figure.get_layout_engine().set(w_pad=0.08, h_pad=0.07)
        for axes in grid.flat[len(matrices) :]:
            axes.set_axis_off()
        for axes, (name, matrix) in zip(grid.flat, matrices.items(), strict=False):
            image = axes.imshow(matrix, cmap=DIVERGING, vmin=-1, vmax=1, interpolation="none")
            axes.set_title(name, loc="left", fontsize=9, pad=4)
            axes.set_xlabel(note[name], loc="left", fontsize=7.5, color=GREY, labelpad=3)
            axes.set_xticks([])
            axes.set_yticks([])
            for spine in axes.spines.values():
                spine.set(visible=True, linewidth=0.6, color=GREY)
        bar = figure.colorbar(image, ax=grid, shrink=0.6, aspect=30, ticks=[-1, -0.5, 0, 0.5, 1])
        bar.outline.set(linewidth=0.5, edgecolor=GREY)
        bar.ax.tick_params(width=0.5, length=2)
        bar.set_label("cosine")
        figure.suptitle(title, x=0.01, ha="left", fontsize=11)
        plt.show()


# %%
# q is the length of a codeword. Hadamard codewords are orthogonal like one-hot labels, and a simplex is what one-hot
# becomes when its mean is taken away. The thermometer for ordered classes begins at the zero codeword, which has no
# direction: its row is white.

raw = {name: cosines(encoding) for name, encoding in encodings.items()}
draw("Codewords of twelve classes", raw, {name: f"q = {e.code_dim}" for name, e in encodings.items()})

# %%
# What a network makes of them at ``bias_decay=0`` is decided by the centered codewords, for the bias takes up the mean.
# Below are the class means at the minimum for balanced data, with a threshold low enough for every direction to be
# learned. All affine images of one-hot have become the same simplex.

means = {}
for name, encoding in encodings.items():
    problem = ec.ufm.Problem(encoding, 100, weight_decay=1e-3, feature_decay=1e-5, bias_decay=0.0)
    means[name] = ec.ufm.solve(problem).geometry.cosines()
rank = {name: f"rank {np.linalg.matrix_rank(e.centered().codewords, tol=1e-9)}" for name, e in encodings.items()}
draw("Class means at the minimum, bias free", means, rank)

# %%
# The pictures against theory: at a free bias one-hot and all its affine images give a simplex equiangular tight frame.

for name in ("one-hot", "label-smoothing", "scaled-one-hot", "one-vs-rest", "simplex"):
    assert np.abs(means[name] - ec.simplex_etf_gram(K)).max() < 1e-9, name
