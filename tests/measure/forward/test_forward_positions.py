"""Labels of positions: tokens, images, ignored ones, language models that shift, classifiers of the last token."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import encollapse as ec
from encollapse.errors import ArgumentError

K, D, T = 5, 7, 11


def tokens(seed: int = 0, count: int = 13) -> tuple[np.ndarray, np.ndarray]:
    """Features (B, T, d) and labels (B, T), some ignored."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, K, (count, T))
    features = rng.standard_normal((K, D))[labels] + 0.3 * rng.standard_normal((count, T, D))
    labels[rng.random(labels.shape) < 0.2] = -100
    return features, labels


def agree(found: ec.measure.Collapse, expected: ec.measure.Collapse) -> None:
    assert found.num_samples == expected.num_samples
    for name, value in expected.values.items():
        assert found.values[name] == (None if value is None else pytest.approx(value, rel=1e-9, abs=1e-12)), name


def test_collapse_takes_positions_and_leaves_out_what_is_ignored() -> None:
    features, labels = tokens()
    kept = labels != -100
    expected = ec.measure.collapse(features[kept], labels[kept])
    agree(ec.measure.collapse(features, labels), expected)
    agree(ec.measure.collapse(torch.tensor(features), torch.tensor(labels)), expected)
    agree(ec.measure.collapse(features[kept], labels[kept], ignore_index=-1), expected)
    agree(ec.measure.collapse(features, np.where(kept, labels, 255), ignore_index=255), expected)
    maps = np.moveaxis(features, -1, 1)
    agree(ec.measure.collapse(maps, labels), expected)
    with pytest.raises(ArgumentError, match=r"labels.*-100 at index"):
        ec.measure.collapse(features, labels, ignore_index=-1)
    with pytest.raises(ArgumentError, match=r"axis 1 or in the last"):
        ec.measure.collapse(np.ones((3, T, T)), np.zeros((3, T), dtype=int))
    with pytest.raises(ArgumentError, match="no samples"):
        ec.measure.collapse(features, np.full(labels.shape, -100))


