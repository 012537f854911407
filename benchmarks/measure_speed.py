"""Speed of the measurement beside the products of matrices that it cannot do without.

Every case is timed in turns with its yardsticks, in one run, and the least times are compared: the machine
may be busy with other things, which spoils times but, of the least of several, hardly ratios.

    python benchmarks/measure_speed.py --cases A B C --repeats 5 --threads 2
    python benchmarks/measure_speed.py --device cuda

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

import torch

from encollapse.measure import ClassMoments
from encollapse.measure.decisions.classifier import LinearClassifier
from encollapse.measure.decisions.counter import DecisionCounter, classifier_rule
from encollapse.measure.decisions.rules import NearestMean
from encollapse.measure.moments.inputs import FeatureRows

CASES = {"A": (50_000, 512, 10), "B": (20_000, 768, 1000), "C": (200_000, 2048, 100)}


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
    """Least wall seconds of each, taken in turns, with whatever it left the device to do."""
    best = dict.fromkeys(work, float("inf"))
    for _ in range(repeats):
        for name, call in work.items():
            time.sleep(0.02)  # threads of the call before come to rest
            start = time.perf_counter()
            call()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def measure_case(case: str, repeats: int, scale: int, device: torch.device) -> None:
    num_samples, dim, num_classes = CASES[case]
    num_samples //= scale
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, num_classes, (num_samples,), generator=generator)
    means = torch.randn(num_classes, dim, generator=generator)
    features = torch.randn(num_samples, dim, generator=generator).mul_(0.3).add_(means[labels])
    weight = torch.randn(num_classes, dim, generator=generator)
    labels, means, features, weight = (x.to(device) for x in (labels, means, features, weight))

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
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"), help="cpu, cuda, cuda:1")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for case in arguments.cases:
        measure_case(case, arguments.repeats, arguments.scale, arguments.device)


if __name__ == "__main__":
    main()
