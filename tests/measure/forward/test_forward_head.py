"""The module that is measured as the classifier is the classifier, or the call is refused with the cure."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from encollapse.errors import ArgumentError
from encollapse.measure import collapse, measure_model
from encollapse.measure.forward.head import Head, find_head
from encollapse.measure.forward.running import undisturbed

K, D, N, INPUTS = 5, 7, 53, 11
CPU = torch.device("cpu")


class Body(nn.Module):
    """A hidden layer, and a head of any kind on top of it."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.hidden, self.head = nn.Linear(INPUTS, D), head

    def features(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.hidden(x))

    def forward(self, x: torch.Tensor) -> Any:
        return self.head(self.features(x))


class Cosine(nn.Module):
    """16 times the cosine between features and weight."""

    def __init__(self, bias: bool = False) -> None:
        super().__init__()
        self.directions = nn.Parameter(torch.randn(K, D))
        self.bias = nn.Parameter(torch.randn(K)) if bias else None

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return functional.linear(16 * functional.normalize(h), functional.normalize(self.directions), self.bias)


class NormedLinear(nn.Linear):
    """A subclass of Linear that is not linear."""

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return functional.linear(functional.normalize(h), functional.normalize(self.weight)) * 3


class Distances(nn.Module):
    """Minus the squared distance to a prototype of each class: no linear map."""

    def __init__(self) -> None:
        super().__init__()
        self.prototypes = nn.Parameter(torch.randn(K, D))

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return -torch.cdist(h, self.prototypes).square()


class Transposed(nn.Module):
    """A linear map with its weight the other way round, and a factor."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix, self.shift = nn.Parameter(torch.randn(D, K)), nn.Parameter(torch.randn(K))

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return 2.5 * (h @ self.matrix) + self.shift


def data() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(N, INPUTS, generator=torch.Generator().manual_seed(1)), torch.arange(N) % K


def found(model: nn.Module, inputs: Any = None, head: str | None = None) -> Head:
    with undisturbed(model, CPU):
        return find_head(model, data()[0] if inputs is None else inputs, CPU, head)


def assert_acts(head: Head, outputs: torch.Tensor, eps: float = 1e-5) -> None:
    """``W h + b`` is the output of the network."""
    assert head.weight is not None
    rows = head.rows(head.features, (len(head.features),)).double()
    own = rows @ head.weight.double().T + (0.0 if head.bias is None else head.bias.double())
    torch.testing.assert_close(own, outputs.double().reshape(own.shape), rtol=eps, atol=eps)


def weight_normed() -> nn.Module:
    layer = nn.Linear(D, K)
    parametrizations.weight_norm(layer)
    return layer


def spectral_normed() -> nn.Module:
    layer = nn.Linear(D, K)
    parametrizations.spectral_norm(layer)
    return layer


HEADS: list[tuple[Any, str, bool]] = [
    (lambda: nn.Linear(D, K), "head", False),
    (lambda: nn.Linear(D, K, bias=False), "head", False),
    (lambda: nn.Sequential(nn.Dropout(0.5), nn.Linear(D, K)), "head.1", False),
    (lambda: nn.Sequential(nn.Linear(D, K), nn.Identity()), "head.0", False),
    (lambda: nn.Sequential(nn.Linear(D, 3), nn.Linear(3, K)), "head.1", False),
    (lambda: nn.Sequential(nn.Linear(D, K), nn.LogSoftmax(dim=1)), "head.0", False),
    (lambda: nn.Sequential(nn.Linear(D, K), nn.Softmax(dim=1)), "head.0", False),
    (lambda: nn.Sequential(nn.Linear(D, K), nn.Sigmoid()), "head.0", False),
    (weight_normed, "head", False),
    (spectral_normed, "head", False),
    (Transposed, "head", False),
    (Cosine, "head", True),
    (lambda: Cosine(bias=True), "head", True),
    (lambda: NormedLinear(D, K), "head", True),
]


@pytest.mark.parametrize(("head", "name", "on_sphere"), HEADS)
def test_the_weight_that_acts_gives_the_output_of_the_network(head: Any, name: str, on_sphere: bool) -> None:
    torch.manual_seed(0)
    model = Body(head())
    x, y = data()
    last = found(model)
    assert (last.name, last.on_sphere) == (name, on_sphere)
    assert last.module is model.get_submodule(name)
    model.eval()
    with torch.no_grad():
        changed = isinstance(model.head, nn.Sequential) and re.search("Softmax|Sigmoid", str(model.head))
        outputs = model.head[0](model.features(x)) if changed else model(x)  # type: ignore[index]
    assert_acts(last, outputs)
    measured = measure_model(model, [(x[:20], y[:20]), (x[20:], y[20:])])
    assert measured.accuracy == pytest.approx(float((outputs.argmax(dim=1) == y).double().mean()), abs=1e-12)
    assert measured.geometry.provenance["head"] == name
    assert f"{K} outputs" in measured.geometry.provenance["classifier"]


def test_a_cosine_head_is_measured_on_features_of_length_one() -> None:
    torch.manual_seed(0)
    model = Body(Cosine()).double()
    x, y = data()
    x = x.double()
    measured = measure_model(model, [(x, y)])
    with torch.no_grad():
        features = functional.normalize(model.features(x))
        weight = 16 * functional.normalize(model.head.directions)  # type: ignore[arg-type]
    direct = collapse(features, y, weight=weight)
    for name, value in direct.values.items():
        assert measured.values[name] == (None if value is None else pytest.approx(value, rel=1e-9)), name
    assert "of length 1" in measured.geometry.provenance["classifier"]


class Boxes(nn.Module):
    """A classifier, and a head of boxes that runs after it."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.body, self.classifier, self.boxes = nn.Linear(INPUTS, D), nn.Linear(D, K), nn.Linear(D, 4)
        self.form = form

    def forward(self, x: torch.Tensor) -> Any:
        h = torch.relu(self.body(x))
        logits, boxes = self.classifier(h), self.boxes(h)
        return {"dict": {"boxes": boxes, "logits": logits}, "tuple": (logits, boxes), "logits": logits}[self.form]


