"""`capture` collects the inputs of a layer and leaves no trace."""

from typing import Any

import pytest
import torch
from torch import nn

from encollapse.errors import ArgumentError, ArgumentTypeError
from encollapse.measure import capture


class Net(nn.Module):
    """A body whose output is overwritten in place after the head has read it."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 7), nn.Dropout(0.5))
        self.head = nn.Linear(7, 3)

    def forward(self, x: torch.Tensor) -> Any:
        features = self.body(x)
        outputs = self.head(features)
        features.detach().zero_()
        return outputs


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    return Net()


@pytest.mark.parametrize("by_name", [True, False])
def test_inputs_of_the_layer_in_order(net: Net, by_name: bool) -> None:
    net.eval()
    x = torch.randn(5, 4)
    with capture(net, "head" if by_name else net.head) as features:
        net(x)
        net(x[:1])
    assert len(features) == 2
    expected = net.body(x)
    torch.testing.assert_close(features[0], expected)
    torch.testing.assert_close(features.cat(), torch.cat([expected, expected[:1]]))
    assert [tuple(f.shape) for f in features] == [(5, 7), (1, 7)]
    assert len(features[0:1]) == 1
    assert not features[0].requires_grad
    features.clear()
    assert len(features) == 0


def test_model_state_is_untouched(net: Net) -> None:
    net.head.eval()  # a mixture of modes
    modes = [m.training for m in net.modules()]
    state = torch.get_rng_state()
    with capture(net, "body.0"):
        assert torch.equal(torch.get_rng_state(), state)
        assert [m.training for m in net.modules()] == modes
        loss = net.body[0](torch.randn(2, 4)).sum()
        assert loss.requires_grad
        assert torch.is_grad_enabled()
    assert [m.training for m in net.modules()] == modes
    loss.backward()


def test_the_hook_goes_even_after_an_error(net: Net) -> None:
    with pytest.raises(RuntimeError, match="shapes"), capture(net, "head"):
        net(torch.randn(2, 5))
    assert not net.head._forward_pre_hooks


def test_keyword_inputs_and_flattening() -> None:
    class Wide(nn.Module):
        def forward(self, *, image: torch.Tensor) -> torch.Tensor:
            return image.sum()

    wide = Wide()
    with capture(wide, wide) as features:
        wide(image=torch.ones(2, 3, 4))
        wide(image=torch.ones(12))
    assert features.cat().shape == (3, 12)
    with pytest.raises(ArgumentError, match="without any tensor"), capture(wide, ""):
        wide(image=3.0)


def test_clear_errors(net: Net) -> None:
    with pytest.raises(ArgumentError, match=r"layer.*'haed'.*'head'"), capture(net, "haed"):
        pass
    with pytest.raises(ArgumentError, match="not a part of the model"), capture(net, nn.Linear(7, 3)):
        pass
    with pytest.raises(ArgumentTypeError, match=r"layer.*int"), capture(net, 3):  # type: ignore[arg-type]
        pass
    with pytest.raises(ArgumentTypeError, match=r"model.*function"), capture(len, "x"):  # type: ignore[arg-type]
        pass
    with capture(net, "head") as features:
        pass
    with pytest.raises(ArgumentError, match=r"nothing was captured.*'head'"):
        features.cat()
    with capture(net.body, "1") as mixed:
        net.body[1](torch.ones(2, 3))
        net.body[1](torch.ones(2, 5))
    with pytest.raises(ArgumentError, match=r"widths \[3, 5\]"):
        mixed.cat()
