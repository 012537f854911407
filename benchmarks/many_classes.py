"""Whether default trainings reach the minimum with many classes: glyphs of fonts, and mixtures of Gaussians.

    python benchmarks/many_classes.py --classes 17 101 505 --samples-per-class 40
    python benchmarks/many_classes.py --data mixture --classes 2 1000 --samples-per-class 8 --json

Glyphs are characters of the DejaVu fonts that matplotlib ships, a class each, drawn in eleven styles and distorted by
random affine maps, 32 × 32. Characters that look alike in DejaVu Sans are one class. A mixture has a Gaussian for each
class, in as many dimensions, 23 to 256, and centers 2 standard deviations apart along each. One-hot labels,
t = c√K = 0.3, λ_b = 0.2, weight decay 5e-3, an mlp. The command fails where a gram_error is above 0.02.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import unicodedata
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont

import encollapse as ec
from encollapse.data import Dataset, Split

SIZE, DRAWN = 32, 96
"""Pixels of an image, and of the glyph that is distorted before it is made small."""

FONTS = [
    f"DejaVu{name}.ttf"
    for name in (
        "Sans",
        "Sans-Bold",
        "Sans-Oblique",
        "Sans-BoldOblique",
        "SansMono",
        "SansMono-Bold",
        "SansMono-Oblique",
        "Serif",
        "Serif-Bold",
        "Serif-Italic",
        "Serif-BoldItalic",
    )
]
T, BIAS_DECAY, WEIGHT_DECAY, MOST_ERROR = 0.3, 0.2, 5e-3, 0.02


def characters(count: int) -> list[str]:
    """The first characters that every font has and that look different from all before them."""
    folder = Path(mpl.get_data_path(), "fonts", "ttf")
    common = set.intersection(*(set(FT2Font(str(folder / name)).get_charmap()) for name in FONTS))
    plain = ImageFont.truetype(str(folder / FONTS[0]), DRAWN // 2)
    seen: set[bytes] = set()
    found: list[str] = []
    for code in sorted(common):
        if unicodedata.category(chr(code))[0] not in "LNPS":
            continue
        look = _drawn(chr(code), plain).tobytes()
        if look not in seen:
            seen.add(look)
            found.append(chr(code))
    if len(found) < count:
        raise SystemExit(f"--classes: the fonts have {len(found)} characters that look different, got {count}")
    return found[:count]


def glyphs(num_classes: int, each: int, seed: int) -> Dataset:
    """Images (N, 1, 32, 32) of so many characters, each in random styles, turned, sheared, scaled and moved."""
    rng = np.random.default_rng(seed)
    folder = Path(mpl.get_data_path(), "fonts", "ttf")
    fonts = [ImageFont.truetype(str(folder / name), DRAWN // 2) for name in FONTS]
    images = np.empty((num_classes * each, 1, SIZE, SIZE), np.float32)
    for k, character in enumerate(characters(num_classes)):
        for i in range(each):
            drawn = _drawn(character, fonts[rng.integers(len(fonts))])
            images[k * each + i, 0] = np.asarray(_distorted(drawn, rng), np.float32) / 255
    return Dataset(f"glyphs{num_classes}", Split(images, np.repeat(np.arange(num_classes), each)))


def _drawn(character: str, font: ImageFont.FreeTypeFont) -> Image.Image:
    image = Image.new("L", (DRAWN, DRAWN))
    ImageDraw.Draw(image).text((DRAWN // 2, DRAWN // 2), character, fill=255, font=font, anchor="mm")
    return image


def _distorted(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    angle, shear = rng.normal(0, 0.1, 2)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.array([[1, shear], [0, 1]]) @ np.diag(rng.uniform(0.85, 1.2, 2))
    center = np.full(2, DRAWN / 2)
    offset = center - matrix @ (center + rng.uniform(-5, 5, 2))
    entries = tuple(np.column_stack([matrix, offset]).ravel())
    moved = image.transform(image.size, Image.Transform.AFFINE, entries, Image.Resampling.BILINEAR)
    return moved.resize((SIZE, SIZE), Image.Resampling.BOX)


def mixture(num_classes: int, each: int, seed: int) -> Dataset:
    """Points of a Gaussian for each class."""
    dim = max(23, min(num_classes, 256))
    return ec.data.gaussian_mixture(num_classes, dim=dim, samples_per_class=each, separation=2.0 * dim**0.5, seed=seed)


MAKERS = {"glyphs": glyphs, "mixture": mixture}


def trained(dataset: Dataset, seed: int, finish: int | None, **model_options: Any) -> dict[str, Any]:
    """What came of a training, as plain values."""
    lengths: dict[str, Any] = {} if finish is None else {"finish": finish}
    start = time.process_time()
    run = ec.train.fit(
        dataset,
        "one-hot",
        weight_decay=WEIGHT_DECAY,
        feature_decay=T**2 / (dataset.num_classes * len(dataset.train) * WEIGHT_DECAY),
        bias_decay=BIAS_DECAY,
        model_options=model_options,
        **lengths,
        seed=seed,
        progress=sys.stderr.isatty(),
    )
    assert run.comparison is not None
    return {
        "data": dataset.name,
        "samples": len(dataset.train),
        "gram_error": run.comparison.gram_error,
        "accuracy": run.collapse.accuracy,
        "stationarity": run.stationarity,
        "status": run.status.name,
        "passes": run.history[-1]["epoch"],
        "cpu_seconds": time.process_time() - start,
    }


def main() -> int:
    """Train, print, and say by the exit status whether all reached the minimum."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=MAKERS, default=["glyphs"])
    parser.add_argument("--classes", nargs="+", type=int, default=[17, 101, 505])
    parser.add_argument("--samples-per-class", type=int, default=40)
    parser.add_argument("--width", type=int, help="of the mlp (default: what the number of classes asks for)")
    parser.add_argument("--depth", type=int, default=3, help="hidden layers (default %(default)s)")
    parser.add_argument("--finish", type=int, help="iterations of L-BFGS (default: those of the model)")
    parser.add_argument("--seed", type=int, default=0, help="of data and training (default %(default)s)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="one JSON object a line instead of the table")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    if not asked.json:
        print("| data | samples | gram_error | accuracy | stationarity | status | passes | CPU s |", flush=True)
        print("|---|---|---|---|---|---|---|---|", flush=True)
    rows = []
    for name in asked.data:
        for num_classes in asked.classes:
            dataset = MAKERS[name](num_classes, asked.samples_per_class, asked.seed)
            width = {} if asked.width is None else {"width": asked.width}
            row = trained(dataset, asked.seed, asked.finish, depth=asked.depth, **width)
            cells = (f"{value:.3g}" if isinstance(value, float) else str(value) for value in row.values())
            print(json.dumps(row) if asked.json else f"| {' | '.join(cells)} |", flush=True)
            rows.append(row)
    return int(any(row["gram_error"] is None or row["gram_error"] > MOST_ERROR for row in rows))


if __name__ == "__main__":
    sys.exit(main())