@pytest.mark.parametrize("form", ["dict", "logits"])
def test_a_head_of_boxes_that_runs_last_is_not_the_classifier(form: str) -> None:
    torch.manual_seed(0)
    assert found(Boxes(form)).name == "classifier"


@dataclass
class Output:
    loss: torch.Tensor | None
    logits: torch.Tensor
    hidden: tuple[torch.Tensor, ...]


class Named(Body):
    """Returns its logits with the features in a dataclass or a tuple."""

    def __init__(self, form: str) -> None:
        super().__init__(nn.Linear(D, K))
        self.form = form

    def forward(self, x: torch.Tensor) -> Any:
        h = self.features(x)
        logits = self.head(h)
        return Output(None, logits, (h,)) if self.form == "dataclass" else (h, logits)


@pytest.mark.parametrize("form", ["dataclass", "tuple"])
def test_logits_are_found_beside_features(form: str) -> None:
    torch.manual_seed(0)
    assert found(Named(form)).name == "head"


class Functional(nn.Module):
    """Uses the weight of a layer that never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.fc = nn.Linear(INPUTS, D), nn.Linear(D, K)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.linear(torch.tanh(self.hidden(x)), self.fc.weight)


class Pairs(nn.Module):
    """A bilinear form of two features."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.form = nn.Linear(INPUTS, D), nn.Linear(INPUTS, 3), nn.Bilinear(D, 3, K)

    def forward(self, x: torch.Tensor) -> Any:
        return self.form(self.left(x), self.right(x))


class Distilled(nn.Module):
    """Two heads, whose mean is the output in evaluation, or both."""

    def __init__(self, both: bool) -> None:
        super().__init__()
        self.body, self.head, self.head_dist = nn.Linear(INPUTS, D), nn.Linear(D, K), nn.Linear(D, K)
        self.both = both

    def forward(self, x: torch.Tensor) -> Any:
        h = torch.tanh(self.body(x))
        one, two = self.head(h), self.head_dist(-h)
        return (one, two) if self.both else (one + two) / 2


