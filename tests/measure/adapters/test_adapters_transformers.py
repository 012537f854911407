"""`CollapseTrainerCallback` with a real Trainer and a tiny model made from its configuration."""

from pathlib import Path
from typing import Any

import pytest
import torch

import encollapse as ec
from encollapse.errors import ArgumentError, ArgumentTypeError
from encollapse.measure import CollapseTrainerCallback, measure_model

transformers = pytest.importorskip("transformers")

NUM_CLASSES, LENGTH, SAMPLES = 3, 5, 17


class Sentences(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """Random words; one of them tells the class."""

    def __init__(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.words = torch.randint(10, 30, (SAMPLES, LENGTH), generator=generator)
        self.labels = torch.arange(SAMPLES) % NUM_CLASSES
        self.words[:, 2] = self.labels

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"input_ids": self.words[index], "labels": self.labels[index]}


def trainer_in(folder: Path, **options: Any) -> Any:
    config = transformers.BertConfig(
        vocab_size=31, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=7, num_labels=NUM_CLASSES,
    )  # fmt: skip
    torch.manual_seed(0)
    arguments = transformers.TrainingArguments(
        str(folder), num_train_epochs=3, per_device_train_batch_size=4, per_device_eval_batch_size=6,
        use_cpu=True, report_to=[], disable_tqdm=True, save_strategy="no", learning_rate=1e-2, **options,
    )  # fmt: skip
    model = transformers.BertForSequenceClassification(config)
    return transformers.Trainer(model, arguments, train_dataset=Sentences(0), eval_dataset=Sentences(1))


def directly(trainer: Any, data: Sentences) -> ec.measure.Collapse:
    pairs = [({"input_ids": data.words}, data.labels)]
    return measure_model(trainer.model, pairs, progress=False)


@pytest.mark.slow
@pytest.mark.parametrize("mixed", [False, True])
def test_epochs_are_measured_and_logged(tmp_path: Path, mixed: bool) -> None:
    trainer = trainer_in(tmp_path, bf16=mixed)
    callback = CollapseTrainerCallback(trainer, every=2)
    held = CollapseTrainerCallback(trainer, "eval", metrics=("cdnv", "nc4_agreement"), prefix="held_")
    trainer.add_callback(callback)
    trainer.add_callback(held)
    trainer.train()
    assert trainer.model.training is True
    assert list(callback.results) == [2, 3]
    assert list(held.results) == [1, 2, 3]
    last = callback.results[3]
    assert last.num_samples == SAMPLES
    assert last.geometry.provenance["head"] == "classifier"
    logged = [entry for entry in trainer.state.log_history if "collapse/cdnv" in entry]
    assert [entry["epoch"] for entry in logged] == [2, 3]
    assert logged[-1]["collapse/cdnv"] == last.cdnv
    assert "collapse/label_centering" not in logged[-1]
    assert [e["held_cdnv"] for e in trainer.state.log_history if "held_cdnv" in e] == [
        result.cdnv for result in held.results.values()
    ]
    tolerance = 0.1 if mixed else 1e-5  # bfloat16 has three digits
    for result, data in ((last, Sentences(0)), (held.results[3], Sentences(1))):
        assert result.cdnv == pytest.approx(directly(trainer, data).cdnv, rel=tolerance)


def test_every_sample_of_the_set_that_was_chosen(tmp_path: Path) -> None:
    """Of a dictionary of sets, and with a last batch that training leaves out."""
    trainer = trainer_in(tmp_path, dataloader_drop_last=True)
    trainer.args.num_train_epochs = 1
    trainer.eval_dataset = {"near": Sentences(1), "far": Sentences(2)}
    callback, held = CollapseTrainerCallback(trainer), CollapseTrainerCallback(trainer, "eval", which="far")
    trainer.add_callback(callback)
    trainer.add_callback(held)
    trainer.train()
    assert trainer.args.dataloader_drop_last is True
    for found, data in ((callback.results[1], Sentences(0)), (held.results[1], Sentences(2))):
        assert found.num_samples == SAMPLES
        assert found.cdnv == pytest.approx(directly(trainer, data).cdnv, rel=1e-5)
    state = transformers.TrainerState(epoch=1.0)
    for which in (None, "wide"):
        with pytest.raises(ArgumentError, match=rf"which: got {which!r}.*'near', 'far'"):
            CollapseTrainerCallback(trainer, "eval", which=which).on_epoch_end(trainer.args, state, None)


class Stop(transformers.TrainerCallback):  # type: ignore[misc, name-defined]  # whichever is installed
    """Stops the training at an evaluation, or at a step."""

    def __init__(self, step: int = 0) -> None:
        self.step = step

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        control.should_training_stop = not self.step
        return control

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        control.should_training_stop = state.global_step == self.step
        return control


@pytest.mark.parametrize("how", ["evaluation", "step", "max_steps"])
def test_the_last_epoch_is_measured_however_the_training_ends(tmp_path: Path, how: str) -> None:
    options = {"eval_strategy": "epoch"} if how == "evaluation" else {"max_steps": 7} if how == "max_steps" else {}
    trainer = trainer_in(tmp_path, **options)
    if how != "max_steps":
        trainer.add_callback(Stop(7 if how == "step" else 0))
    callback = CollapseTrainerCallback(trainer, every=50)
    trainer.add_callback(callback)
    trainer.train()
    epoch = 1 if how == "evaluation" else 2  # of five steps each
    assert list(callback.results) == [epoch]
    assert callback.results[epoch].cdnv == pytest.approx(directly(trainer, Sentences(0)).cdnv, rel=1e-5)


def test_labels_under_the_name_that_the_trainer_knows(tmp_path: Path) -> None:
    trainer = trainer_in(tmp_path)
    trainer.label_names = ["kind"]
    callback = CollapseTrainerCallback(trainer)
    words, labels = torch.ones(2, 3), torch.arange(2)
    assert callback._labels_of({"input_ids": words, "kind": labels}) == ({"input_ids": words}, labels)
    with pytest.raises(ArgumentError, match=r"has no 'labels', only 'input_ids', 'sort'.*split="):
        callback._labels_of({"input_ids": words, "sort": labels})


def test_bad_arguments(tmp_path: Path) -> None:
    with pytest.raises(ArgumentTypeError, match=r"trainer.*Trainer.*str"):
        CollapseTrainerCallback("train")  # type: ignore[arg-type]
    trainer = trainer_in(tmp_path)
    with pytest.raises(ArgumentError, match=r"data.*'train', 'eval'"):
        CollapseTrainerCallback(trainer, "test")
    trainer.add_callback(CollapseTrainerCallback(trainer, split=lambda batch: (batch, batch)))
    with pytest.raises(ArgumentTypeError, match="labels"):
        trainer.train()
    cases: list[tuple[dict[str, Any], Any, str]] = [
        ({"data": "eval"}, {"a": Sentences(1), "b": Sentences(2)}, r"^which: got None.*'a', 'b'; choose by which="),
        ({"data": "eval"}, None, r"^data: the Trainer has no eval data set"),
        ({}, Sentences(1), r"^metric_for_best_model: .*'collapse/nc1_pinv' is logged apart"),
    ]
    for options, evaluated, text in cases:
        early = trainer_in(tmp_path, metric_for_best_model="collapse/nc1_pinv" if not options else None)
        early.eval_dataset = evaluated
        early.add_callback(CollapseTrainerCallback(early, **options))
        with pytest.raises(ArgumentError, match=text):
            early.train()
        assert early.state.global_step == 0, "refused before the first step"
    trainer.eval_dataset = None
    with pytest.raises(ArgumentError, match=r"data.*no eval data set"):
        CollapseTrainerCallback(trainer, "eval").on_epoch_end(trainer.args, transformers.TrainerState(epoch=1.0), None)
