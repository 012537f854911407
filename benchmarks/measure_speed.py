"""Speed of the measurement beside the products of matrices that it cannot do without.

Every case is timed in turns with its yardsticks, in one run, and the least times are compared: the machine
may be busy with other things, which spoils times but, of the least of several, hardly ratios.

    python benchmarks/measure_speed.py --cases A B C --repeats 5 --threads 2
    python benchmarks/measure_speed.py --device cuda
    python benchmarks/measure_speed.py --cases A B --batches 32,128,1024
    python benchmarks/measure_speed.py --epochs 10

With ``--batches`` the samples come in batches, as loops give them, and every line says whether its bound holds: for
the moments and for the torchmetrics adapter 1.2 covariance products of the whole set, 0.15 with ``covariance=False``,
and a suite four times as fast as that of the existing package. ``--epochs`` trains a small convolutional network for
so many epochs by Lightning with the callback on the last one, which may make the training 1.05 times as long. On a busy
machine ``--clock cpu --threads 1`` compares seconds of the processor, in which waiting for others does not count.

Yardsticks, all on float32 features X of shape (N, d):

covariance GEMM   ``Xᵀ X``
two-pass NC1      a rendering of how rhubarbwu's neural-collapse package accumulates NC1: a pass for the class
                  means, as products with one-hot rows; a pass that adds up ``(h - m)ᵀ(h - m)`` batch by batch
                  (and counts the classes again); then ``torch.linalg.pinv`` of the between-class covariance,
                  all in float32. The whole of that package's suite takes 3.2 times as long in case B
two GEMMs         ``X Mᵀ`` and ``X Wᵀ`` for NC4
reading           ``X.sum()``
"""

import argparse
import time
from collections.abc import Callable
from functools import partial

import torch

from encollapse.measure import ClassMoments, CollapseCallback, NeuralCollapse
from encollapse.measure.decisions.classifier import LinearClassifier
from encollapse.measure.decisions.counter import DecisionCounter, classifier_rule
from encollapse.measure.decisions.rules import NearestMean
from encollapse.measure.moments.inputs import FeatureRows

CASES = {"A": (50_000, 512, 10), "B": (20_000, 768, 1000), "C": (200_000, 2048, 100)}
CLOCK: list[Callable[[], float]] = [time.perf_counter]


def two_pass_nc1(features: torch.Tensor, labels: torch.Tensor, num_classes: int, batch: int = 4096) -> float:
    """NC1 as existing packages compute it, float32 throughout."""
    classes = torch.arange(num_classes, device=labels.device)
    sums, counts = features.new_zeros(num_classes, features.shape[1]), features.new_zeros(2, num_classes)
    for rows, own in zip(features.split(batch), labels.split(batch), strict=True):  # type: ignore[no-untyped-call]
        one_hot = own[:, None] == classes
        counts[0] += one_hot.sum(dim=0)
        sums += one_hot.T.float() @ rows
    means = sums / counts[0].clamp(min=1)[:, None]
    within = features.new_zeros(features.shape[1], features.shape[1])
    for rows, own in zip(features.split(batch), labels.split(batch), strict=True):  # type: ignore[no-untyped-call]
        counts[1] += (own[:, None] == classes).sum(dim=0)
        residuals = rows - means[own]
        within += residuals.T @ residuals
    within /= len(features)
    centered = means - means.mean(dim=0)
    between = centered.T @ centered / num_classes
    return float(torch.trace(within @ torch.linalg.pinv(between)) / num_classes)


def least_times(work: dict[str, Callable[[], object]], repeats: int, device: torch.device) -> dict[str, float]:
    """Least seconds of each, taken in turns, with whatever it left the device to do."""
    best = dict.fromkeys(work, float("inf"))
    for _ in range(repeats):
        for name, call in work.items():
            time.sleep(0.02)  # threads of the call before come to rest
            start = CLOCK[0]()
            call()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            best[name] = min(best[name], CLOCK[0]() - start)
    return best


