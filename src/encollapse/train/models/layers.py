"""Parts that the trunks share: activations and normalizations by name."""

from torch import Tensor, nn

_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh}


class BatchNorm(nn.BatchNorm1d):
    """Batch normalization of rows (N, C) or images (N, C, H, W), for which a batch of one row is no reason to fail.

    Such a batch, which has no spread, is normalized by the running statistics.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalized inputs."""
        if self.training and len(inputs) == 1:
            self.eval()
            try:
                return super().forward(inputs)
            finally:
                self.train()
        return super().forward(inputs)

    def _check_input_dim(self, inputs: Tensor) -> None:
        """Take whatever has channels."""


def activation(name: str) -> nn.Module:
    """A new activation module."""
    return _ACTIVATIONS[name]()


def normalized(name: str, channels: int) -> list[nn.Module]:
    """The normalization after a layer with that many channels, as a list of no module or one.

    Group normalization :cite:p:`wu2018` has groups of eight channels, or of as near to eight as divides their number.
    """
    if name == "batch":
        return [BatchNorm(channels)]
    if name == "group":
        return [nn.GroupNorm(groups(channels), channels)]
    return [nn.LayerNorm(channels)] if name == "layer" else []


def groups(channels: int) -> int:
    """Number of groups: the largest divisor of the channels that leaves eight or more in each, or one."""
    return max(g for g in range(1, max(1, channels // 8) + 1) if channels % g == 0)
