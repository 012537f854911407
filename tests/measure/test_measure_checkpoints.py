"""Checkpoints of a training, measured one after the other: each as by itself, resumable, with the drift in between."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from encollapse.cli.app import app
from encollapse.diagnosis import diagnose_checkpoints
from encollapse.errors import ArgumentError, ArgumentTypeError, EncollapseWarning, FileFormatError
from encollapse.measure import measure_checkpoints, measure_model
from encollapse.measure.checkpoint_files import file_digest, find_checkpoints, load_state, steps_of

K, D, IN = 5, 7, 11
LABELS = torch.arange(60) % K
INPUTS = torch.randn(60, IN, generator=torch.Generator().manual_seed(1)) + 2 * torch.eye(K, IN)[LABELS]
BATCHES = [(INPUTS[i : i + 16], LABELS[i : i + 16]) for i in range(0, 60, 16)]


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(IN, D), nn.Identity(), nn.Linear(D, K))


def train(folder: Path, steps: tuple[int, ...] = (0, 2, 10)) -> nn.Sequential:
    """A real training, with its state after some steps."""
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.3)
    for step in range(max(steps) + 1):
        if step in steps:
            torch.save(net.state_dict(), folder / f"net-{step}.pt")
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(INPUTS), LABELS).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return net


class Counting(list[Any]):
    """Batches that know how often they were read, and may end a run."""

    reads, dies_at = 0, 10**9

    def __iter__(self) -> Iterator[Any]:
        self.reads += 1
        if self.reads == self.dies_at:
            raise KeyboardInterrupt
        return super().__iter__()


def test_every_checkpoint_is_measured_as_by_itself_and_the_network_stays_as_it_was(tmp_path: Path) -> None:
    train(tmp_path)
    handed = network(3)
    before = {name: value.clone() for name, value in handed.state_dict().items()}
    film = measure_checkpoints(str(tmp_path / "*.pt"), handed, BATCHES, convention="class-averaged")
    assert film.steps == (0, 2, 10)  # and not 0, 10, 2
    for path, result in zip(film.paths, film.results, strict=True):
        alone = network()
        alone.load_state_dict(torch.load(path, weights_only=True))
        assert result is not None
        assert result.values == measure_model(alone, BATCHES, convention="class-averaged").values
        assert result.per_class()[0]["cdnv"] >= result.values["cdnv"]  # type: ignore[operator]
    assert all(torch.equal(before[name], value) for name, value in handed.state_dict().items())
    assert list(film.frame["step"]) == [0, 2, 10]
    assert film.frame["nc1_pinv"].is_monotonic_decreasing
    assert film.drift["means_moved"].isna().tolist() == [True, False, False]


def test_drift_of_features_that_are_turned_stretched_and_replaced(tmp_path: Path) -> None:
    base, other = network(), network(5)
    turn = torch.linalg.qr(torch.randn(D, D, generator=torch.Generator().manual_seed(2)))[0]
    old, new_state = base.state_dict(), other.state_dict()
    states = [
        old,
        old | {"0.weight": 3 * turn @ old["0.weight"], "0.bias": old["0.bias"] + 1},  # turned, longer, and moved
        old | {"0.weight": 3 * old["0.weight"]},
        old | {"0.weight": new_state["0.weight"], "0.bias": new_state["0.bias"]},
    ]
    for place, state in enumerate(states):
        torch.save(state, tmp_path / f"{place}.pt")
    film = measure_checkpoints(tmp_path, network, BATCHES)
    turned, back, new = film.drift_rows[1:]
    assert turned["means_procrustes"] == pytest.approx(0.0, abs=1e-6)
    assert turned["features_cka"] == pytest.approx(1.0, abs=1e-6)
    assert turned["subspace"] > 0.1  # type: ignore[operator]
    assert film.drift_rows[2]["means_procrustes"] == pytest.approx(0.0, abs=1e-6)
    means = [r.source.statistics.means for r in film.results if r is not None and r.source is not None]
    centered = [m - m.mean(axis=0) for m in means]
    wanted = np.linalg.norm(centered[2] - centered[1]) / np.linalg.norm(centered[1])
    assert back["means_moved"] == pytest.approx(wanted, rel=1e-6)
    assert new["features_cka"] < 0.9  # type: ignore[operator]
    assert film.drift_rows[3]["means_moved_to_last"] is None
    to_last = np.linalg.norm(centered[2] - centered[3]) / np.linalg.norm(centered[3])
    assert film.drift_rows[2]["means_moved_to_last"] == pytest.approx(to_last, rel=1e-6)
    stretched = measure_checkpoints([tmp_path / "0.pt", tmp_path / "2.pt"], network, BATCHES).drift_rows[1]
    assert stretched["means_moved"] == pytest.approx(2.0, rel=1e-5)
    assert stretched["subspace"] == pytest.approx(0.0, abs=1e-6)


def test_a_run_that_was_ended_goes_on(tmp_path: Path) -> None:
    train(tmp_path)
    whole = measure_checkpoints(tmp_path, network, BATCHES)
    batches, kept = Counting(BATCHES), tmp_path / "kept"
    batches.dies_at = 4  # the probe, and two checkpoints
    with pytest.raises(KeyboardInterrupt):
        measure_checkpoints(tmp_path, network, batches, resume=kept)
    assert len(list(kept.iterdir())) == 2
    batches.dies_at, batches.reads = 10**9, 0
    again = measure_checkpoints(tmp_path, network, batches, resume=kept)
    assert batches.reads == 2  # the probe, and the checkpoint that was missing
    assert [r.values for r in again.results if r] == [r.values for r in whole.results if r]
    assert [r.to_dict() for r in again.results if r] == [r.to_dict() for r in whole.results if r]
    assert [r.details["nc3_cosine"] for r in again.results if r] == [
        r.details["nc3_cosine"] for r in whole.results if r
    ]
    assert again.drift_rows == whole.drift_rows


def test_what_has_changed_is_measured_anew(tmp_path: Path) -> None:
    train(tmp_path)
    kept = tmp_path / "kept"
    batches = Counting(BATCHES)

    def reads(given: Counting = batches, **options: Any) -> int:
        given.reads = 0
        measure_checkpoints(tmp_path, network, given, resume=kept, **options)
        return given.reads - 1

    assert [reads(), reads(), reads(convention="class-averaged"), reads(progress=False)] == [3, 0, 3, 0]
    assert reads(Counting([(x, (y + 1) % K) for x, y in BATCHES])) == 3
    torch.save(network(9).state_dict(), tmp_path / "net-2.pt")
    assert reads() == 1
    for file in kept.iterdir():  # torn files
        file.write_bytes(file.read_bytes()[:100])
    assert reads() == 3


def test_states_as_frameworks_write_them(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    net = network(4)
    state = net.state_dict()
    folder = tmp_path / "checkpoint-500"
    folder.mkdir()
    save_file(state, folder / "model.safetensors")
    torch.save({"unrelated": torch.zeros(3)}, folder / "optimizer.pt")
    files = [folder / "model.safetensors"]
    for name, content in {
        "plain.pt": state,
        "lightning.ckpt": {"state_dict": {f"model.{k}": v for k, v in state.items()}, "epoch": 3},
        "parallel.pth": {"model": {f"module.{k}": v for k, v in state.items()}, "optimizer": {}},
        "compiled.pt": {f"_orig_mod.{k}": v for k, v in state.items()},
    }.items():
        torch.save(content, tmp_path / name)
        files.append(tmp_path / name)
    for path in files:
        other = network(5)
        load_state(other, path)
        assert torch.equal(other(INPUTS), net(INPUTS)), path
    (tmp_path / "checkpoint-1000").mkdir()
    save_file(network(6).state_dict(), tmp_path / "checkpoint-1000" / "model.safetensors")
    for path in files[1:]:
        path.unlink()
    found = find_checkpoints(tmp_path)
    assert [path.parent.name for path in found] == ["checkpoint-500", "checkpoint-1000"]
    assert steps_of(found) == [500, 1000]


def test_steps_are_those_of_the_names() -> None:
    def steps(*names: str) -> list[int]:
        return steps_of(Path(name) for name in names)

    assert steps("epoch=0-step=50.ckpt", "epoch=1-step=100.ckpt") == [50, 100]
    assert steps("resnet18_epoch3_acc91.pt", "resnet18_epoch12_acc93.pt") == [3, 12]
    assert steps("net7_2.pt", "net7_10.pt") == [2, 10]
    assert steps("best.pt", "last.pt") == [0, 1]
    assert steps("acc91.pt", "later_acc90.pt") == [0, 1]  # no steps at all


def test_a_list_in_an_order_of_its_own_is_said() -> None:
    """As `glob.glob` gives files in whatever order the disk has them."""
    with pytest.warns(EncollapseWarning, match=r"names count 10, 2, and they are taken in the order"):
        assert steps_of([Path("a/10.pt"), Path("a/2.pt")]) == [0, 1]


@pytest.mark.parametrize("film", [measure_checkpoints, diagnose_checkpoints])
def test_what_makes_the_network_and_reads_the_data_is_checked_first(film: Any, tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(3, 2).state_dict(), tmp_path / "net.pt")
    batches = [(torch.randn(6, 3), torch.arange(6) % 2)]
    with pytest.raises(
        ArgumentTypeError, match=r"^build: Linear is called without arguments.*lambda: Linear\(\.\.\.\)"
    ):
        film(tmp_path, torch.nn.Linear, batches)
    with pytest.raises(ArgumentTypeError, match=r"^build: expected a torch\.nn\.Module or what makes one, got str"):
        film(tmp_path, "net", batches)
    with pytest.raises(ArgumentTypeError, match=r"^loader: an iterator can be read once"):
        film(tmp_path, lambda: torch.nn.Linear(3, 2), iter(batches))


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    torch.save(network(), tmp_path / "module.pt")  # a pickled module, which is code
    with pytest.raises(FileFormatError, match=r"module\.pt' holds no plain state dict"):
        measure_checkpoints(tmp_path / "module.pt", network, BATCHES)
    torch.save(nn.Sequential(nn.Linear(2, 3)).state_dict(), tmp_path / "other.pt")
    with pytest.raises(ArgumentError, match=r"other\.pt' does not fit the network"):
        measure_checkpoints([tmp_path / "other.pt"], network, BATCHES)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        measure_checkpoints(tmp_path / "none.pt", network, BATCHES)
    with pytest.raises(ArgumentError, match="has no files of states"):
        measure_checkpoints(str(tmp_path / "x*.pt"), network, BATCHES)
    with pytest.raises(ArgumentTypeError, match="an iterator can be read once"):
        measure_checkpoints(tmp_path, network, iter(BATCHES))
    with pytest.raises(ArgumentTypeError, match="build: expected a torch"):
        measure_checkpoints(tmp_path, "net.py:Net", BATCHES)  # type: ignore[arg-type]


def test_a_checkpoint_that_diverged_costs_no_other(tmp_path: Path) -> None:
    train(tmp_path)
    state = torch.load(tmp_path / "net-2.pt", weights_only=True)
    state["0.weight"][0, 0] = float("nan")
    torch.save(state, tmp_path / "net-2.pt")
    film = measure_checkpoints(tmp_path, network, BATCHES)
    assert [result is None for result in film.results] == [False, True, False]
    assert "must be finite" in film.missing[str(film.paths[1])]
    assert film.drift_rows[2]["means_moved"] is not None  # from the last one that could be measured
    assert film.rows()[1]["cdnv"] is None
    with pytest.raises(ArgumentError, match="must be finite"):
        measure_checkpoints([tmp_path / "net-2.pt"], network, BATCHES)


def test_a_file_that_cannot_be_read_costs_no_other(tmp_path: Path) -> None:
    train(tmp_path)
    whole = measure_checkpoints(tmp_path, network, BATCHES)
    path = tmp_path / "net-2.pt"
    content = path.read_bytes()
    for damage, reason in ((content[: len(content) // 2], "no plain state dict"), (b"", r"no plain state dict \(EOF")):
        path.write_bytes(damage)
        film = measure_checkpoints(tmp_path, network, BATCHES)
        assert re.search(reason, film.missing[str(path)])
        assert [r and r.cdnv for r in film.results] == [whole.results[0].cdnv, None, whole.results[2].cdnv]  # type: ignore[union-attr]
    torch.save(torch.optim.Adam(network().parameters()).state_dict(), path)
    film = measure_checkpoints(tmp_path, network, BATCHES)
    assert (
        "holds no state of this network, but 'state', 'param_groups'; leave such files out" in film.missing[str(path)]
    )
    torch.save(nn.Sequential(nn.Linear(IN, 2)).state_dict(), path)
    assert "does not fit the network" in measure_checkpoints(tmp_path, network, BATCHES).missing[str(path)]


def test_the_folders_of_a_training_and_the_state_beside_them(tmp_path: Path) -> None:
    """As the Trainer of transformers leaves them: checkpoint-500 and so on, and the last model beside."""
    from safetensors.torch import save_file

    for folder in (tmp_path / "checkpoint-1000", tmp_path / "checkpoint-500", tmp_path):
        folder.mkdir(exist_ok=True)
        save_file(network().state_dict(), folder / "model.safetensors")
        torch.save({"lr": 0.1}, folder / "training_args.bin")
    found = find_checkpoints(tmp_path)
    assert [path.parent.name for path in found] == ["checkpoint-500", "checkpoint-1000", tmp_path.name]


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.head = nn.Embedding(7, 5), nn.Linear(5, 7, bias=False)
        self.head.weight = self.words.weight


def test_a_state_in_several_files_is_read_by_its_index(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    state = network(5).state_dict()
    folder = tmp_path / "checkpoint-7"
    folder.mkdir()
    places = {name: f"model-0000{1 + (name > '1')}-of-00002.safetensors" for name in state}
    for file in set(places.values()):
        save_file({name: state[name] for name in state if places[name] == file}, folder / file)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    assert find_checkpoints(tmp_path) == find_checkpoints(folder) == find_checkpoints(index) == [index]
    film = measure_checkpoints(tmp_path, network(), BATCHES)
    assert film.frame["cdnv"].tolist() == [measure_model(network(5), BATCHES).cdnv]
    before = file_digest(index)
    save_file(
        {name: state[name] + 1 for name in state if places[name] == places["0.weight"]}, folder / places["0.weight"]
    )
    assert file_digest(index) != before  # or a run that goes on would take the old state's result
    with pytest.raises(ArgumentError, match=r"one part of a state; give the index"):
        find_checkpoints(folder / places["0.weight"])
    index.write_text(json.dumps({"weight_map": {"0.weight": "../other.safetensors"}}))
    with pytest.raises(FileFormatError, match="no index of files"):
        load_state(network(), index)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_state_in_pieces_is_refused_with_what_puts_it_together(tmp_path: Path) -> None:
    from torch.distributed.checkpoint.format_utils import dcp_to_torch_save
    from torch.distributed.checkpoint.state_dict_saver import save

    pieces, whole = tmp_path / "ckpt" / "step-5", tmp_path / "state.pt"
    save(network(6).state_dict(), checkpoint_id=pieces)
    for given in (pieces, tmp_path / "ckpt", str(tmp_path / "ckpt" / "*")):
        with pytest.raises(ArgumentError, match=r"in pieces.*format_utils dcp_to_torch .*step-5 state\.pt"):
            measure_checkpoints(given, network(), BATCHES)
    with pytest.raises(ArgumentError, match=r"^weights: .*in pieces"):
        load_state(network(), pieces, "weights")
    dcp_to_torch_save(pieces, whole)  # what that command calls
    film = measure_checkpoints(whole, network(), BATCHES)
    assert film.frame["cdnv"].tolist() == [measure_model(network(6), BATCHES).cdnv]


def test_a_tied_weight_is_in_the_file_once(tmp_path: Path) -> None:
    trained, other = Tied(), Tied()
    torch.save({"words.weight": trained.words.weight.detach()}, tmp_path / "tied.pt")
    load_state(other, tmp_path / "tied.pt")
    assert torch.equal(other.head.weight, trained.words.weight)
    other.head.weight = nn.Parameter(torch.zeros(7, 5))  # of a network that does not tie them it is missing
    with pytest.raises(ArgumentError, match=r"does not fit the network.*head\.weight"):
        load_state(other, tmp_path / "tied.pt")


class Shuffled(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """Samples with noise of their own, drawn anew at every look, as augmentation does."""

    def __len__(self) -> int:
        return len(LABELS)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        return INPUTS[place] + 0.01 * torch.randn(IN), int(LABELS[place])


def test_shuffled_and_augmented_loaders_are_known_again(tmp_path: Path) -> None:
    train(tmp_path)
    loader = torch.utils.data.DataLoader(Shuffled(), batch_size=16, shuffle=True)
    state = torch.get_rng_state()
    first = measure_checkpoints(tmp_path, network, loader, resume=tmp_path / "kept")
    assert torch.equal(state, torch.get_rng_state())
    number = len(list((tmp_path / "kept").iterdir()))
    torch.manual_seed(123)
    again = measure_checkpoints(tmp_path, network, loader, resume=tmp_path / "kept")
    assert number == len(list((tmp_path / "kept").iterdir())) == 3
    assert first.frame.equals(again.frame)


def test_figure_and_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    layers = "nn.Flatten(), nn.Linear(64, 13), nn.ReLU(), nn.Linear(13, 10)"
    Path("net.py").write_text(f"from torch import nn\n\n\ndef net():\n    return nn.Sequential({layers})\n")
    torch.manual_seed(0)
    for step in (1, 20):
        made = nn.Sequential(nn.Flatten(), nn.Linear(64, 13), nn.ReLU(), nn.Linear(13, 10))
        torch.save(made.state_dict(), f"step{step}.pt")
    line = ["measure", "--checkpoints", "step*.pt", "--model", "net.py:net", "--data", "digits", "--resume", "kept"]
    result = CliRunner().invoke(app, [*line, "-o", "film.svg", "--json"])
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)["checkpoints"]
    assert [row["step"] for row in rows] == [1, 20]
    assert rows[1]["nc1_trace_ratio"] > 0
    assert rows[1]["drift"]["means_procrustes"] > 0
    assert "nc1_trace_ratio" in Path("film.csv").read_text().splitlines()[0]
    assert "<svg" in Path("film.svg").read_text()
    shown = CliRunner().invoke(app, line)
    assert "step20.pt" in shown.stdout
    for wrong, hint in ((["--head", "3"], "head: is for --checkpoints"), (line[:3], "need a network and data")):
        failed = CliRunner().invoke(app, ["measure", *wrong] if wrong[0] != "measure" else wrong)
        assert hint in str(failed.exception)
