"""What the page draws, compared with the library called directly."""

import asyncio
import contextlib
import io
import json
import math
import re
import shlex
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import encollapse as ec
from encollapse import cli
from encollapse._internal.json_values import plain
from encollapse.encodings.registry import ENCODINGS
from encollapse.explorer.api.request_queue import QueueFullError, RequestQueue
from encollapse.explorer.state.fields import FieldError
from encollapse.explorer.state.state import State, address, parse
from encollapse.explorer.views import bias_path, design, projection, runs, snippets, solution
from encollapse.explorer.views.bias_path import SupersededError
from encollapse.explorer.views.tooltips import tooltips
from encollapse.study.results import Results, open_results
from encollapse.study.store.arrays import load_arrays
from reference.packed import unpacked
from reference.study_folder import TOML, failed, study_of, write_folder

IMBALANCED = State(classes=5, counts="typed", typed="31,29,7,5,3", weight_decay=5e-3, feature_decay=2e-4)


def direct(state: State) -> ec.ufm.Solution:
    counts = [int(n) for n in state.typed.split(",")]
    problem = ec.ufm.Problem(
        ec.encodings.by_name(state.encoding, 5),
        counts,
        weight_decay=state.weight_decay,
        feature_decay=state.feature_decay,
        bias_decay=state.bias_decay,
    )
    return ec.ufm.solve(problem)


@pytest.mark.parametrize("bias_decay", [0.0, 0.07, math.inf])
def test_the_picture_is_the_solution(bias_decay: float) -> None:
    state = replace(IMBALANCED, bias_decay=bias_decay)
    drawn, solved = solution.picture(state), direct(state)
    assert drawn["numbers"]["values"]["loss"] == pytest.approx(solved.loss, rel=1e-12)
    assert drawn["bias"] == pytest.approx(solved.bias.tolist(), abs=1e-14)
    features = unpacked(drawn["features"])
    assert np.allclose(features, solved.geometry.cosines(), atol=1e-12)
    products = solution.picture(replace(state, quantity="products", centered=True))
    assert np.allclose(unpacked(products["features"]), solved.geometry.feature_gram_centered, atol=1e-12)
    whole = solution.picture(replace(state, quantity="products"))
    assert solved.geometry.classifier_gram is not None
    assert np.allclose(unpacked(whole["classifier"]), solved.geometry.classifier_gram, atol=1e-12)


@pytest.mark.parametrize("bias_decay", [0.0, 0.3, math.inf])
def test_what_is_learned_is_what_the_labels_offer_above_the_threshold(bias_decay: float) -> None:
    spectrum = solution.picture(replace(IMBALANCED, bias_decay=bias_decay))["spectrum"]
    above = np.clip(np.array(spectrum["offered"]) - spectrum["threshold"], 0, None)
    assert np.allclose(spectrum["learned"], above, atol=1e-10)


def test_a_total_collapse_is_drawn_and_said() -> None:
    drawn = solution.picture(State(feature_decay=1.0))
    assert drawn["frame"]["empty"]
    assert "nothing is learned" in drawn["certificate"]["words"]
    assert drawn["numbers"]["texts"]["mean_cosine"] == "–"
    json.dumps(plain(drawn), allow_nan=False)


@pytest.mark.parametrize("name", sorted(ENCODINGS))
def test_every_encoding_of_the_catalog_can_be_chosen(name: str) -> None:
    state = State(encoding=name, classes=6, feature_decay=1e-5)
    drawn = solution.picture(state)
    made = ec.encodings.by_name(name, 6, **ENCODINGS[name].example_for(6))
    assert (drawn["classes"], drawn["outputs"]) == (6, made.code_dim)
    assert drawn["certificate"]["verdict"] == "proved"


def test_the_line_has_its_corner_at_the_critical_bias_decay() -> None:
    state = State(classes=4, samples=5, feature_decay=2e-3)
    line = bias_path.line(state)
    assert line["critical"] == pytest.approx(0.0291076, rel=1e-5)
    mean = np.array(line["mean"])
    below = np.array(line["bias_decay"]) <= line["critical"]
    assert np.allclose(mean[below], -1 / 3, atol=1e-7)
    assert (np.diff(mean[~below]) > 0).all()
    assert line["bias"][0] == pytest.approx(line["label_mean"])