class Scaled(nn.Module):
    """A classifier whose scores are changed before they are returned."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(D, K)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.fc(h).flip(1) * 3
        return scores


class Overflowing(nn.Module):
    """A classifier whose scores are changed beyond float32."""

    def forward(self, scores: torch.Tensor) -> torch.Tensor:
        return scores * 1e38 * 1e38


REFUSED: list[tuple[Any, str]] = [
    (lambda: Body(Distances()), r"no module that ran gives.*head='head'.*'hidden' \(Linear, \(53, 11\) -> \(53, 7\)\)"),
    (Functional, r"no module that ran gives.*'hidden' \(Linear"),
    (Pairs, r"no module that ran gives.*'form' \(Bilinear"),
    (lambda: Distilled(False), r"no module that ran gives.*'head' \(Linear.*'head_dist' \(Linear"),
    (lambda: Distilled(True), r"2 modules.*'head' \(Linear.*'head_dist' \(Linear"),
    (lambda: Boxes("tuple"), r"2 modules.*'classifier' \(Linear.*'boxes' \(Linear"),
    (lambda: Body(nn.Sequential(nn.Linear(D, K), nn.ReLU())), r"no module that ran gives.*'head\.0' \(Linear"),
    (lambda: Body(nn.Sequential(nn.Linear(D, K), Overflowing())), rf"\({53 * K} of {53 * K} entries of it are not fin"),
    (nn.ReLU, r"no module that ran gives.*name the layer whose inputs are the features"),
]


@pytest.mark.parametrize(("build", "text"), REFUSED)
def test_what_is_not_plain_is_refused_with_the_modules_that_may_be_meant(build: Any, text: str) -> None:
    torch.manual_seed(0)
    with pytest.raises(ArgumentError, match=rf"^head: .*{text}"):
        measure_model(build(), [data()])


def test_no_layer_is_recommended_that_gives_another_number_of_scores() -> None:
    """Its inputs would be measured as features without a word."""
    torch.manual_seed(0)
    with pytest.raises(ArgumentError) as raised:
        measure_model(Functional(), [data()])
    assert "such as head=" not in str(raised.value)
    assert "'fc' (5, 7), which did not run" in str(raised.value)
    with pytest.raises(ArgumentError, match=r"'fc' ran 0 times.*let it call the layer: ec\.measure\.collapse"):
        measure_model(Functional(), [data()], "fc")
    hidden = measure_model(Functional(), [data()], "hidden").geometry.provenance["classifier"]
    assert hidden.endswith("which the model changes before it returns them")


def test_a_named_head_is_taken_at_its_word() -> None:
    torch.manual_seed(0)
    x, y = data()
    prototypes = measure_model(Body(Distances()), [(x, y)], "head", num_classes=K)
    assert prototypes.missing["accuracy"] == "no weight was given"
    assert prototypes.nc1_pinv is not None
    with pytest.raises(ArgumentError, match=r"num_classes: the head 'head' is no linear map"):
        measure_model(Body(Distances()), [(x, y)], "head")
    distilled = Distilled(False)
    named = measure_model(distilled, [(x, y)], "head_dist")
    features = -torch.tanh(distilled.body(x))
    direct = collapse(features, y, weight=distilled.head_dist.weight, bias=distilled.head_dist.bias)
    assert named.nc3_alignment == pytest.approx(direct.nc3_alignment or 0.0, rel=1e-6)
    assert found(Body(Cosine()), head="head").on_sphere
    changed = measure_model(Body(Scaled()), [(x, y)], "head.fc").geometry.provenance["classifier"]
    assert (
        changed == f"'head.fc' (Linear), {K} outputs of dimension {D}, which the model changes before it returns them"
    )


class Squeezed(nn.Module):
    """Channels weighed by a small network of linear layers before a convolution of size 1 classifies."""

    def __init__(self, pooled: bool) -> None:
        super().__init__()
        self.conv, self.pooled = nn.Conv2d(2, D, 2), pooled
        self.classify = nn.Conv2d(D, K, 1)
        self.gate = nn.Sequential(nn.Linear(D, 3), nn.ReLU(), nn.Linear(3, D), nn.Sigmoid())

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        maps: torch.Tensor = torch.relu(self.conv(x))
        maps = maps * self.gate(maps.mean(dim=(2, 3)))[:, :, None, None]
        return maps.mean(dim=(2, 3), keepdim=True) if self.pooled else maps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.classify(self.maps(x))
        return outputs.flatten(1) if self.pooled else outputs


def test_a_convolution_of_size_one_is_the_classifier_of_pooled_maps() -> None:
    torch.manual_seed(0)
    model = Squeezed(pooled=True)
    images, labels = torch.randn(N, 2, 4, 4), torch.arange(N) % K
    measured = measure_model(model, [(images, labels)])
    assert measured.geometry.provenance["head"] == "classify"
    with torch.no_grad():
        rows = model.maps(images).flatten(1)
    direct = collapse(rows, labels, weight=model.classify.weight.flatten(1), bias=model.classify.bias)
    for name, value in direct.values.items():
        assert measured.values[name] == (None if value is None else pytest.approx(value, rel=1e-6)), name


@pytest.mark.parametrize("size", [(3, 6), (D, D)])
def test_segmentation_has_one_row_of_channels_for_each_pixel(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    model = Squeezed(pooled=False)
    images = torch.randn(4, 2, size[0] + 1, size[1] + 1)
    labels = torch.randint(0, K, (4, *size))
    measured = measure_model(model, [(images, labels)])
    with torch.no_grad():
        rows = model.maps(images).permute(0, 2, 3, 1).reshape(-1, D)
    direct = collapse(rows, labels.flatten(), weight=model.classify.weight.flatten(1), bias=model.classify.bias)
    assert measured.num_samples == labels.numel()
    for name, value in direct.values.items():
        assert measured.values[name] == (None if value is None else pytest.approx(value, rel=1e-6)), name


@pytest.mark.parametrize("tail", ["maps", "pooled"])
def test_a_convolution_that_reads_neighbors_has_no_row_of_features_for_a_score(tail: str) -> None:
    """Flattened it is a linear map, of all positions at once to the scores of all."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, D, 2), nn.ReLU(), nn.Conv2d(D, K, 3, padding=1))
    images, labels = torch.randn(N, 2, 4, 6), torch.randint(0, K, (N, 3, 5))
    if tail == "pooled":
        model.extend([nn.AdaptiveAvgPool2d(1), nn.Flatten()])
        labels = labels[:, 0, 0]
    with pytest.raises(ArgumentError, match="head='2'" if tail == "pooled" else "of size 3x3 reads the neighbors"):
        measure_model(model, [(images, labels)])
    measured = measure_model(model, [(images, labels)], "2", num_classes=K)
    with torch.no_grad():
        maps = model[:2](images)
    rows = maps.flatten(1) if tail == "pooled" else maps.movedim(1, -1).flatten(0, -2)
    assert measured.nc1_trace_ratio == pytest.approx(collapse(rows, labels.flatten()).nc1_trace_ratio, rel=1e-6)
    assert measured.missing["nc4_agreement"] == "no weight was given"


