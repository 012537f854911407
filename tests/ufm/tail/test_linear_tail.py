"""Linear tails over given activations: against training of the explicit layers, and against the plain model."""

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize

import encollapse as ec
from encollapse.errors import EncollapseError
from encollapse.ufm.tail.activations import Activations
from encollapse.ufm.tail.squared import Penalized, minimize_penalized
from reference.tail_reference import encoding_for, fit, gram_error, sample, train_tail

Array = NDArray[np.float64]


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize(
    ("num_classes", "code_dim", "width", "num_samples"), [(5, 3, 7, 41), (3, 3, 2, 29), (7, 7, 53, 31)]
)
@pytest.mark.parametrize(("bias_decay", "inner_bias_decay"), [(0.0, math.inf), (0.3, 0.2), (math.inf, math.inf)])
def test_the_formula_is_the_minimum_over_explicit_layers(
    loss: str, num_classes: int, code_dim: int, width: int, num_samples: int, bias_decay: float, inner_bias_decay: float
) -> None:
    encoding = encoding_for(num_classes, code_dim, loss)
    labels, activations = sample(num_classes, num_samples, width)
    problem = ec.ufm.TailProblem(
        encoding,
        labels,
        activations,
        weight_decay=0.03,
        inner_decay=0.05,
        inner_bias_decay=inner_bias_decay,
        bias_decay=bias_decay,
        loss=loss,
    )
    solution = ec.ufm.solve(problem)
    trained = train_tail(
        encoding.codewords[:, labels], activations, (0.05, 0.03), bias_decay, loss, inner_bias_decay=inner_bias_decay
    )
    assert solution.certificate.kind == "duality_gap"
    assert solution.certificate.holds
    assert solution.loss == pytest.approx(trained.loss, rel=1e-10)
    assert solution.certificate.lower_bound <= trained.loss * (1 + 1e-12)
    assert problem.objective(solution.matrix, solution.bias) == pytest.approx(solution.loss, rel=1e-12)
    assert gram_error(trained.features, solution.features()) < 1e-5
    # Cross-entropy does not see a common part of the bias, which is free at a decay of 0.
    seen = float(loss == "mse" or bias_decay > 0)
    off = solution.bias - trained.bias
    np.testing.assert_allclose(off - (1 - seen) * off.mean(), 0.0, atol=1e-6)
    classifier = solution.geometry.classifier_gram
    assert classifier is not None
    np.testing.assert_allclose(classifier, trained.weight @ trained.weight.T, atol=1e-5 * np.abs(classifier).max())


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_geometry_is_what_measurement_makes_of_the_features(loss: str) -> None:
    labels, activations = sample(5, 43, 7)
    encoding = ec.encodings.one_hot(5)
    problem = ec.ufm.TailProblem(
        encoding, labels, activations, weight_decay=0.02, inner_decay=0.03, bias_decay=0.1, loss=loss
    )
    solution = ec.ufm.solve(problem)
    weight, _, bias = solution.parameters(solution.rank)
    measured = ec.measure.collapse(solution.features(), labels, encoding=encoding)
    np.testing.assert_allclose(measured.geometry.feature_gram, solution.geometry.feature_gram, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(measured.geometry.within, solution.geometry.within, rtol=1e-9)
    assert measured.nc1_trace_ratio == pytest.approx(solution.nc1_trace_ratio, rel=1e-9)
    assert weight.shape == (5, solution.rank)
    assert bias.shape == (5,)
    outputs = problem.data.outputs(solution.matrix)
    means = np.stack([outputs[:, labels == k].mean(axis=1) for k in range(5)], axis=1)
    assert solution.geometry.class_outputs is not None
    np.testing.assert_allclose(solution.geometry.class_outputs, means, atol=1e-12)


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize("bias_decay", [0.0, 0.3, math.inf])
def test_orthogonal_activations_of_the_classes_give_the_plain_model(loss: str, bias_decay: float) -> None:
    """With ``φ_i = a e_k/√n_k`` the inner layer is free features whose decay is ``λ_V/a²``."""
    counts = [3, 5, 7, 2, 11]
    labels = np.repeat(np.arange(5), counts)
    scale = 3.7
    activations = scale * np.eye(5)[labels] / np.sqrt(counts)[labels, None]
    encoding = ec.encodings.one_hot(5)
    tail = ec.ufm.solve(
        ec.ufm.TailProblem(
            encoding, labels, activations, weight_decay=0.02, inner_decay=0.03, bias_decay=bias_decay, loss=loss
        )
    )
    plain = ec.ufm.solve(
        ec.ufm.Problem(
            encoding, counts, weight_decay=0.02, feature_decay=0.03 / scale**2, bias_decay=bias_decay, loss=loss
        )
    )
    assert tail.loss == pytest.approx(plain.loss, rel=1e-12)
    np.testing.assert_allclose(tail.geometry.feature_gram, plain.geometry.feature_gram, atol=1e-8)
    np.testing.assert_allclose(tail.bias, plain.bias, atol=1e-8)
    for name in ("classifier_gram", "class_outputs"):
        np.testing.assert_allclose(getattr(tail.geometry, name), getattr(plain.geometry, name), atol=1e-8)
    assert tail.nc1_trace_ratio < 1e-20


def test_any_convex_loss_is_certified() -> None:
    class Huber(ec.ufm.SeparableLoss):
        name = "huber"
        smoothness = 1.0

        def phi(self, o: Array, p: Array) -> Array:
            e = np.abs(o - p)
            return np.where(e < 0.2, 0.5 * e**2, 0.2 * e - 0.02)

        def slope(self, o: Array, p: Array) -> Array:
            return np.clip(o - p, -0.2, 0.2)

        def second_derivative(self, o: Array, p: Array) -> Array:
            return np.where(np.abs(o - p) < 0.2, 1.0, 0.0)

        def conjugate_phi(self, y: Array, p: Array) -> Array:
            return p * y + 0.5 * y**2

        def slopes(self, p: Array) -> tuple[Array, Array]:
            return np.full_like(p, -0.2), np.full_like(p, 0.2)

    labels, activations = sample(5, 41, 7)
    problem = ec.ufm.TailProblem(
        ec.encodings.one_hot(5), labels, activations, weight_decay=0.01, inner_decay=0.02, bias_decay=0.1, loss=Huber()
    )
    solution = ec.ufm.solve(problem)
    assert solution.certificate.holds
    generator = np.random.default_rng(0)
    for size in (1e-3, 1e-1):
        near = solution.matrix + size * generator.standard_normal(solution.matrix.shape)
        assert problem.objective(near, solution.bias) > solution.loss


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_degenerate_activations(loss: str) -> None:
    """Duplicated columns, a constant column and a rank below both sides change nothing that the outputs see."""
    labels, activations = sample(3, 31, 2)
    decays: dict[str, Any] = {"weight_decay": 0.02, "bias_decay": 0.2, "loss": loss}
    encoding = ec.encodings.one_hot(3)
    plain = ec.ufm.solve(ec.ufm.TailProblem(encoding, labels, activations, inner_decay=0.03, **decays))
    # Two copies of every column, at half the decay each, cost as much as one.
    twice = ec.ufm.TailProblem(encoding, labels, np.hstack([activations, activations]), inner_decay=0.06, **decays)
    doubled = ec.ufm.solve(twice)
    assert doubled.loss == pytest.approx(plain.loss, rel=1e-10)
    assert gram_error(doubled.features(), plain.features()) < 1e-7
    # Rotated into more dimensions than there are samples.
    frame = np.linalg.qr(np.random.default_rng(1).standard_normal((97, 2)))[0]
    wide = ec.ufm.solve(ec.ufm.TailProblem(encoding, labels, activations @ frame.T, inner_decay=0.03, **decays))
    assert wide.loss == pytest.approx(plain.loss, rel=1e-10)
    assert gram_error(wide.features(), plain.features()) < 1e-7


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize("activations", [np.zeros((12, 5)), np.ones((12, 5)), 1e-9 * np.eye(12, 5)])
def test_nothing_to_learn_from(loss: str, activations: Array) -> None:
    labels = np.arange(12) % 3
    problem = ec.ufm.TailProblem(
        ec.encodings.one_hot(3), labels, activations, weight_decay=0.5, inner_decay=0.5, bias_decay=0.0, loss=loss
    )
    solution = ec.ufm.solve(problem)
    assert solution.rank == 0
    assert solution.status is ec.ufm.Status.COLLAPSED
    assert math.isnan(solution.nc1_trace_ratio)


def test_the_threshold_is_where_learning_starts() -> None:
    """``c_V`` against the largest singular value of the centered products, from both sides."""
    labels, activations = sample(5, 41, 7)
    targets = np.eye(5)[:, labels]
    centered = targets - targets.mean(axis=1, keepdims=True)
    largest = float(np.linalg.norm(centered @ activations / 41, 2))
    for factor, rank in ((1.001, 0), (0.999, 1)):
        problem = ec.ufm.TailProblem(
            ec.encodings.one_hot(5), labels, activations, weight_decay=factor * largest, inner_decay=factor * largest
        )
        assert problem.threshold == pytest.approx(factor * largest)
        assert ec.ufm.solve(problem).rank == rank


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_a_class_without_samples_is_nan_and_no_more(loss: str) -> None:
    labels, activations = sample(5, 41, 7)
    labels[labels == 3] = 1
    decays: dict[str, Any] = {"weight_decay": 0.02, "inner_decay": 0.03, "bias_decay": 0.2, "loss": loss}
    solution = ec.ufm.solve(ec.ufm.TailProblem(ec.encodings.one_hot(5), labels, activations, **decays))
    gram = solution.geometry.feature_gram
    assert np.isnan(gram[3]).all()
    assert np.isfinite(np.delete(np.delete(gram, 3, 0), 3, 1)).all()
    assert np.isfinite(solution.nc1_trace_ratio)


def valid(**changes: Any) -> dict[str, Any]:
    labels, activations = sample(3, 11, 5)
    return {
        "encoding": ec.encodings.one_hot(3),
        "labels": labels,
        "activations": activations,
        "weight_decay": 0.1,
        "inner_decay": 0.1,
        **changes,
    }


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"labels": np.full(11, 3)}, "labels: expected values from 0 to 2"),
        ({"labels": np.zeros(10, dtype=int)}, "activations: expected shape"),
        ({"labels": np.zeros(0, dtype=int), "activations": np.zeros((0, 5))}, "labels: expected at least one sample"),
        ({"labels": np.zeros(11)}, "labels: expected whole numbers"),
        ({"activations": np.full((11, 5), np.nan)}, "activations: every entry must be finite"),
        ({"activations": np.zeros(11)}, "activations: expected shape"),
        ({"activations": np.zeros((11, 5), dtype=int)}, "activations: expected floating-point"),
        ({"weight_decay": 0.0}, "weight_decay"),
        ({"inner_decay": -1.0}, "inner_decay"),
        ({"inner_decay": (0.1, 0.2)}, "inner_decay: expected one number"),
        ({"inner_bias_decay": 0.0}, "inner_bias_decay: at 0"),
        ({"inner_bias_decay": 0.1, "layers": 3}, "inner_bias_decay: with layers=3"),
        ({"layers": 1}, "layers"),
        ({"loss": "hinge"}, "loss"),
        ({"encoding": np.eye(3)}, "encoding: expected an Encoding"),
        ({"loss": "cross_entropy", "labels": np.zeros(11, dtype=int)}, "bias_decay: at 0 there is no minimizer"),
    ],
)
def test_bad_input_is_named(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(EncollapseError, match=text):
        ec.ufm.TailProblem(**valid(**changes))


@pytest.mark.parametrize("common", [1e4, 1e8, 1e10])
def test_a_common_part_beyond_its_digits_is_never_certified_wrongly(common: float) -> None:
    """Under cross-entropy a free bias takes up what all activations share, in exact arithmetic."""
    labels, activations = sample(3, 60, 7)
    decays: dict[str, Any] = {"weight_decay": 0.03, "inner_decay": 0.03, "loss": "cross_entropy"}
    exact = ec.ufm.solve(ec.ufm.TailProblem("one-hot", labels, activations, **decays))
    moved = ec.ufm.solve(ec.ufm.TailProblem("one-hot", labels, activations + common, **decays), throw=False)
    slack = 64 * np.finfo(np.float64).eps * common  # what adding the common part changes in the activations themselves
    assert moved.certificate.lower_bound <= exact.loss * (1 + slack) + 1e-9
    assert moved.certificate.holds or moved.status is ec.ufm.Status.NOT_CERTIFIED
    assert not moved.certificate.holds or moved.loss <= exact.loss * (1 + slack + 1e-8)


def test_an_encoding_is_taken_by_name() -> None:
    labels = np.array([0, 1, 2, 2, 1, 0, 1, 2, 0, 1, 2])
    named = ec.ufm.TailProblem(**valid(encoding="one-vs-rest", labels=labels))
    given = ec.ufm.TailProblem(**valid(encoding=ec.encodings.one_vs_rest(3), labels=labels))
    np.testing.assert_array_equal(named.encoding.codewords, given.encoding.codewords)
    assert ec.ufm.solve(named).loss == ec.ufm.solve(given).loss
    with pytest.raises(EncollapseError, match="encoding: "):
        ec.ufm.TailProblem(**valid(encoding="one-hut"))


@pytest.mark.parametrize("name", ["weight_decay", "inner_decay", "inner_bias_decay", "activations"])
@pytest.mark.parametrize("size", [1e-170, 1e170])
def test_numbers_whose_squares_leave_float64_are_named(name: str, size: float) -> None:
    value = size * np.ones((11, 5)) if name == "activations" else size
    with pytest.raises(EncollapseError, match=f"{name}: expected .* between 1e-150 and 1e"):
        ec.ufm.TailProblem(**valid(**{name: value}))


@pytest.mark.parametrize(
    ("changes", "name"), [({}, "interior point"), ({"loss": "cross_entropy"}, "activations"), ({"layers": 3}, "layers")]
)
def test_the_method_of_a_tail_has_a_name(changes: dict[str, Any], name: str) -> None:
    assert ec.ufm.select_method(ec.ufm.TailProblem(**valid(**changes))) == name


def test_many_samples_take_few_products_with_their_activations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time goes into products with all activations, so they are counted; the bound is computed anew."""
    labels, base = sample(7, 19_000, 251)
    spectrum = 1.0 / np.sqrt(1.0 + np.arange(251))
    activations = np.maximum(base, 0.0) * spectrum
    encoding = ec.encodings.one_hot(7)
    targets = encoding.codewords[:, labels]
    centered = targets - targets.mean(axis=1, keepdims=True)
    decay = 0.01 * float(np.linalg.norm(centered @ activations / len(labels), 2))
    problem = ec.ufm.TailProblem(
        encoding, labels, activations, weight_decay=decay, inner_decay=decay, bias_decay=math.inf, loss="cross_entropy"
    )
    passes, forward = [], Activations.outputs

    def counted(self: Activations, matrix: Array) -> Array:
        passes.append(1)
        return forward(self, matrix)

    monkeypatch.setattr(Activations, "outputs", counted)
    solution = ec.ufm.solve(problem)
    assert len(passes) <= 40
    assert solution.iterations <= 40
    outputs = solution.matrix @ activations.T
    powers = np.exp(outputs - outputs.max(axis=0))
    dual = targets - powers / powers.sum(axis=0)
    share = min(1.0, decay / float(np.linalg.norm(dual @ activations / len(labels), 2)))
    drawn = targets - share * dual
    bound = -float(np.sum(drawn * np.log(np.where(drawn > 0, drawn, 1.0)))) / len(labels)
    assert solution.loss * (1 - 1e-8) <= bound <= solution.loss * (1 + 1e-12)


def test_directions_that_the_first_step_does_not_see_are_born() -> None:
    """Two classes whose activations cancel at first: the rank grows from what the dual asks for."""
    labels = np.repeat(np.arange(4), 11)
    generator = np.random.default_rng(5)
    activations = 3.0 * np.eye(4)[labels] @ np.diag([1.0, 0.5, 0.2, 0.08])
    activations = activations + 0.05 * generator.standard_normal((44, 4))
    decays: dict[str, Any] = {"weight_decay": 2e-3, "inner_decay": 2e-3, "loss": "cross_entropy"}
    problem = ec.ufm.TailProblem(ec.encodings.one_hot(4), labels, activations, bias_decay=0.01, **decays)
    solution = ec.ufm.solve(problem)
    trained = train_tail(np.eye(4)[:, labels], activations, (2e-3, 2e-3), 0.01, "cross_entropy")
    assert solution.certificate.holds
    assert solution.loss == pytest.approx(trained.loss, rel=1e-9)
    assert solution.rank == 3


def test_the_tail_does_not_see_later_changes_of_its_input() -> None:
    arguments = valid()
    problem = ec.ufm.TailProblem(**arguments)
    before = ec.ufm.solve(problem).loss
    arguments["activations"][:] = 0.0
    assert ec.ufm.solve(problem).loss == before


def test_tensors_are_taken() -> None:
    torch = pytest.importorskip("torch")
    arguments = valid()
    tensors = {
        **arguments,
        "labels": torch.as_tensor(arguments["labels"]),
        "activations": torch.tensor(arguments["activations"], requires_grad=True),
    }
    assert ec.ufm.solve(ec.ufm.TailProblem(**tensors)).loss == ec.ufm.solve(ec.ufm.TailProblem(**arguments)).loss


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_a_network_under_plain_decay_ends_in_the_predicted_geometry(loss: str) -> None:
    """Digits through a ReLU layer, an inner linear layer and a head, all trained together; nothing is fitted."""
    data = ec.data.load("digits").train
    kept = np.flatnonzero(np.asarray(data.labels) < 5)[:331]
    inputs = np.asarray(data.inputs, dtype=np.float64)[kept].reshape(len(kept), -1)
    inputs = (inputs - inputs.mean()) / inputs.std()
    labels, targets = np.asarray(data.labels)[kept], np.eye(5)[:, np.asarray(data.labels)[kept]]
    hidden, width, decay, bias_decay = 23, 11, 3e-3, 0.05
    shapes: list[tuple[int, ...]] = [(hidden, inputs.shape[1]), (hidden,), (width, hidden), (5, width), (5,)]
    ends = np.cumsum([math.prod(shape) for shape in shapes])

    def parts(x: Array) -> list[Array]:
        return [part.reshape(shape) for part, shape in zip(np.split(x, ends[:-1]), shapes, strict=True)]

    def objective(x: Array) -> tuple[float, Array]:
        first, shift, inner, head, bias = parts(x)
        before = first @ inputs.T + shift[:, None]
        active = np.maximum(before, 0.0)
        features = inner @ active
        value, change = fit(head @ features + bias[:, None], targets, loss)
        back = inner.T @ (head.T @ change) * (before > 0)
        gradient = [back @ inputs + decay * first, back.sum(axis=1) + decay * shift]
        gradient += [head.T @ change @ active.T + decay * inner, change @ features.T + decay * head]
        gradient.append(change.sum(axis=1) + bias_decay * bias)
        value += 0.5 * decay * sum(float(np.sum(part**2)) for part in parts(x)[:4])
        value += 0.5 * bias_decay * float(bias @ bias)
        return value, np.concatenate([g.ravel() for g in gradient])

    start = 0.3 * np.random.default_rng(0).standard_normal(ends[-1])
    options = {"maxiter": 4000, "maxfun": 5000, "maxcor": 30, "ftol": 0.0, "gtol": 1e-8}
    found = minimize(objective, start, jac=True, method="L-BFGS-B", options=options)
    first, shift, inner, head, bias = parts(found.x)
    activations = np.maximum(inputs @ first.T + shift, 0.0)
    features = activations @ inner.T
    solution = ec.ufm.solve(
        ec.ufm.TailProblem(
            ec.encodings.one_hot(5),
            labels,
            activations,
            weight_decay=decay,
            inner_decay=decay,
            bias_decay=bias_decay,
            loss=loss,
        )
    )
    assert solution.certificate.holds
    measured = ec.measure.collapse(features, labels, weight=head, bias=bias, encoding=ec.encodings.one_hot(5))
    gram = solution.geometry.feature_gram
    assert np.linalg.norm(measured.geometry.feature_gram - gram) < 1e-3 * np.linalg.norm(gram)
    assert measured.nc1_trace_ratio == pytest.approx(solution.nc1_trace_ratio, rel=0.01)
    assert solution.nc1_trace_ratio > 1e-3
    np.testing.assert_allclose(bias, solution.bias, atol=5e-4)


@pytest.mark.parametrize("seed", range(3))
def test_one_learned_direction_among_many_is_found(seed: int) -> None:
    """The slope that is left is at most c: the path does not end at so small a barrier that it never gets there."""
    generator = np.random.default_rng(seed)
    left = np.linalg.qr(generator.standard_normal((6, 6)))[0]
    right = np.linalg.qr(generator.standard_normal((13, 6)))[0]
    products = (left * [0.12, 0.045, 0.026, 0.024, 0.015, 0.0064]) @ right.T
    penalized = Penalized(np.geomspace(0.003, 1.1, 13), products, 0.057)
    found, _ = minimize_penalized(penalized, accuracy=1e-13)
    assert np.linalg.norm(penalized.slope(found), 2) <= 0.057 * (1 + 1e-9)


@pytest.mark.parametrize("common", [2.0**40, 1.7e9])
@pytest.mark.parametrize("where", ["labels", "activations", "both"])
def test_a_common_part_that_the_bias_takes_up_changes_nothing(common: float, where: str) -> None:
    """A free bias absorbs a constant in labels and in activations, however large: the same minimum to rounding."""
    labels, activations = sample(5, 41, 7)
    spread = np.random.default_rng(2).integers(-8, 8, (3, 5)).astype(float)
    activations = np.round(activations * 2**10) / 2**10  # so that adding the constant is exact
    decays: dict[str, Any] = {"weight_decay": 0.05, "inner_decay": 0.05, "bias_decay": 0.0}
    plain = ec.ufm.solve(ec.ufm.TailProblem(ec.encodings.Encoding(spread), labels, activations, **decays))
    moved = ec.encodings.Encoding(spread + common * (where != "activations"))
    shifted = activations + common * (where != "labels")
    found = ec.ufm.solve(ec.ufm.TailProblem(moved, labels, shifted, **decays))
    assert found.certificate.holds
    assert found.rank == plain.rank
    assert found.loss == pytest.approx(plain.loss, rel=1e-9)