def test_a_line_that_runs_out_of_time_is_coarser_and_whole() -> None:
    state = State(classes=5, feature_decay=1e-4)
    whole, quick = bias_path.line(state), bias_path.line(state, seconds=0.0)
    assert 10 < len(quick["mean"]) < len(whole["mean"]) / 2
    assert quick["bias_decay"][0] == 0.0
    assert math.isinf(quick["bias_decay"][-1])
    assert whole["critical"] in quick["bias_decay"]
    points = dict(zip(whole["bias_decay"], whole["mean"], strict=True))
    assert quick["mean"] == pytest.approx([points[d] for d in quick["bias_decay"]], abs=1e-9)


def test_a_line_that_nobody_waits_for_is_not_finished() -> None:
    with pytest.raises(SupersededError):
        bias_path.line(State(), wanted=lambda: False)


def random_layer(q: int, d: int, k: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.standard_normal((q, d)), generator.standard_normal((d, k)), np.full(k, 1 / k)


@pytest.mark.parametrize("axes", ["turning", "leading"])
@pytest.mark.parametrize(("q", "d", "k"), [(7, 5, 7), (3, 2, 5), (2, 11, 3), (1, 1, 2)])
def test_a_rotation_of_feature_space_leaves_the_picture_alone(axes: str, q: int, d: int, k: int) -> None:
    weight, means, priors = random_layer(q, d, k, seed=q)
    turn = np.linalg.qr(np.random.default_rng(9).standard_normal((d, d)))[0]
    first = projection.picture(weight, means, priors, axes=axes)
    second = projection.picture(weight @ turn.T, turn @ means, priors, axes=axes, previous=first.means)
    assert np.allclose(first.means, second.means, atol=1e-8)
    assert np.allclose(first.rows, second.rows, atol=1e-8)
    assert first.shown == pytest.approx(second.shown)
    assert 0 < first.shown <= 1 + 1e-12


def test_three_dimensions_lose_nothing_of_three() -> None:
    weight, means, priors = random_layer(4, 3, 5, seed=1)
    drawn = projection.picture(weight, means, priors)
    scale = np.linalg.norm(means, axis=0).max()
    assert np.allclose(drawn.means @ drawn.means.T, means.T @ means / scale**2, atol=1e-10)
    assert drawn.shown == pytest.approx(1.0)


def largest_step(number: int) -> tuple[float, np.ndarray]:
    state, last, steps = State(classes=9, feature_decay=5e-4), None, []
    for decay in np.geomspace(1e-2, 1e2, number):
        points = np.array(solution.picture(replace(state, bias_decay=float(decay)), last)["frame"]["means"])
        if last is not None:
            steps.append(float(np.linalg.norm(points - last, axis=1).max()))
        last = points
    assert last is not None
    return max(steps), last


def test_the_frame_turns_without_jumps() -> None:
    """The lift beyond the critical point grows like a square root: finer steps of the decay are finer turns."""
    coarse, _ = largest_step(20)
    fine, last = largest_step(320)
    assert fine < 0.6 * coarse
    assert last[:, 0].min() > 0.5  # the umbrella is open


def test_an_encoding_that_changes_nothing_draws_the_same_picture() -> None:
    """Scaling one-hot labels with their decays scales the geometry, so the drawing does not move."""
    state = State(classes=6, feature_decay=1e-4)
    first = solution.picture(state)["frame"]["means"]
    scaled = replace(state, encoding="scaled-one-hot", options=(("off", "0"), ("on", "1")))
    second = solution.picture(scaled, np.array(first))["frame"]["means"]
    assert np.allclose(first, second, atol=1e-6)


STATES = [
    State(),
    replace(IMBALANCED, bias_decay=math.inf),
    State(encoding="label-smoothing", options=(("smoothing", "0.1"),), classes=7, feature_decay=1e-5),
    State(encoding="hierarchical", classes=5, counts="longtail", feature_decay=1e-6),
    State(encoding="random", options=(("code_dim", "3"), ("seed", "5")), features="relu", feature_decay=1e-5),
    State(encoding="from-similarity", classes=4, counts="step", feature_decay=1e-5),
    State(loss="cross_entropy", classes=4, feature_decay=1e-6, bias_decay=0.0),
    State(depth=2, feature_decay=1e-6, bias_decay=math.inf, feature_dim=12),
]


@pytest.mark.parametrize("state", STATES, ids=lambda s: f"{s.encoding}-{s.loss}-{s.depth}-{s.features}")
def test_what_is_copied_runs_and_says_the_same(state: State, capsys: pytest.CaptureFixture[str]) -> None:
    expected = solution.picture(state)["numbers"]["values"]["loss"]
    scope: dict[str, ec.ufm.Solution] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(snippets.python(state), scope)
    assert scope["solution"].loss == pytest.approx(expected, rel=1e-9)
    words = shlex.split(snippets.command(state))
    assert words[:2] == ["encollapse", "predict"]
    assert cli.run([*words[1:], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["loss"] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("state", STATES, ids=lambda s: f"{s.encoding}-{s.loss}-{s.depth}-{s.features}")
def test_a_copied_study_file_is_one_or_says_why_not(state: State, tmp_path: Path) -> None:
    text = snippets.study(state)
    if state.depth != 1:
        assert text.startswith("# ")
        return
    (tmp_path / "explored.toml").write_text(text, encoding="utf-8")
    if "data.npz" in text:
        sizes = eval(text.partition("counts = ")[2].partition(" }")[0])
        labels = np.repeat(np.arange(state.classes), sizes)
        np.savez(tmp_path / "data.npz", inputs=np.zeros((len(labels), 2)), labels=labels)
    study = ec.study.load(tmp_path / "explored.toml")
    assert state.bias_decay in {trial.settings["bias_decay"] for trial in study.trials}
    assert {trial.settings["weight_decay"] for trial in study.trials} == {state.weight_decay}


def test_an_own_encoding_is_copied_with_its_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    state = State(encoding="own", matrix="1 0 0.5\n0 1 -2", samples=3, feature_decay=1e-4)
    expected = solution.picture(state)["numbers"]["values"]["loss"]
    monkeypatch.chdir(tmp_path)
    Path("encoding.json").write_text(snippets.encoding_file(state), encoding="utf-8")
    assert cli.run([*shlex.split(snippets.command(state))[1:], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["loss"] == pytest.approx(expected, rel=1e-12)
    scope: dict[str, ec.ufm.Solution] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(snippets.python(state), scope)
    assert scope["solution"].loss == pytest.approx(expected, rel=1e-12)
    Path("explored.toml").write_text(snippets.study(state), encoding="utf-8")
    np.savez("data.npz", inputs=np.zeros((9, 2)), labels=np.repeat([0, 1, 2], 3))
    assert len(ec.study.load("explored.toml").trials) == 6


@pytest.mark.parametrize("target", ["simplex", "orthogonal", "hierarchy", "similarity"])
def test_a_design_reaches_its_target_in_spite_of_imbalance(target: Any) -> None:
    state = State(target=target, counts="longtail", classes=5, feature_decay=1e-5, bias_decay=math.inf)
    made = design.design(state)
    assert made["gram_error"] < 1e-9
    assert made["one_hot"] > 0.01
    assert np.allclose(unpacked(made["target_cosines"]), unpacked(made["reached_cosines"]), atol=1e-8)
    codewords = unpacked(made["codewords"])
    assert json.loads(made["file"])["codewords"] == codewords.tolist()


def test_a_drawn_geometry_that_cannot_be_is_replaced_by_the_nearest() -> None:
    state = State(target="similarity", similarity="1 1 -1; 1 1 1; -1 1 1", feature_decay=1e-5)
    made = design.design(state)
    assert any("nearest" in note for note in made["notes"])
    gram = unpacked(made["target"])
    assert np.linalg.eigvalsh(gram).min() > -1e-12


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"target": "similarity", "similarity": "1 2\n3 4"}, "similarity"),
        ({"target": "similarity", "similarity": "1 2 3\n2 1 3"}, "similarity"),
        ({"target": "similarity", "similarity": "-1 0\n0 -1"}, "similarity"),
        ({"target": "hierarchy", "tree": "<script>"}, "tree"),
        ({"target": "hierarchy", "tree": '["a", ["b", "a"]]'}, "tree"),
        ({"target": "orthogonal", "bias_decay": 0.0}, "bias_decay"),
        ({"target": "simplex", "feature_decay": 1.0}, "size"),
    ],
)
def test_designs_that_cannot_be_are_refused_beside_their_field(values: dict[str, str], field: str) -> None:
    with pytest.raises(FieldError) as caught:
        design.design(State(**values))  # type: ignore[arg-type]
    assert caught.value.field == field


def test_the_last_request_of_a_client_wins_and_others_are_left_alone() -> None:
    async def scene() -> list[object]:
        desk = RequestQueue(threads=1)
        gate = threading.Event()
        first = asyncio.ensure_future(desk.run("a", "line", 1, lambda wanted: gate.wait(5)))
        await asyncio.sleep(0.02)
        waiting = [asyncio.ensure_future(desk.run("a", "line", n, lambda wanted: "done")) for n in (2, 3)]
        other = asyncio.ensure_future(desk.run("b", "line", 1, lambda wanted: "mine"))
        same = asyncio.ensure_future(desk.run("a", "picture", 1, lambda wanted: "picture"))
        await asyncio.sleep(0.02)
        gate.set()
        found = await asyncio.gather(first, *waiting, other, same, return_exceptions=True)
        desk.close()
        return list(found)

    # In a thread of its own: a browser test may have left a loop running in this one.
    with ThreadPoolExecutor(1) as pool:
        first, second, third, other, same = pool.submit(asyncio.run, scene()).result()
    assert first is True
    assert isinstance(second, SupersededError)
    assert (third, other, same) == ("done", "mine", "picture")


def test_work_that_nobody_waits_for_is_dropped_and_the_queue_is_bounded() -> None:
    """Abandoned requests of one page leave the threads to others; too many at once are refused."""
    began: list[str] = []

    async def scene() -> list[object]:
        desk = RequestQueue(threads=1, most=5, most_each=4)
        gate, leave = threading.Event(), asyncio.Event()
        running = asyncio.ensure_future(desk.run("a", "first", 1, lambda wanted: (gate.wait(5), wanted()), leave.wait))
        await asyncio.sleep(0.02)
        left = [
            asyncio.ensure_future(desk.run("a", f"{i}", 1, lambda wanted: began.append("abandoned"), leave.wait))
            for i in range(3)
        ]
        await asyncio.sleep(0.02)
        for client in ("a", "b", "c"):  # one more of this page, one of another, and one more than all may have
            left.append(asyncio.ensure_future(desk.run(client, "more", 1, lambda wanted: began.append("b"))))
            await asyncio.sleep(0.02)
        leave.set()
        await asyncio.sleep(0.05)
        again = asyncio.ensure_future(desk.run("a", "again", 1, lambda wanted: "again", asyncio.Event().wait))
        await asyncio.sleep(0.02)
        gate.set()
        found = await asyncio.gather(running, *left, again, return_exceptions=True)
        desk.close()
        return list(found)

    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(asyncio.run, scene()).result()
    gone, full = SupersededError, QueueFullError
    assert [type(x) for x in found[:-1]] == [gone, gone, gone, gone, full, type(None), full]
    assert found[-1] == "again"
    assert began == ["b"]


def test_many_trials_are_read_once_and_said_shortly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The codewords of an own encoding do not travel with every point, and what has not changed is not read again."""
    codewords = np.random.default_rng(0).standard_normal((30, 5))
    ec.encodings.Encoding(codewords, name="wide").save(tmp_path / "wide.json")
    text = TOML.split("[[runs]]")[0] + '[[runs]]\nencoding = {file = "wide.json"}\nbias_decay = [0, 1, inf]\n'
    text += f"seeds = {list(range(20))}\n"
    (tmp_path / "many.toml").write_text(text)
    study = ec.study.load(tmp_path / "many.toml")
    store = write_folder(tmp_path / "runs", study)
    monkeypatch.setattr(runs, "_PATIENCE", math.inf)
    opened = runs.RunsFolder(tmp_path / "runs")
    first = opened.summary()
    assert len(first["points"]) == first["read"] == 60
    assert len(json.dumps(first)) < 60 * 400
    reads: list[Path] = []

    def counted(path: Path) -> Results:
        reads.append(path)
        return open_results(path)

    monkeypatch.setattr("encollapse.explorer.views.runs.open_results", counted)
    assert opened.summary() is first
    assert reads == []
    store.keep(failed(study.trials[0], "ValueError: no"))
    opened._cost = 0.0
    assert opened.summary()["failed"] == 1
    assert len(reads) == 1


def test_a_study_that_takes_long_to_read_is_answered_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = study_of()
    store = write_folder(tmp_path / "runs", study)
    monkeypatch.setattr(runs, "_PATIENCE", math.inf)
    whole = runs.RunsFolder(tmp_path / "runs").summary()
    monkeypatch.setattr(runs, "_PATIENCE", 0.0)  # one trial a call
    opened = runs.RunsFolder(tmp_path / "runs")
    pieces = [opened.summary() for _ in study.trials]
    assert [piece["read"] for piece in pieces] == list(range(1, len(study.trials) + 1))
    assert [len(piece["points"]) for piece in pieces] == [piece["read"] for piece in pieces]
    assert pieces[-1] == whole
    assert opened.summary() is pieces[-1]
    store.keep(failed(study.trials[0], "ValueError: no"))  # what is known is not read again
    opened._cost = 0.0
    assert (opened.summary()["read"], opened.summary()["done"]) == (len(study.trials) - 1,) * 2
    state, _ = parse(opened.trial(study.trials[-1].id)["address"])  # type: ignore[index]
    assert study.trials[-1].id in {point["id"] for point in runs.RunsFolder(tmp_path / "runs").points_of(state)}


def test_trained_networks_lie_on_the_line_of_their_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "_PATIENCE", math.inf)
    study = study_of()
    store = write_folder(tmp_path / "runs", study)
    store.keep(failed(study.trials[-1], "Traceback\nValueError: <b>no</b>"))
    opened = runs.RunsFolder(tmp_path / "runs")
    summary = opened.summary()
    assert (summary["done"], summary["failed"], summary["missing"]) == (len(study.trials) - 1, 1, 0)
    for point in summary["points"]:
        state, errors = parse(opened.trial(point["id"])["address"])  # type: ignore[index]
        assert errors == {}
        numbers = solution.picture(state)["numbers"]["values"]
        assert point["cosine"] == pytest.approx(numbers["mean_cosine"], abs=0.2)
        assert point["bias"] == pytest.approx(numbers["bias_norm"], abs=0.2)
        assert point in opened.points_of(state)
        assert point in opened.points_of(replace(state, bias_decay=0.125))
        assert point not in opened.points_of(replace(state, classes=9, counts="balanced"))
    trial = opened.trial(summary["points"][0]["id"])
    assert trial is not None
    predicted, measured = opened.geometries(opened.results().done[0])
    assert predicted is not None
    assert np.allclose(unpacked(trial["measured"]), measured.cosines())
    assert np.allclose(unpacked(trial["predicted"]), predicted.cosines())
    assert opened.trial(study.trials[-1].id)["error"].endswith("</b>")  # type: ignore[index]


def test_the_frames_of_a_training_turn_to_its_last_one(tmp_path: Path) -> None:
    study = study_of()
    store = write_folder(tmp_path / "runs", study)
    trial = study.trials[0]
    row = store.rows()[trial.id]
    generator = np.random.default_rng(3)
    end = generator.standard_normal((7, 5))
    turn = np.linalg.qr(generator.standard_normal((7, 7)))[0]
    weight = generator.standard_normal((5, 7))
    away = generator.standard_normal((5, 7))
    samples = np.concatenate([end.T + away, end.T - away])  # two of each class, on either side of its mean
    arrays = load_arrays(store.arrays_path(trial.id)) | {
        "frames.epoch": np.array([0, 10]),
        "frames.class_means": np.stack([turn @ end, end]).astype(np.float32),
        "frames.weight": np.stack([weight @ turn.T, weight]).astype(np.float32),
        "frames.samples": np.stack([samples @ turn.T, samples]).astype(np.float32),
        "frames.sample_labels": np.tile(np.arange(5, dtype=np.int32), (2, 2)),
    }
    rows = [{"epoch": 0, "loss": 1.0, "nc1_trace_ratio": 2.0}, {"epoch": 10, "loss": 0.5, "nc1_trace_ratio": 0.25}]
    store.keep(row, rows, arrays)
    found = runs.RunsFolder(tmp_path / "runs").trial(trial.id)
    assert found is not None
    first, last = found["frames"]
    assert (first["epoch"], last["epoch"]) == (0, 10)
    # The first frame is the last one in another basis of feature space: it is drawn the same.
    assert np.allclose(first["means"], last["means"], atol=1e-4)
    assert np.allclose(first["rows"], last["rows"], atol=1e-4)
    assert found["history"] == {"epoch": [0, 10], "loss": [1.0, 0.5], "nc1_trace_ratio": [2.0, 0.25]}
    assert (first["nc1"], last["nc1"]) == (2.0, 0.25)
    # Samples are drawn to the scale of the means, and turn with them.
    assert np.allclose(first["samples"], last["samples"], atol=2e-3)
    drawn = np.array(last["samples"])
    assert last["of"] == [*range(5), *range(5)]
    assert np.allclose((drawn[:5] + drawn[5:]) / 2, last["means"], atol=2e-3)
    assert np.abs(drawn[:5] - last["means"]).max() > 0.1


def test_frames_of_an_earlier_release_are_drawn_without_samples(tmp_path: Path) -> None:
    study = study_of()
    store = write_folder(tmp_path / "runs", study)
    trial = study.trials[0]
    arrays = load_arrays(store.arrays_path(trial.id)) | {
        "frames.epoch": np.array([0, 10]),
        "frames.class_means": np.ones((2, 7, 5), dtype=np.float32),
        "frames.weight": np.ones((2, 5, 7), dtype=np.float32),
    }
    store.keep(store.rows()[trial.id], [], arrays)
    found = runs.RunsFolder(tmp_path / "runs").trial(trial.id)
    assert found is not None
    assert [frame["epoch"] for frame in found["frames"]] == [0, 10]
    assert all("samples" not in frame and frame["nc1"] is None for frame in found["frames"])


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "..", "0" * 16, "%2e%2e"])
def test_only_trials_of_the_study_are_found(tmp_path: Path, name: str) -> None:
    write_folder(tmp_path / "runs", study_of())
    assert runs.RunsFolder(tmp_path / "runs").trial(name) is None


def test_a_link_out_of_the_study_folder_is_not_followed(tmp_path: Path) -> None:
    store = write_folder(tmp_path / "runs", study_of())
    trial = study_of().trials[0]
    inside, outside = store.arrays_path(trial.id), tmp_path / "secret.safetensors"
    inside.rename(outside)
    inside.symlink_to(outside)
    found = runs.RunsFolder(tmp_path / "runs").trial(trial.id)
    assert found is not None
    assert found["measured"] is None
    assert "outside" in found["reason"]


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="study"):
        runs.RunsFolder(tmp_path)


def test_every_quantity_has_a_formula_and_a_source() -> None:
    texts = tooltips()
    page = (Path(runs.__file__).parents[1] / "static" / "index.html").read_text(encoding="utf-8")
    named = set(re.findall(r'data-tip="(\w+)"', page)) | {m["name"] for m in solution.picture(State())["metrics"]}
    assert named <= set(texts)
    assert all(t["text"] and t["formula"] for t in texts.values())


def test_an_address_made_from_a_state_is_text_only() -> None:
    values = address(replace(IMBALANCED, options=(), bias_decay=math.inf))
    assert all(isinstance(v, str) for v in values.values())
