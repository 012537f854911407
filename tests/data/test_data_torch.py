"""Data sets of PyTorch as arrays."""

import importlib.util
from typing import Any

import numpy as np
import pytest

import encollapse as ec
from encollapse.errors import ArgumentError, ArgumentTypeError

RNG = np.random.default_rng(0)


class Pairs:
    """A map-style dataset over a list."""

    classes = ("odd", "even")

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


def test_torch_datasets_are_read_into_arrays() -> None:
    import torch
    from torch.utils.data import TensorDataset

    tensors = torch.arange(30.0).reshape(5, 3, 2, 1)
    data = ec.data.from_torch(TensorDataset(tensors, torch.tensor([0, 1, 1, 0, 1])), name="mine")
    assert (data.name, data.classes, data.counts.tolist()) == ("mine", ("0", "1"), [2, 3])
    np.testing.assert_array_equal(data.train.inputs, tensors.numpy())
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    held = ec.data.from_torch(Pairs([(pixels[0], 0), (pixels[1], 1)]), Pairs([(pixels[1], 1)]))
    assert (held.name, held.classes) == ("Pairs", ("odd", "even"))
    np.testing.assert_allclose(255 * held.train.inputs, pixels[:, None], rtol=1e-6)
    assert held.test is not None
    assert held.test.inputs.shape == (1, 1, 4, 3)
    assert held.provenance["inputs"] == "pixels divided by 255"


@pytest.mark.skipif(importlib.util.find_spec("PIL") is None, reason="needs Pillow")
def test_pil_images_have_their_channels_put_first() -> None:
    from PIL import Image

    pixels = RNG.integers(0, 256, (2, 5, 7, 3), dtype=np.uint8)
    data = ec.data.from_torch(Pairs([(Image.fromarray(p), k) for k, p in enumerate(pixels)]))
    np.testing.assert_allclose(255 * data.train.inputs, np.moveaxis(pixels, -1, 1), rtol=1e-6)
    gray = ec.data.from_torch(Pairs([(Image.fromarray(p[:, :, 0]), k) for k, p in enumerate(pixels)]))
    np.testing.assert_allclose(255 * gray.train.inputs[:, 0], pixels[..., 0], rtol=1e-6)


@pytest.mark.parametrize(
    ("dataset", "words"),
    [
        (iter([(np.ones(2), 0)]), "map-style"),
        (Pairs([np.ones(2)]), "item 0 is no pair"),
        (Pairs([(np.ones(2), 0), (np.ones(3), 1)]), "item 1 has shape"),
        (Pairs([(np.ones(2, np.uint8), 0), (np.ones(2), 1)]), "item 1 has shape .* and dtype float64"),
        (Pairs([(np.ones(2), 0), (np.ones(2), 0.5)]), "label of item 1 is 0.5"),
        (Pairs([]), "no items"),
    ],
)
def test_what_is_no_labeled_dataset_is_refused(dataset: Any, words: str) -> None:
    with pytest.raises((ArgumentError, ArgumentTypeError), match=words):
        ec.data.from_torch(dataset)
