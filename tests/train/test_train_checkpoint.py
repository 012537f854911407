"""A training that is interrupted goes on as if it had not been, and refuses a state that is not its own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from safetensors.torch import save_file

import encollapse as ec
from encollapse.errors import ArgumentError, FileFormatError, WriteError
from encollapse.train import Run, fit
from reference import killed_training
from reference.fresh_interpreter import fresh

DATA = ec.data.load("digits", counts=11, seed=7)


def trained(checkpoint: Path | None, **options: Any) -> Run:
    given: dict[str, Any] = {"epochs": 2, "finish": 4, "checkpoint_seconds": 0.0, "bias_decay": 0.3}
    return fit(DATA, "one-hot", weight_decay=5e-3, feature_decay=1e-2, checkpoint=checkpoint, **given | options)


@pytest.mark.processes
def test_killed_at_random_moments_a_training_ends_bit_for_bit_the_same(tmp_path: Path) -> None:
    script = str(Path(killed_training.__file__))
    done = subprocess.run([sys.executable, script, str(tmp_path), "4", "1"], capture_output=True, text=True, check=True)
    report = json.loads(done.stdout)
    assert report["status"] == 0
    assert report["resumed"] > 0
    assert report["killed"] == report["calm"]
    assert sorted(report["after"]) == ["calm.json", "killed.json"]


def test_the_state_goes_at_the_end_unless_it_is_to_be_kept(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    plain = trained(None)
    assert trained(path).history == plain.history
    assert not path.exists()
    assert trained(path, keep_checkpoint=True).history == plain.history
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    # It is resumed from, to the same end.
    assert trained(path).history == plain.history


def test_a_state_of_another_training_or_no_state_at_all_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    trained(path, keep_checkpoint=True)
    with pytest.raises(ArgumentError, match=r"checkpoint: .* other settings or data"):
        trained(path, bias_decay=0.4)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(FileFormatError, match="not the state of a training"):
        trained(path)


def as_layout(path: Path, version: int, without: str = "") -> None:
    """Write a state again as an earlier release did, which kept no digest."""
    with safe_open(path, framework="pt") as opened:
        header = json.loads(opened.metadata()["encollapse"])
        tensors = {name: opened.get_tensor(name).clone() for name in opened.keys()}  # noqa: SIM118
    header["version"] = version
    header["state"]["dict"] = [entry for entry in header["state"]["dict"] if entry[0] != without]
    save_file(tensors, path, metadata={"encollapse": json.dumps(header)})


def test_states_of_layout_2_go_on_and_other_layouts_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    plain = trained(path, keep_checkpoint=True)
    as_layout(path, 2)
    assert trained(path, keep_checkpoint=True).history == plain.history
    as_layout(path, 2)
    with pytest.raises(ArgumentError, match="other settings or data, or of an earlier release"):
        trained(path, bias_decay=0.4)
    as_layout(path, 2, without="steps_off")
    with pytest.raises(FileFormatError, match=r"state\.safetensors: the state of a training without steps_off"):
        trained(path)
    as_layout(path, 1)
    with pytest.raises(ArgumentError, match="has layout 1, and this release reads 2 and 3"):
        trained(path)


def test_a_place_where_no_state_can_be_kept_is_refused_before_the_training(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    # No state would be written in this time: it is the place that is looked at.
    for path, error, text in (
        (tmp_path, ArgumentError, "checkpoint: .* is a folder; name a file in it"),
        (tmp_path / "file" / "state", WriteError, "cannot be written .*file' is a file"),
    ):
        with pytest.raises(error, match=text):
            trained(path, checkpoint_seconds=1e9)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@pytest.mark.processes
def test_a_full_disk_costs_the_state_and_not_the_training(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    status, *warned = fresh(
        "import resource, warnings, encollapse as ec\n"
        "data = ec.data.load('digits', counts=11, seed=7)\n"
        "options = dict(weight_decay=5e-3, feature_decay=1e-2, epochs=2, finish=4, checkpoint_seconds=0.0)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "with warnings.catch_warnings(record=True) as caught:\n"
        "    warnings.simplefilter('always')\n"
        f"    run = ec.train.fit(data, 'one-hot', checkpoint={str(path)!r}, **options)\n"
        "print(run.status.name, *[w.message for w in caught if w.category.__name__ == 'EncollapseWarning'], sep='\\n')"
    ).splitlines()
    assert status == trained(None).status.name
    assert warned
    assert all("cannot be written (File too large); the training goes on" in text for text in warned)
    assert not list(tmp_path.iterdir())