def sample(case: str, scale: int, device: torch.device) -> list[torch.Tensor]:
    """Features, labels, class means and a weight."""
    num_samples, dim, num_classes = CASES[case]
    num_samples //= scale
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, num_classes, (num_samples,), generator=generator)
    means = torch.randn(num_classes, dim, generator=generator)
    features = torch.randn(num_samples, dim, generator=generator).mul_(0.3).add_(means[labels])
    weight = torch.randn(num_classes, dim, generator=generator)
    return [x.to(device) for x in (features, labels, means, weight)]


def verdict(text: str, found: float, bound: float, *, at_least: bool = False) -> None:
    """Print a ratio and whether it keeps to its bound."""
    kept = found >= bound if at_least else found <= bound
    sign = ">=" if at_least else "<="
    print(f"  {text:<50} {found:8.3f} ({sign} {bound}: {'kept' if kept else 'MISSED'})")


def measure_batches(case: str, sizes: list[int], repeats: int, scale: int, device: torch.device) -> None:
    """Moments and the torchmetrics adapter, fed batch by batch."""
    features, labels, _, weight = sample(case, scale, device)
    num_classes, dim = weight.shape
    loaders = {n: list(zip(features.split(n), labels.split(n), strict=True)) for n in {*sizes, 1000}}  # type: ignore[no-untyped-call]

    def moments(size: int, *, covariance: bool = True) -> ClassMoments:
        found = ClassMoments(num_classes, dim, device=device, covariance=covariance)
        for batch in loaders[size]:
            found.update(*batch)
        return found.merge(ClassMoments(num_classes, dim, device=device, covariance=covariance))  # with what waits

    def adapter(size: int, *, covariance: bool = True) -> None:
        found = NeuralCollapse(num_classes, dim, covariance=covariance).to(device)
        for batch in loaders[size]:
            found.update(*batch)
        found._gathered().counts  # noqa: B018 (with what waits, and without the metrics)

    work: dict[str, Callable[[], object]] = {"product": lambda: features.T @ features}
    for size in sizes:
        for covariance in (True, False):
            text = f"in batches of {size}" + ("" if covariance else ", covariance=False")
            work[f"moments {text}"] = partial(moments, size, covariance=covariance)
            work[f"adapter {text}"] = partial(adapter, size, covariance=covariance)
    times = least_times(work, repeats, device)
    print(f"case {case}: N = {len(labels):,}, d = {dim}, K = {num_classes}; product {times['product']:.3f} s")
    for name in list(work)[1:]:
        verdict(name, times[name] / times["product"], 0.15 if "False" in name else 1.2)
    suites = {
        "ours": lambda: moments(1000).collapse(weight=weight),
        "theirs": lambda: two_pass_nc1(features, labels, num_classes, 1000),
    }
    times = least_times(suites, repeats, device)
    verdict("(3.2 x two-pass NC1) / suite, batches of 1000", 3.2 * times["theirs"] / times["ours"], 4, at_least=True)


