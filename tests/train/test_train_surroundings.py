"""What stands around the training: progress on a terminal, missing packages."""

import io
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import encollapse as ec
from encollapse.errors import MissingDependencyError
from encollapse.train import fit
from encollapse.train.distributed import bfloat16, process_group
from encollapse.train.distributed.process_group import ProcessGroup, make_fabric
from encollapse.train.loop.progress import Progress, listening
from reference.fresh_interpreter import loaded


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "patience", "enabled", "shown"),
    [
        (Terminal(), 0.0, True, True),
        (Terminal(), 60.0, True, False),
        (Terminal(), 0.0, False, False),
        (io.StringIO(), 0.0, True, False),
    ],
)
def test_progress_shows_only_long_work_on_a_terminal(
    stream: io.StringIO, patience: float, enabled: bool, shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr("encollapse.train.loop.progress.PATIENCE_SECONDS", patience)
    with Progress("training digits", 10, enabled=enabled) as bar:
        bar.update(3, "so far")
        bar.update(9, "nearly")
    assert ("training digits" in stream.getvalue()) is shown


def test_without_torch_the_package_says_what_to_install() -> None:
    probe = (
        "import sys; sys.modules['torch'] = None\n"
        "import encollapse as ec\n"
        "from encollapse.errors import MissingDependencyError\n"
        "import encollapse.train.settings\n"
        "try:\n    ec.train.fit\n"
        "except MissingDependencyError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert "pip install 'encollapse[study]'" in done.stdout


def test_without_fabric_fit_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    data = ec.data.Dataset("tiny", ec.data.Split(np.eye(4), np.array([0, 1, 0, 1])))
    with pytest.raises(MissingDependencyError, match=r"pip install 'encollapse\[study\]'"):
        fit(data, "one-hot", weight_decay=0.1, feature_decay=0.1, precision="bf16-mixed")
    assert fit(data, "one-hot", weight_decay=0.1, feature_decay=0.1, device="cpu", epochs=1, finish=1).history


def test_one_process_in_full_precision_trains_as_under_fabric_without_its_import(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code = (
        "import encollapse as ec\n"
        "data = ec.data.load('digits', per_class=3)\n"
        "ec.train.fit(data, 'one-hot', weight_decay=5e-3, feature_decay=1e-3, epochs=1, finish=1, device='cpu')"
    )
    assert loaded(code, "lightning_fabric", "torch") == ["torch"]
    data = ec.data.load("digits", per_class=3)
    options: dict[str, Any] = {"weight_decay": 5e-3, "feature_decay": 1e-3, "epochs": 3, "finish": 3, "device": "cpu"}
    alone = fit(data, "one-hot", **options)
    monkeypatch.setattr(ProcessGroup, "alone", lambda settings: ProcessGroup(make_fabric(settings)))
    joined = fit(data, "one-hot", **options)
    for own, other in zip(alone.model.parameters(), joined.model.parameters(), strict=True):
        assert torch.equal(own, other)


def test_whoever_listens_hears_how_far_a_training_is() -> None:
    heard: list[tuple[int, int, str]] = []
    with listening(lambda *news: heard.append(news)):
        with Progress("work", 7, enabled=False) as bar:
            bar.update(3, "half way")
        with listening(None), Progress("work", 7, enabled=False) as bar:
            bar.update(4, "unheard")
    with Progress("work", 7, enabled=False) as bar:
        bar.update(5, "unheard")
    assert heard == [(3, 7, "half way")]


CPUINFO = "processor : 0\nmodel name : made up\nflags : fpu avx2 avx512f {}\n"


@pytest.mark.parametrize(
    ("told", "flags", "known"),
    [
        ({"avx512_bf16": True, "amx_bf16": False}, None, True),
        ({"avx512_bf16": False, "amx_bf16": True}, None, True),
        ({"avx512_bf16": False, "amx_bf16": False}, None, False),
        ({"architecture": "aarch64"}, None, None),
        (None, CPUINFO.format("avx512_bf16"), True),
        (None, CPUINFO.format("amx_bf16 amx_tile"), True),
        (None, CPUINFO.format("avx512dq"), False),
        (None, "Features : asimd bf16", None),
        (None, None, None),
    ],
)
def test_what_a_processor_says_of_bfloat16(
    told: dict[str, object] | None,
    flags: str | None,
    known: bool | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", None if told is None else lambda: told, raising=False)
    monkeypatch.setattr(bfloat16, "_CPUINFO", tmp_path / "cpuinfo")
    if flags is not None:
        (tmp_path / "cpuinfo").write_text(flags, encoding="utf-8")
    assert bfloat16.multiplies_bfloat16() is known


@pytest.mark.parametrize("has", [True, False, None])
def test_mixed_precision_warns_once_where_the_processor_only_emulates_it(
    has: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_group, "multiplies_bfloat16", lambda: has)
    data = ec.data.Dataset("tiny", ec.data.Split(np.eye(4), np.array([0, 1, 0, 1])))
    options: dict[str, Any] = {"weight_decay": 0.1, "feature_decay": 0.1, "device": "cpu", "epochs": 1, "finish": 0}
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        fit(data, "one-hot", precision="bf16-mixed", **options)
        fit(data, "one-hot", precision="32-true", **options)
    said = [str(warning.message) for warning in found if "bfloat16" in str(warning.message)]
    assert len(said) == (has is False)
    assert all(text.startswith("precision: ") and "32-true" in text for text in said)