class Tagger(nn.Module):
    """Tokens in, a score a class for each token out."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(D)
        self.score = nn.Linear(D, K)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.score(self.norm(x))
        return scores


def test_measure_model_leaves_out_ignored_tokens() -> None:
    features, labels = tokens()
    torch.manual_seed(0)
    network = Tagger().double()
    x, y = torch.tensor(features), torch.tensor(labels)
    found = ec.measure.measure_model(network, [(x[:6], y[:6]), (x[6:7], torch.full((1, T), -100)), (x[7:], y[7:])])
    rows = network.norm(torch.cat([x[:6], x[7:]])).detach()
    own = torch.cat([y[:6], y[7:]])
    kept = own != -100
    agree(
        found,
        ec.measure.collapse(
            rows[kept], own[kept], weight=network.score.weight.detach(), bias=network.score.bias.detach()
        ),
    )


def test_layers_average_over_tokens_and_not_over_features() -> None:
    rng = np.random.default_rng(1)
    x, y = torch.tensor(rng.standard_normal((13, T, D))), torch.arange(13) % K
    network = Tagger().double()
    found = ec.measure.measure_layers(network, [(x, y)], ["norm", "score"], K, maps="mean")
    assert found["norm"].geometry.provenance["feature_dim"] == D
    expected = ec.measure.collapse(x.mean(dim=1), y, num_classes=K)
    assert found["norm"].nc1_trace_ratio == pytest.approx(expected.nc1_trace_ratio, rel=1e-9)
    images = torch.tensor(rng.standard_normal((13, 3, 4, 6)))
    convolution = nn.Sequential(nn.Conv2d(3, K, 3), nn.Flatten())
    maps = ec.measure.measure_layers(convolution.double(), [(images, y)], ["0"], K, maps="mean")
    expected = ec.measure.collapse(images.mean(dim=(2, 3)), y, num_classes=K)
    assert maps["0"].cdnv == pytest.approx(expected.cdnv, rel=1e-9)
    with pytest.raises(ArgumentError, match="maps='mean-channels-first'"):
        ec.measure.measure_layers(nn.Sequential(nn.ReLU()), [(x, y)], ["0"], K, maps="mean")
    last = ec.measure.measure_layers(nn.Sequential(nn.ReLU()), [(x, y)], ["0"], K, maps="mean-channels-last")
    assert last["0"].geometry.provenance["feature_dim"] == D


def test_layers_take_labels_of_tokens() -> None:
    features, labels = tokens()
    network = Tagger().double()
    found = ec.measure.measure_layers(network, [(torch.tensor(features), torch.tensor(labels))], ["norm"], K)
    kept = labels != -100
    expected = ec.measure.collapse(features[kept], labels[kept])
    assert found["norm"].num_samples == kept.sum()
    assert found["norm"].nc1_pinv == pytest.approx(expected.nc1_pinv, rel=1e-9)


def cycle(transformers: Any) -> tuple[Any, torch.Tensor]:
    """A GPT-2 that has learned to count up modulo 7, and sequences that do."""
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=7, n_positions=T, n_embd=16, n_layer=1, n_head=2, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0
    )
    model = transformers.GPT2LMHeadModel(config)
    ids = (torch.arange(7)[:, None] + torch.arange(T)) % 7
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
    return model, ids


def test_causal_language_models_predict_the_next_token() -> None:
    transformers = pytest.importorskip("transformers")
    model, ids = cycle(transformers)
    logits = model(input_ids=ids).logits
    right = (logits[:, :-1].argmax(dim=2) == ids[:, 1:]).float().mean()
    assert right == 1.0
    batches = [{"input_ids": ids, "labels": ids}]
    found = ec.measure.measure_model(model, batches)
    assert (found.accuracy, found.num_samples) == (1.0, 7 * (T - 1))
    assert found.geometry.provenance["label_shift"] == 1
    shifted = torch.cat([ids[:, 1:], torch.full((7, 1), -100)], dim=1)
    other = ec.measure.measure_model(model, [{"input_ids": ids, "labels": shifted}], label_shift=0)
    agree(other, found)
    wrapped = nn.ModuleDict({"inner": model})
    wrapped.forward = lambda **inputs: model(**inputs)
    assert ec.measure.measure_model(wrapped, batches).accuracy == 1.0
    padded = ids.clone()
    padded[:, 5:] = -100
    assert ec.measure.measure_model(model, [{"input_ids": ids, "labels": padded}]).num_samples == 7 * 4
    with pytest.raises(ArgumentError, match="label_shift"):
        ec.measure.measure_model(nn.Linear(D, K), [(torch.ones(3, D), torch.arange(3))], label_shift=1)


@pytest.mark.parametrize("head", [None, "score"])
def test_sequence_classifiers_score_the_last_token(head: str | None) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(1)
    config = transformers.GPT2Config(
        vocab_size=17, n_positions=T, n_embd=16, n_layer=1, n_head=2, num_labels=3, pad_token_id=16
    )
    model = transformers.GPT2ForSequenceClassification(config).eval()
    ids, labels = torch.randint(0, 16, (23, T)), torch.arange(23) % 3
    lengths = torch.randint(3, T + 1, (23,))
    ids[torch.arange(T) >= lengths[:, None]] = 16
    batches = [{"input_ids": ids[:11], "labels": labels[:11]}, {"input_ids": ids[11:], "labels": labels[11:]}]
    found = ec.measure.measure_model(model, batches, head)
    with torch.no_grad():
        hidden = model.transformer(input_ids=ids).last_hidden_state[torch.arange(23), lengths - 1]
        decided = model(input_ids=ids).logits.argmax(dim=1)
    expected = ec.measure.collapse(hidden, labels, weight=model.score.weight.detach())
    assert found.accuracy == int((decided == labels).sum()) / 23
    assert found.nc1_trace_ratio == pytest.approx(expected.nc1_trace_ratio, rel=1e-4)
    assert found.num_samples == 23


@pytest.mark.parametrize(
    ("change", "cure"),
    [
        (lambda y: y[:, None], r"take the only channel, labels\[:, 0\]"),
        (lambda y: y[..., None], r"take the only channel, labels\[\.\.\., 0\]"),
        (lambda y: torch.nn.functional.one_hot(y, 5).movedim(-1, 1), r"one-hot, take labels\.argmax\(1\)"),
        (lambda y: torch.nn.functional.one_hot(y, 5), r"one-hot, take labels\.argmax\(-1\)"),
    ],
)
def test_labels_of_positions_with_an_axis_too_many_are_refused_with_the_axis(change: Any, cure: str) -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(2, 7, 1), torch.nn.ReLU(), torch.nn.Conv2d(7, 5, 1))
    images, labels = torch.randn(3, 2, 4, 6), torch.randint(0, 5, (3, 4, 6))
    batch = images, change(labels)
    calls: list[Any] = [
        lambda: ec.measure.measure_model(model, [batch]),
        lambda: ec.measure.measure_layers(model, [batch], ["2"], num_classes=5),
        lambda: ec.measure.collapse(torch.randn(3, 7, 4, 6), batch[1]),
    ]
    for call in calls:
        with pytest.raises(ec.errors.ArgumentError, match=rf"^labels: expected one whole number a position.*{cure}"):
            call()


def test_labels_at_another_resolution_than_the_features_are_refused_with_both_shapes() -> None:
    maps = torch.nn.Sequential(torch.nn.Conv2d(2, 7, 1), torch.nn.Conv2d(7, 5, 1), torch.nn.Upsample(scale_factor=2))
    with pytest.raises(
        ec.errors.ArgumentError, match=r"^loader: .*\(3, 7, 4, 6\) for labels of shape \(3, 8, 12\); thin"
    ):
        ec.measure.measure_model(maps, [(torch.randn(3, 2, 4, 6), torch.randint(0, 5, (3, 8, 12)))], "1")


@pytest.mark.parametrize("kind", ["T5", "Bart"])
def test_decoders_get_the_labels_that_they_are_trained_on(kind: str) -> None:
    """Without labels T5 has no inputs of its decoder, and BART would decode the inputs of its encoder."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(2)
    sizes: dict[str, Any] = {"vocab_size": 13, "d_model": 8, "decoder_start_token_id": 0, "pad_token_id": 0}
    if kind == "T5":
        config = transformers.T5Config(**sizes, d_kv=4, d_ff=16, num_layers=1, num_heads=2)
    else:
        config = transformers.BartConfig(
            **sizes, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
            encoder_ffn_dim=16, decoder_ffn_dim=16, max_position_embeddings=16, bos_token_id=0, eos_token_id=1,
        )  # fmt: skip
    model = getattr(transformers, f"{kind}ForConditionalGeneration")(config).eval()
    ids, labels = torch.randint(2, 13, (11, T)), torch.randint(2, 13, (11, T))
    labels[:, 8:] = -100
    found = ec.measure.measure_model(model, [{"input_ids": ids, "labels": labels}])
    hidden: Any = []
    handle = model.lm_head.register_forward_pre_hook(lambda _, args: hidden.append(args[0]))
    with torch.no_grad():
        model(input_ids=ids, labels=labels)
    handle.remove()
    rows, kept = hidden[0].reshape(-1, 8), labels.reshape(-1) >= 0
    direct = ec.measure.collapse(rows[kept], labels.reshape(-1)[kept], num_classes=13)
    assert found.num_samples == 88
    assert found.cdnv == pytest.approx(direct.cdnv, rel=1e-5)
