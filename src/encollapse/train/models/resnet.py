"""Residual networks for small images, in the form that was made for CIFAR-10."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from encollapse.train.models.layers import normalized
from encollapse.train.models.trunks import image_shape


class Block(nn.Module):
    """Two 3 × 3 convolutions around which the input is carried :cite:p:`he2016`.

    At the start the block passes on what it carries, because the last layer of the branch is zero
    :cite:p:`goyal2017`; that is also what lets it train without normalization :cite:p:`zhang2019`.
    """

    def __init__(self, before: int, after: int, stride: int, normalization: str) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            *_convolved(before, after, stride, normalization), nn.ReLU(), *_convolved(after, after, 1, normalization)
        )
        for parameter in self.branch[-1].parameters():
            nn.init.zeros_(parameter)
        same = before == after and stride == 1
        self.carried = nn.Identity() if same else nn.Conv2d(before, after, 1, stride=stride, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """The carried input plus the branch, rectified."""
        total: Tensor = self.carried(inputs) + self.branch(inputs)
        return total.relu()


def resnet(
    input_shape: Sequence[int], *, name: str, width: int, stages: int, blocks: int, normalization: str, stem_stride: int
) -> tuple[nn.Module, int]:
    """Residual trunk for images (C, H, W): a 3 × 3 stem, `stages` of `blocks` each, the mean over the image.

    Each stage but the first halves the height and width and doubles the channels, of which the first has `width`.

    Raises
    ------
    ArgumentError
        If the inputs are not images.
    """
    channels, _, _ = image_shape(input_shape, name)
    layers: list[nn.Module] = [*_convolved(channels, width, stem_stride, normalization), nn.ReLU()]
    before = width
    for stage in range(stages):
        after = width * 2**stage
        for block in range(blocks):
            layers.append(Block(before, after, 2 if stage > 0 and block == 0 else 1, normalization))
            before = after
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers), before


def _convolved(before: int, after: int, stride: int, normalization: str) -> list[nn.Module]:
    # A normalization has a bias of its own.
    bare = normalization != "none"
    return [nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=not bare), *normalized(normalization, after)]