def measure_epochs(epochs: int, repeats: int) -> None:
    """A small convolutional network on 4,000 images, trained by Lightning with and without the callback."""
    import lightning.pytorch as pl
    from torch import nn

    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(4000) % 10
    images = torch.randn(4000, 1, 28, 28, generator=generator) + labels[:, None, None, None] / 5
    data = torch.utils.data.TensorDataset(images, labels)

    class Network(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
                nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                nn.Linear(32 * 49, 128), nn.ReLU(),
            )  # fmt: skip
            self.head = nn.Linear(128, 10)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            outputs: torch.Tensor = self.head(self.body(inputs))
            return outputs

        def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> torch.Tensor:
            return nn.functional.cross_entropy(self(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)

    class Clock(pl.Callback):
        """Seconds of each epoch, and after it of the callbacks that follow this one."""

        def __init__(self) -> None:
            self.marks: list[float] = []

        def on_train_epoch_start(self, *_: object) -> None:
            self.marks.append(CLOCK[0]())

        def on_train_epoch_end(self, *_: object) -> None:
            self.marks.append(CLOCK[0]())

        def on_fit_end(self, *_: object) -> None:
            self.marks.append(CLOCK[0]())

    def train(number: int) -> list[float]:
        clock = Clock()
        trainer = pl.Trainer(
            accelerator="cpu", max_epochs=number, logger=False, enable_checkpointing=False,
            callbacks=[clock, CollapseCallback(every=number)], enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        torch.manual_seed(0)
        trainer.fit(Network(), torch.utils.data.DataLoader(data, batch_size=128, shuffle=True))
        return clock.marks

    train(1)  # what is imported and compiled when it is first used
    plain, measured = [], []
    for _ in range(repeats):
        marks = train(epochs)
        # From one start of an epoch to the next, which holds what Lightning does between them.
        plain += [later - earlier for earlier, later in zip(marks[:-3:2], marks[2:-1:2], strict=True)]
        measured.append(marks[-1] - marks[-2])
    epoch, callback = sorted(plain)[len(plain) // 2], sorted(measured)[len(measured) // 2]
    print(f"  medians: an epoch takes {epoch:.3f} s, the measurement after the last one {callback:.3f} s")
    verdict(f"{epochs} epochs with the callback on the last", 1 + callback / (epochs * epoch), 1.05)


def measure_case(case: str, repeats: int, scale: int, device: torch.device) -> None:
    features, labels, means, weight = sample(case, scale, device)
    num_samples, (num_classes, dim) = len(labels), weight.shape

    def gather(*, covariance: bool) -> ClassMoments:
        return ClassMoments(num_classes, dim, device=device, covariance=covariance).update(features, labels)

    def suite() -> ClassMoments:
        moments = gather(covariance=True)
        moments.collapse(weight=weight)
        return moments

    statistics = suite().statistics()

    def nc4() -> None:
        rule = classifier_rule(LinearClassifier.of(weight, None, None, num_classes, dim), num_classes, device)
        tally = DecisionCounter(NearestMean(statistics, device), rule)
        targets, start = labels.cpu().numpy(), 0
        for block in FeatureRows(features).blocks(device):
            tally.add(block, targets[start : start + len(block)])
            start += len(block)

    times = least_times(
        {
            "covariance GEMM": lambda: features.T @ features,
            "reading": features.sum,
            "two GEMMs": lambda: (features @ means.T, features @ weight.T),
            "two-pass NC1": lambda: two_pass_nc1(features, labels, num_classes),
            "suite": suite,
            "moments": lambda: gather(covariance=True),
            "no covariance": lambda: gather(covariance=False),
            "nc4": nc4,
        },
        repeats,
        device,
    )
    print(f"case {case}: N = {num_samples:,}, d = {dim}, K = {num_classes}")
    for name, seconds in times.items():
        print(f"  {name:<40} {seconds:8.3f} s")
    for text, part, whole in (
        ("suite but NC4 / covariance GEMM", "suite", "covariance GEMM"),
        ("its one pass alone / covariance GEMM", "moments", "covariance GEMM"),
        ("suite but NC4 / (3.2 × two-pass NC1)", "suite", "two-pass NC1"),
        ("NC4 / its two GEMMs", "nc4", "two GEMMs"),
        ("reading / covariance=False", "reading", "no covariance"),
    ):
        ratio = times[part] / times[whole] / (3.2 if "3.2" in text else 1.0)
        print(f"  {text:<40} {ratio:8.2f}")
    product, read = 2e-12 * num_samples * dim**2, 4e-9 * num_samples * dim
    for text, amount, unit in (
        ("moments", product, "TFLOP/s"),
        ("no covariance", read, "GB/s"),
        ("reading", read, "GB/s"),
    ):
        print(f"  {text:<40} {amount / times[text]:8.2f} {unit}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--scale", type=int, default=1, help="divide N by this, for a quick look")
    parser.add_argument("--batches", help="sizes of batches, such as 32,128,1024: time these instead of whole arrays")
    parser.add_argument("--epochs", type=int, help="time this many epochs of training instead")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"), help="cpu, cuda, cuda:1")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    CLOCK[0] = time.process_time if arguments.clock == "cpu" else time.perf_counter
    if arguments.epochs is not None:
        measure_epochs(arguments.epochs, arguments.repeats)
        return
    for case in arguments.cases:
        if arguments.batches is None:
            measure_case(case, arguments.repeats, arguments.scale, arguments.device)
        else:
            sizes = [int(size) for size in arguments.batches.split(",")]
            measure_batches(case, sizes, arguments.repeats, arguments.scale, arguments.device)


if __name__ == "__main__":
    main()