def test_maps_of_a_layer_that_is_no_linear_map_are_read_by_the_shape_of_the_labels() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, D, 2), nn.Tanh(), nn.Conv2d(D, K, 1))
    images, labels = torch.randn(4, 2, 4, 6), torch.randint(0, K, (4, 3, 5))
    named = measure_model(model, [(images, labels)], "1", num_classes=K)
    with torch.no_grad():
        rows = model[0](images).permute(0, 2, 3, 1).reshape(-1, D)
    assert named.nc1_pinv == pytest.approx(collapse(rows, labels.flatten()).nc1_pinv or 0.0, rel=1e-6)
    square, labels = torch.randn(4, 2, D + 1, D + 1), torch.randint(0, K, (4, D, D))
    with pytest.raises(ArgumentError, match=r"channels in axis 1 or in the last one"):
        measure_model(model, [(square, labels)], "1", num_classes=K)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float64])
def test_the_head_is_found_in_every_precision(kind: torch.dtype) -> None:
    torch.manual_seed(0)
    assert found(Body(nn.Linear(D, K)).to(kind), data()[0].to(kind)).weight is not None
    if kind != torch.float64:
        with torch.autocast("cpu", dtype=kind):
            assert found(Body(nn.Sequential(nn.Dropout(), nn.Linear(D, K)))).name == "head.1"


def test_a_language_model_with_tied_embeddings_has_its_vocabulary_as_classes() -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=K, n_positions=13, n_embd=8, n_layer=1, n_head=2)
    model = transformers.GPT2LMHeadModel(config)
    last = found(model, {"input_ids": torch.randint(0, K, (3, 11))})
    assert last.name == "lm_head"
    assert last.weight is not None
    assert torch.equal(last.weight, model.transformer.wte.weight.detach())
    assert last.rows(last.features, (3, 11)).shape == (33, 8)


def test_of_a_large_output_some_rows_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr("encollapse.measure.forward.linear_map._COMPARED_ENTRIES", 40)
    assert found(Body(nn.Linear(D, K))).name == "head"
    with pytest.raises(ArgumentError, match="no module that ran"):
        found(Body(Distances()))


def test_a_small_memory_for_calls_still_holds_the_head(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr("encollapse.measure.forward.calls._KEPT_BYTES", 0)
    body = nn.Sequential(*(layer for _ in range(12) for layer in (nn.Linear(D, D), nn.Tanh())))
    assert found(nn.Sequential(nn.Linear(INPUTS, D), body, nn.Linear(D, K))).name == "2"


class Shared(Body):
    """Runs its head twice and returns what it gave last."""

    def forward(self, x: torch.Tensor) -> Any:
        self.head(self.features(-x))
        return self.head(self.features(x))


def test_a_head_that_ran_before_is_refused() -> None:
    with pytest.raises(ArgumentError, match="'head' ran 2 times in one batch"):
        measure_model(Shared(nn.Linear(D, K)), [data()])


def test_a_loader_of_one_sample_a_batch_and_empty_batches() -> None:
    torch.manual_seed(0)
    x, y = data()
    model = Body(nn.Linear(D, K))
    whole = measure_model(model, [(x, y)])
    single = measure_model(model, [(x[:0], y[:0]), *((x[i : i + 1], y[i : i + 1]) for i in range(N))])
    np.testing.assert_allclose(single.nc1_pinv or 0.0, whole.nc1_pinv or 0.0, rtol=1e-6)
