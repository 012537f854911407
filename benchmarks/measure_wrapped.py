"""Networks as people have them, wrapped, adapted, quantized, compiled, sharded: measured right, or refused with a cure.

The truth of every case is computed by hand: the features that enter the last layer, by calling the parts of the network
before it, and the weight that acts, handed to `ec.measure.collapse`. A case is *right* where all values of
`measure_model` are those, *refused* where it raises an error of the package, whose cure is then tried and has to be
right too, and *wrong* otherwise. The network must be in the mode that it was in, with all of its tensors as they were.

    python benchmarks/measure_wrapped.py               the table of docs/measuring.md
    python benchmarks/measure_wrapped.py --only ddp    one kind
"""

import argparse
import copy
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, prune

from encollapse.errors import EncollapseError
from encollapse.measure import Collapse, collapse, measure_model
from encollapse.measure.forward.running import acting_parameters

TRACE: Any = torch.jit.trace  # torch gives them no types
PRUNE: Any = prune.random_unstructured
QUANTIZE: Any = torch.ao.quantization.quantize_dynamic

CLASSES, DIM, INPUTS, BATCH = 5, 7, 11, 20
LABELS = torch.arange(60) % CLASSES
IMAGES = torch.randn(60, 3, 4, 4, generator=torch.Generator().manual_seed(1)) + LABELS[:, None, None, None]
VECTORS = IMAGES.flatten(1)[:, :INPUTS]


class Net(nn.Module):
    """A body and a classifier."""

    if TYPE_CHECKING:  # torch.jit.script reads annotations
        body: Any
        head: Any

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(INPUTS, 13), nn.BatchNorm1d(13), nn.ReLU(), nn.Linear(13, DIM), nn.ReLU())
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(DIM, CLASSES)

    def forward(self, inputs: Tensor) -> Tensor:
        scores: Tensor = self.head(self.drop(self.body(inputs)))
        return scores


class ConvNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(
            nn.Conv2d(3, DIM, 3, padding=1), nn.BatchNorm2d(DIM), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
        )
        self.head = nn.Linear(DIM, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.head(self.body(images).flatten(1))
        return scores


class Lora(nn.Module):
    """A low-rank adapter as peft has it: the layer, and beside it two small ones that learn."""

    def __init__(self, layer: nn.Linear, rank: int = 2) -> None:
        super().__init__()
        self.base_layer = layer
        self.lora_A = nn.Linear(layer.in_features, rank, bias=False)
        self.lora_B = nn.Linear(rank, layer.out_features, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        scores: Tensor = self.base_layer(inputs) + 2.0 * self.lora_B(self.lora_A(inputs))
        return scores

    @property
    def acting(self) -> Tensor:
        return self.base_layer.weight + 2.0 * self.lora_B.weight @ self.lora_A.weight


class MergedLora(nn.Linear):
    """A low-rank adapter as loralib has it: merged into the weight for evaluation, taken apart for training."""

    def __init__(self, layer: nn.Linear, rank: int = 2) -> None:
        super().__init__(layer.in_features, layer.out_features)
        self.load_state_dict(layer.state_dict())
        self.lora_A = nn.Parameter(torch.randn(rank, layer.in_features))
        self.lora_B = nn.Parameter(torch.randn(layer.out_features, rank))
        self.merged = False

    def train(self, mode: bool = True) -> "MergedLora":
        super().train(mode)
        if mode == self.merged:
            with torch.no_grad():
                self.weight += (-1 if mode else 1) * self.lora_B @ self.lora_A
            self.merged = not mode
        return self

    def forward(self, inputs: Tensor) -> Tensor:
        added = 0.0 if self.merged else functional.linear(inputs, self.lora_B @ self.lora_A)
        return functional.linear(inputs, self.weight, self.bias) + added


@dataclass
class Case:
    """A network, what it sees, and the parts that its truth is computed from."""

    model: Any
    inner: Any
    inputs: Tensor = field(default_factory=lambda: VECTORS)
    weight: Callable[[], Tensor] | None = None
    around: Callable[[], AbstractContextManager[Any]] = nullcontext
    cure: dict[str, Any] = field(default_factory=dict)
    original: Any = None
    """What to measure where the model itself is refused."""
    tolerance: float = 1e-5
    state_tolerance: float = 0.0


def plain() -> Case:
    model = Net()
    return Case(model, model)


def ddp() -> Case:
    inner = Net()
    return Case(nn.parallel.DistributedDataParallel(inner), inner)


def fsdp() -> Case:
    from torch.distributed.fsdp import fully_shard

    inner = Net()
    reference = copy.deepcopy(inner)
    for part in (inner.body, inner.head, inner):
        fully_shard(part)
    return Case(inner, reference)


def compiled(backend: str) -> Case:
    inner = Net()
    return Case(torch.compile(copy.deepcopy(inner), backend=backend), inner)


def compiled_in_place() -> Case:
    inner = Net()
    model = copy.deepcopy(inner)
    model.compile(backend="eager")
    return Case(model, inner)


def scripted() -> Case:
    inner = Net()
    return Case(torch.jit.script(copy.deepcopy(inner)), inner, original=inner)


def traced() -> Case:
    inner = Net().eval()
    return Case(TRACE(copy.deepcopy(inner), VECTORS), inner, original=inner)


def fx() -> Case:
    inner = Net().eval()
    return Case(torch.fx.symbolic_trace(copy.deepcopy(inner)), inner)


def exported() -> Case:
    inner = Net().eval()
    size = {0: torch.export.Dim("batch", min=2, max=100)}
    program = torch.export.export(copy.deepcopy(inner), (VECTORS,), dynamic_shapes=(size,)).module()
    return Case(program, inner, original=inner)


def lora(where: str) -> Case:
    model = Net()
    torch.manual_seed(1)
    if where == "head":
        model.head = Lora(model.head)
        return Case(model, model, weight=lambda: model.head.acting)
    model.body[3] = Lora(model.body[3])
    return Case(model, model)


def merged_lora() -> Case:
    model = Net()
    torch.manual_seed(1)
    model.head = MergedLora(model.head)
    torch.manual_seed(2)
    merged = copy.deepcopy(model.head).eval().weight
    return Case(model, model, weight=lambda: merged, state_tolerance=1e-6)  # it adds and subtracts what it merges


def peft() -> Case:
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(Net(), LoraConfig(target_modules=["body.3", "head"], init_lora_weights=False))
    inner = model.get_base_model()
    scale = inner.head.scaling["default"]
    low, high = inner.head.lora_A["default"], inner.head.lora_B["default"]
    return Case(model, inner, weight=lambda: inner.head.base_layer.weight + scale * high.weight @ low.weight)


def loralib() -> Case:
    import loralib as lora_of

    model = Net()
    layer = lora_of.Linear(DIM, CLASSES, r=2)
    nn.init.normal_(layer.lora_B)
    model.head = layer
    acting = layer.weight + layer.scaling * layer.lora_B @ layer.lora_A
    return Case(model, model, weight=lambda: acting, state_tolerance=1e-6)


def normed(kind: str) -> Case:
    model = Net()
    if kind == "weight":
        model.head = parametrizations.weight_norm(model.head)
    elif kind == "weight, hook":
        model.head = nn.utils.weight_norm(model.head)
    elif kind == "orthogonal":
        model.head = parametrizations.orthogonal(model.head)
    else:
        model.head = parametrizations.spectral_norm(model.head)
    return Case(model, model)


def pruned() -> Case:
    model = Net()
    PRUNE(model.head, "weight", 0.5)
    return Case(model, model)


def autocast() -> Case:
    model = Net()
    return Case(model, model, around=lambda: torch.autocast("cpu", torch.bfloat16), tolerance=2e-2)


def low_precision(kind: torch.dtype) -> Case:
    model = Net().to(kind)
    return Case(model, model, inputs=VECTORS.to(kind), tolerance=2e-2)


def channels_last() -> Case:
    inner = ConvNet()
    model = copy.deepcopy(inner).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Case(model, inner, inputs=IMAGES)


def quantized(parts: str) -> Case:
    inner = Net()
    model = QUANTIZE(copy.deepcopy(inner).eval(), {nn.Linear}, dtype=torch.qint8)
    if parts == "body":
        model.head = copy.deepcopy(inner.head)
        return Case(model, model)
    return Case(
        model, model, weight=lambda: model.head.weight().dequantize(), cure={"head": "head", "num_classes": CLASSES}
    )


def averaged() -> Case:
    inner = Net()
    return Case(torch.optim.swa_utils.AveragedModel(inner), inner)


def parallel() -> Case:
    inner = Net()
    return Case(nn.DataParallel(inner), inner)


def lightning() -> Case:
    from lightning import LightningModule

    inner = Net()

    class Module(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = inner

        def forward(self, inputs: Tensor) -> Tensor:
            scores: Tensor = self.net(inputs)
            return scores

    return Case(Module(), inner)


CASES: dict[str, Callable[[], Case]] = {
    "as it is": plain,
    "DataParallel": parallel,
    "DistributedDataParallel": ddp,
    "FSDP2 (fully_shard)": fsdp,
    "torch.compile, eager": lambda: compiled("eager"),
    "torch.compile, inductor": lambda: compiled("inductor"),
    "model.compile()": compiled_in_place,
    "torch.jit.script": scripted,
    "torch.jit.trace": traced,
    "torch.fx": fx,
    "torch.export": exported,
    "LightningModule": lightning,
    "AveragedModel (EMA, SWA)": averaged,
    "LoRA beside the body": lambda: lora("body"),
    "LoRA beside the head": lambda: lora("head"),
    "LoRA merged for evaluation": merged_lora,
    "LoRA of peft": peft,
    "LoRA of loralib": loralib,
    "weight norm": lambda: normed("weight"),
    "weight norm, by hooks": lambda: normed("weight, hook"),
    "spectral norm": lambda: normed("spectral"),
    "orthogonal": lambda: normed("orthogonal"),
    "pruned": pruned,
    "autocast to bfloat16": autocast,
    "bfloat16": lambda: low_precision(torch.bfloat16),
    "float16": lambda: low_precision(torch.float16),
    "float64": lambda: low_precision(torch.float64),
    "channels_last": channels_last,
    "dynamic quantization, body": lambda: quantized("body"),
    "dynamic quantization, all": lambda: quantized("all"),
}


@contextmanager
def one_process() -> Iterator[None]:
    """A group of this process alone, which DDP and FSDP ask for."""
    with tempfile.NamedTemporaryFile() as file:
        torch.distributed.init_process_group("gloo", init_method=f"file://{file.name}", rank=0, world_size=1)
        try:
            yield
        finally:
            torch.distributed.destroy_process_group()


def truth(case: Case) -> Collapse:
    """By hand: features of the body, batch by batch, and the weight that acts, in evaluation mode."""
    body = copy.deepcopy(case.inner.body).eval()
    with torch.no_grad(), case.around():
        features = torch.cat([body(case.inputs[i : i + BATCH]).flatten(1) for i in range(0, len(LABELS), BATCH)])
    head = case.inner.head
    weight = acting_parameters(head)[0] if case.weight is None else case.weight()
    base = getattr(head, "base_layer", head)
    bias = base.bias() if callable(base.bias) else base.bias
    return collapse(features.detach(), LABELS, weight=weight.detach(), bias=bias.detach())


def same(found: Collapse, wanted: Collapse, tolerance: float) -> bool:
    """Whether every value is the same; values that rest on the classifier may be missing."""
    pairs = ((found.values[name], value) for name, value in wanted.values.items() if name != "floor")
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    return len(known) > 8 and all(abs(a - b) <= tolerance * (1 + abs(b)) for a, b in known)


def state_of(model: nn.Module) -> dict[str, Tensor]:
    """Copies of the tensors of a network, whole where each process holds a share."""
    found = {name: value for name, value in model.state_dict().items() if isinstance(value, Tensor)}
    return {n: v.full_tensor() if hasattr(v, "full_tensor") else v.clone() for n, v in found.items()}


def outcome(make: Callable[[], Case]) -> tuple[str, str]:
    """Right, refused or wrong, and what the error says."""
    case = make()
    tensors = state_of(case.model)
    modes = [module.training for module in case.model.modules()]
    wanted = truth(case)
    batches = [(case.inputs[i : i + BATCH], LABELS[i : i + BATCH]) for i in range(0, len(LABELS), BATCH)]

    def measured(model: Any, **options: Any) -> bool:
        with case.around():
            return same(measure_model(model, batches, progress=False, **options), wanted, case.tolerance)

    try:
        result, told = ("right" if measured(case.model) else "WRONG"), ""
    except EncollapseError as error:
        result, told = "WRONG: refused without a cure", str(error)
        if case.cure and measured(case.model, **case.cure):
            result = f"refused, right with {', '.join(f'`{name}={value!r}`' for name, value in case.cure.items())}"
        if case.original is not None and "measure the module that it was made from" in told and measured(case.original):
            result = "refused, right with the module that it was made from"
    after = state_of(case.model)
    if modes != [module.training for module in case.model.modules()]:
        result = "WRONG: its mode was changed"
    for name, value in tensors.items():
        if not torch.allclose(value, after[name], rtol=0, atol=case.state_tolerance):
            result = f"WRONG: its {name} was changed"
    return result, told


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="kinds whose name holds this")
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    wrong = 0
    print("| network | measured |\n|---|---|")
    with one_process():
        for name, make in CASES.items():
            if chosen.only.lower() not in name.lower():
                continue
            try:
                result, told = outcome(make)
            except ModuleNotFoundError as error:
                result, told = f"not tried: {error.name} is not installed", ""
            except Exception as error:
                result, told = f"CRASHED: {type(error).__name__}: {' '.join(str(error).split())[:200]}", ""
            wrong += result.startswith(("WRONG", "CRASHED"))
            print(f"| {name} | {result} |" + (f"  <!-- {' '.join(told.split())[:300]} -->" if told else ""), flush=True)
    print("VERDICT: " + ("each right or refused with its cure" if not wrong else f"{wrong} wrong"))
    return int(wrong > 0)


if __name__ == "__main__":
    raise SystemExit(main())
