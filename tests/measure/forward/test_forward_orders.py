"""Networks that score positions and return the scores in another order, of some, or their mean."""

from typing import Any

import pytest
import torch
from torch import nn

from encollapse.errors import ArgumentError, ArgumentTypeError
from encollapse.measure import collapse, measure_layers, measure_model

K, D, N = 5, 7, 53


class Sequences(nn.Module):
    """Scores every token, in the order of the batch or of the sequence, and returns the scores as a task wants them."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.embed, self.score, self.form = nn.Linear(3, D), nn.Linear(D, K), form

    def features(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.embed(x))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.form.startswith("sequence first"):
            scores: torch.Tensor = self.score(self.features(x.transpose(0, 1))).transpose(0, 1)
        else:
            scores = self.score(self.features(x))
        if self.form.endswith("classes second"):
            scores = scores.transpose(1, 2)
        reduced: torch.Tensor = {"mean": scores.mean(dim=1), "largest": scores.amax(dim=1)}.get(self.form, scores)
        return reduced


ORDERS = ["classes second", "sequence first", "sequence first, classes second"]


@pytest.mark.parametrize("head", [None, "score"])
@pytest.mark.parametrize("length", [13, N], ids=["13", "square"])
@pytest.mark.parametrize("form", ORDERS)
def test_scores_in_another_order_go_with_their_labels(form: str, length: int, head: str | None) -> None:
    """Transformers of torch see the sequence before the batch, and losses want the classes before the sequence."""
    torch.manual_seed(0)
    model = Sequences(form).double()
    x, y = torch.randn(N, length, 3).double(), torch.randint(0, K, (N, length))
    measured = measure_model(model, [(x[:20], y[:20]), (x[20:], y[20:])] if length == 13 else [(x, y)], head)
    with torch.no_grad():
        rows, right = model.features(x).reshape(-1, D), model(x).argmax(1 if form.endswith("second") else 2) == y
    direct = collapse(rows, y.flatten(), weight=model.score.weight, bias=model.score.bias)
    for name, value in direct.values.items():
        assert measured.values[name] == (None if value is None else pytest.approx(value, rel=1e-9)), name
    assert measured.accuracy == pytest.approx(float(right.double().mean()), abs=1e-12)


def test_positions_of_a_layer_in_another_order_than_the_labels_are_refused() -> None:
    torch.manual_seed(0)
    model = Sequences("sequence first")
    x, y = torch.randn(N, 13, 3), torch.randint(0, K, (N, 13))
    with pytest.raises(ArgumentError, match=r"^labels: of shape \(53, 13\).*'embed' have positions \(13, 53\)"):
        measure_model(model, [(x, y)], "embed", num_classes=D)
    with pytest.raises(ArgumentError, match=r"^labels: of shape \(53, 13\).*'score' have positions \(13, 53\)"):
        measure_layers(model, [(x, y)], ["score"], K)


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("kind", ["tokens", "maps"])
def test_the_mean_of_scores_is_the_score_of_mean_features(kind: str, named: bool) -> None:
    """Convolutions of size 1 before the average (class activation maps), and token classifiers that are averaged."""
    torch.manual_seed(0)
    if kind == "tokens":
        model: nn.Module = Sequences("mean")
        head, last = "alias", model.get_submodule("score")
        model.alias = last
        x, y = torch.randn(N, 13, 3), torch.arange(N) % K
        features = model.features(x).mean(dim=1).detach()  # type: ignore[operator]
    else:
        model = nn.Sequential(nn.Conv2d(2, D, 2), nn.ReLU())
        head, last = "2", nn.Conv2d(D, K, 1)
        model.append(last).append(nn.AdaptiveAvgPool2d(1)).append(nn.Flatten())
        x, y = torch.randn(N, 2, 4, 6), torch.arange(N) % K
        features = model[:2](x).mean(dim=(2, 3)).detach()
    measured = measure_model(model, [(x[:20], y[:20]), (x[20:], y[20:])], head if named else None)
    assert isinstance(last, nn.Linear | nn.Conv2d)
    direct = collapse(features.double(), y, weight=last.weight.flatten(1), bias=last.bias)
    for name, value in direct.values.items():
        if name != "floor":  # rounding of the dtype that was measured
            assert measured.values[name] == (None if value is None else pytest.approx(value, rel=1e-4)), name
    assert "averaged over positions" in measured.geometry.provenance["classifier"]


def test_scores_that_are_not_averaged_in_every_batch_are_refused() -> None:
    class Masked(Sequences):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            kept = (x[..., 0] < 9).to(x.dtype)[..., None]
            scores: torch.Tensor = self.score(self.features(x))
            return (scores * kept).sum(dim=1) / kept.sum(dim=1)

    torch.manual_seed(0)
    x, y = torch.randn(N, 13, 3), torch.arange(N) % K
    x[40:, 7:, 0] = 10.0
    with pytest.raises(ArgumentError, match="head: 'score' scores every position, and the output of the model is not"):
        measure_model(Masked("mean"), [(x[:20], y[:20]), (x[20:], y[20:])])
    for kind in (torch.float32, torch.bfloat16):
        with pytest.raises(ArgumentError, match="no module that ran gives"):
            measure_model(Sequences("largest").to(kind), [(x.to(kind), y)])


def test_packed_sequences_are_one_input() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cells, self.head = nn.GRU(3, D, batch_first=True), nn.Linear(D, K)

        def forward(self, x: Any) -> torch.Tensor:
            outputs: torch.Tensor = self.head(self.cells(x)[1][0])
            return outputs

    torch.manual_seed(0)
    model, lengths = Recurrent(), torch.arange(N) % 6 + 1
    x, y = torch.randn(N, 6, 3), torch.arange(N) % K
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    measured = measure_model(model, [(packed, y)])
    with torch.no_grad():
        features = torch.stack([model.cells(own[None, :n])[1][0, 0] for own, n in zip(x, lengths, strict=True)])
    assert measured.nc1_trace_ratio == pytest.approx(collapse(features, y).nc1_trace_ratio, rel=1e-4)


def test_labels_of_positions_in_one_axis_and_inputs_that_are_no_features_name_their_cure() -> None:
    model = nn.Sequential(nn.Embedding(29, D), nn.Linear(D, K))
    ids, labels = torch.randint(0, 29, (N, 13)), torch.randint(0, K, (N, 13))
    with pytest.raises(ArgumentError, match=r"has shape \(53, 13\): labels\.reshape\(53, 13\)$"):
        measure_model(model, [(ids, labels.flatten())])
    with pytest.raises(ArgumentError, match=r"measure_layers\(\.\.\., maps='mean'\) averages them"):
        measure_model(model, [(ids, labels[:, 0])])
    with pytest.raises(ArgumentTypeError, match=r"^layers: what enters '0' is int64 and no features"):
        measure_layers(model, [(ids, labels)], ["0"], K)
