"""Adaptation without labels: its arithmetic against other arithmetic, what it never reads, and where it goes on."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from auto_merge_llm.errors import InputError
from safetensors.numpy import load_file, save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from merginguriel.utils.adaptation import progress, soft_labels, student, teachers
from merginguriel.utils.adaptation.adapt import ADAPTATION_JSON, adapt
from merginguriel.utils.adaptation.run import AdaptRun
from merginguriel.utils.adaptation.settings import AdaptSettings, read_record
from merginguriel.utils.adaptation.work_folder import unfinished
from merginguriel.utils.data import massive, mini
from merginguriel.utils.data.massive import MINI_TASK
from merginguriel.utils.models import devices
from merginguriel.utils.storage import atomic
from merginguriel.utils.training import cuda_graphs

TARGET = "af-ZA"
FEW = AdaptSettings("vote", examples=40, epochs=3, batch_size=16, learning_rate=1e-2)


@pytest.fixture
def asked(models_root, tmp_path):
    """asked(name, **changes): an adaptation of one source to another language, taught by two more."""

    def make(name="adapted", **changes):
        taught = tuple((code, models_root / f"tiny_massive_k_{code}", 1.0) for code in ("de-DE", "en-US"))
        run = AdaptRun(MINI_TASK, TARGET, models_root / "tiny_massive_k_nl-NL", taught, FEW, 42, tmp_path / name)
        return replace(run, **changes)

    return make


def weights(run) -> bytes:
    return (run.output / "model.safetensors").read_bytes()


# Arithmetic


def test_soft_labels_by_hand():
    one, other = np.array([[0.5, 0.5, 0.0]]), np.array([[1.0, 0.0, 0.0]])
    mean = soft_labels.vote([one, other], [3, 1])
    assert mean.tolist() == [[0.625, 0.375, 0.0]]
    # 0.390625 and 0.140625 of their sum 0.53125; the power 1 changes nothing.
    assert soft_labels.sharpened(mean, 2.0) == pytest.approx(np.array([[25 / 34, 9 / 34, 0.0]]))
    assert soft_labels.sharpened(mean, 1.0) == pytest.approx(mean)
    student_said = np.array([[0.0, 0.125, 0.875]])
    assert soft_labels.taught_by(mean, None) is mean
    assert soft_labels.taught_by(mean, student_said).tolist() == [[0.3125, 0.25, 0.4375]]
    assert soft_labels.taught_by(mean, student_said, alone=True) is student_said
    assert soft_labels.sharpened(np.zeros((1, 3)), 2.0).tolist() == [[0, 0, 0]]


def test_probabilities_of_logits():
    said = soft_labels.probabilities(np.array([[np.log(3), 0.0, -np.inf], [900.0, 0.0, 900.0]], np.float32))
    assert said.dtype == np.float16 and said.tolist() == [[0.75, 0.25, 0], [0.5, 0, 0.5]]
    assert soft_labels.agreement(said, np.array([[1, 0, 0], [0, 0, 1]])) == 0.5


def test_the_loss_is_the_mean_cross_entropy():
    class Model:
        def __call__(self, input_ids):
            return type("Said", (), {"logits": input_ids})

    logits, labels = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[0.25, 0.75], [1.0, 0.0]])
    loss = soft_labels.cross_entropy(Model(), {"input_ids": logits, "labels": labels})
    normed = np.log(np.exp(1) + np.exp(2))
    assert loss.item() == pytest.approx((0.25 * (normed - 1) + 0.75 * (normed - 2) + np.log(2)) / 2)


def still(folder: Path, place: Path, order=None) -> Path:
    """A copy without dropout; `order`: its classes in that order."""
    shutil.copytree(folder, place)
    config = json.loads((place / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    if order is not None:
        names = [massive.INTENTS[label] for label in order]
        config["id2label"] = dict(enumerate(names))
        config["label2id"] = {name: label for label, name in enumerate(names)}
        values = load_file(place / "model.safetensors")
        for name in ("classifier.out_proj.weight", "classifier.out_proj.bias"):
            values[name] = np.ascontiguousarray(values[name][order])
        save_file(values, place / "model.safetensors", {"format": "pt"})
    (place / "config.json").write_text(json.dumps(config))
    return place


def said_by(model, tokenizer, texts) -> np.ndarray:
    """(texts, the task's labels), one text at a time, by the names of the labels."""
    places = [massive.INTENTS.index(model.config.id2label[label]) for label in range(len(massive.INTENTS))]
    rows = np.zeros((len(texts), len(places)))
    with torch.no_grad():
        for row, text in enumerate(texts):
            rows[row, places] = model(**tokenizer(text, return_tensors="pt")).logits.softmax(-1)[0].numpy()
    return rows.astype(np.float16).astype(np.float64)


def trained_by_hand(path: Path, texts, labels: np.ndarray, settings: AdaptSettings):
    """One step an epoch over all texts: AdamW, warm-up over a tenth of the steps, then down to 0."""
    model, tokenizer = AutoModelForSequenceClassification.from_pretrained(path), AutoTokenizer.from_pretrained(path)
    places = [massive.INTENTS.index(model.config.id2label[label]) for label in range(len(massive.INTENTS))]
    wanted = torch.tensor(labels[:, places])
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, weight_decay=0.0)
    warm_up = int(np.ceil(0.1 * settings.epochs))
    for step in range(settings.epochs):
        rising, falling = step / warm_up, (settings.epochs - step) / (settings.epochs - warm_up)
        optimizer.param_groups[0]["lr"] = settings.learning_rate * min(rising, falling)
        batch = tokenizer(list(texts), padding=True, return_tensors="pt")
        loss = -(wanted * model(**batch).logits.log_softmax(-1)).sum(-1).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model, tokenizer


@pytest.fixture
def in_float32(monkeypatch):
    monkeypatch.setattr(devices, "evaluation_dtype", lambda device: torch.float32)


@pytest.mark.parametrize("kind", ["vote", "self"])
def test_rounds_are_those_of_a_plain_loop(asked, tmp_path, distant_root, in_float32, kind):
    """Models of three orders of labels; all texts in one batch, so that their order does not count."""
    orders = np.random.default_rng(0)
    sources = {
        code: still(distant_root / f"tiny_massive_k_{code}", tmp_path / code, orders.permutation(len(massive.INTENTS)))
        for code in ("nl-NL", "de-DE", "en-US")
    }
    settings = replace(FEW, adapt=kind, batch_size=40, epochs=6, sharpen=3.0)
    shares = {"de-DE": 0.75, "en-US": 0.25} if kind == "vote" else {"nl-NL": 1.0}
    taught = tuple((code, sources[code], 2 * share) for code, share in shares.items()) if kind == "vote" else ()
    run = asked(start=sources["nl-NL"], teachers=taught, settings=settings)
    report = adapt(run)

    texts = run.texts().texts
    voted = np.zeros((len(texts), len(massive.INTENTS)))
    for code, share in shares.items():
        source = AutoModelForSequenceClassification.from_pretrained(sources[code])
        voted += share * said_by(source, AutoTokenizer.from_pretrained(sources[code]), texts)
    teacher = voted
    for _ in range(2):
        labels = teacher**3 / (teacher**3).sum(-1, keepdims=True)
        model, tokenizer = trained_by_hand(sources["nl-NL"], texts, labels, settings)
        own = said_by(model, tokenizer, texts)
        teacher = own if kind == "self" else (voted + own) / 2

    made, start = load_file(run.output / "model.safetensors"), load_file(sources["nl-NL"] / "model.safetensors")
    # Where a gradient is next to nothing, Adam makes a step of its last bits.
    apart = sum(((made[name] - values.numpy()) ** 2).sum() for name, values in model.state_dict().items())
    moved = sum(((made[name] - start[name]) ** 2).sum() for name in start)
    assert np.sqrt(apart / moved) < 0.01 and moved > 1
    assert report.rounds[-1]["agreement"] == pytest.approx((own.argmax(-1) == voted.argmax(-1)).mean(), abs=0.03)
    assert AutoModelForSequenceClassification.from_pretrained(run.output).config.id2label == model.config.id2label


def test_a_label_that_one_model_lacks(asked, tmp_path, models_root, monkeypatch):
    """A teacher gives it nothing, and a student learns the others, in proportion."""
    lacking = shutil.copytree(models_root / "tiny_massive_k_de-DE", tmp_path / "lacking")
    config = json.loads((lacking / "config.json").read_text())
    names = list(massive.INTENTS[1:])
    config |= {"id2label": dict(enumerate(names)), "label2id": {name: label for label, name in enumerate(names)}}
    (lacking / "config.json").write_text(json.dumps(config))
    values = load_file(lacking / "model.safetensors")
    for name in ("classifier.out_proj.weight", "classifier.out_proj.bias"):
        values[name] = np.ascontiguousarray(values[name][1:])
    save_file(values, lacking / "model.safetensors", {"format": "pt"})
    run = asked(teachers=(("de-DE", lacking, 1.0),))
    work = teachers.WorkFolder(run.output, {}, False)
    opinion, _, kept = teachers.Panel(run, run.texts(), work).opinion(run.teachers[0], lambda texts: None)
    assert not kept and opinion.shape == (40, 60) and (opinion[:, 0] == 0).all()
    assert opinion.sum(-1) == pytest.approx(1, abs=0.01)
    learnt, learn = [], student.Student.learn
    monkeypatch.setattr(
        student.Student, "learn", lambda own, labels, *more: learnt.append(labels) or learn(own, labels, *more)
    )
    adapt(asked("other", start=lacking))
    assert len(learnt) == 2
    for labels in learnt:
        assert (labels[:, 0] == 0).all() and labels.sum(-1) == pytest.approx(1, abs=1e-5)


# What it rests on


def corpus(folder: Path, change) -> Path:
    """The target's items as a file, train rows changed."""
    folder.mkdir()
    rows = (change(row) if row["partition"] == "train" else row for row in mini.records(TARGET))
    (folder / f"{TARGET}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return folder


def test_labels_of_the_target_are_never_read(asked, tmp_path):
    poisons = {
        "right": lambda row: row,
        "wrong": lambda row: row | {"intent": massive.INTENTS[(massive.INTENTS.index(row["intent"]) + 1) % 60]},
        "undeclared": lambda row: row | {"intent": "nothing of this task"},
        "missing": lambda row: {name: value for name, value in row.items() if name not in ("intent", "scenario")},
    }
    made = {}
    for name, poison in poisons.items():
        task = replace(MINI_TASK, data=str(corpus(tmp_path / f"data-{name}", poison)))
        run = asked(name, task=task)
        adapt(run)
        made[name] = weights(run)
        if name != "right":
            assert atomic.read_json(run.output / ADAPTATION_JSON)["run"] == run.record()
    assert len(set(made.values())) == 1
    with pytest.raises(InputError, match="no column 'intent'"):
        task.load(TARGET, "train")


def test_the_order_of_teachers_makes_no_difference(asked):
    one = asked("one")
    other = asked("other", teachers=tuple(reversed(one.teachers)))
    adapt(one), adapt(other)
    assert weights(one) == weights(other) and weights(one) != weights(replace(one, output=one.start))


def test_more_examples_than_there_are_are_all(asked, caplog):
    run = asked(settings=replace(FEW, examples=1000))
    assert len(run.texts()) == 348 == run.record()["texts"]["count"]
    assert "--adapt-examples 1000" in caplog.text


def test_what_is_written(asked):
    run = asked()
    shares = []
    progress_told = adapt(run, shares.append)
    assert sorted(path.name for path in run.output.iterdir()) == [
        "README.md",
        "adaptation.json",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert not unfinished(run.output).exists() and shares == sorted(shares) and max(shares) <= 1
    details = progress_told.details
    assert details["run"]["texts"] == {"split": "train", "count": 40, "fingerprint": run.texts().fingerprint()}
    assert [teacher["weight"] for teacher in details["run"]["teachers"]] == [0.5, 0.5]
    assert [len(one["losses"]) for one in progress_told.rounds] == [3, 3]
    assert all(one["losses"][0] > one["losses"][-1] > 0 for one in progress_told.rounds)
    card = (run.output / "README.md").read_text()
    for said in ("40 unlabelled train texts", "No label of af-ZA was read", "| de-DE | 0.500000 |"):
        assert said in card
    config = json.loads((run.output / "config.json").read_text())
    before = json.loads((run.start / "config.json").read_text())
    assert config["vocab_size"] == before["vocab_size"] and config["initial_head"] == before["initial_head"]


@pytest.mark.parametrize("passes", ["plain", "graphed"])
def test_graphs_and_the_whole_vocabulary_compute_the_same(asked, monkeypatch, models_root, tmp_path, passes):
    """Graphs on a CPU, where a replay is the same passes over the same buffers."""
    start = still(models_root / "tiny_massive_k_nl-NL", tmp_path / "still")
    usual = adapt(asked("usual", start=start)).rounds
    settings = FEW
    if passes == "graphed":
        settings = replace(FEW, cuda_graphs=True)
        monkeypatch.setattr(cuda_graphs, "capture", lambda passes, pool: (passes, pool))
        monkeypatch.setattr("merginguriel.utils.adaptation.adapt.check_environment", lambda *asked: None)
    else:
        monkeypatch.setattr(student, "trim_vocabulary", lambda *asked: None)
    other = adapt(asked("other", start=start, settings=settings)).rounds
    for one, two in zip(usual, other):
        assert one["losses"] == pytest.approx(two["losses"], rel=1e-3)


# Where it goes on


def test_stopped_anywhere_it_ends_with_the_same_bytes(asked, monkeypatch):
    whole = asked("whole")
    adapt(whole)
    monkeypatch.setattr(progress, "_PAUSE", -1)
    monkeypatch.setattr(student, "CHECKPOINT_SECONDS", 0)
    run, scored, reached = asked("stopped"), [], []
    score = teachers.scoring.batch_logits
    monkeypatch.setattr(teachers.scoring, "batch_logits", lambda *given: scored.append(given[2]) or score(*given))

    def stop_after(calls):
        left = iter(range(calls))

        def told(share):
            reached.append(share)
            if next(left, None) is None:
                raise KeyboardInterrupt

        return told

    # While teachers are asked; early, late and at the last step of a round; while the student is asked.
    for calls in (1, 3, 5, 4, 5, 2, 1):
        with pytest.raises(KeyboardInterrupt):
            adapt(run, stop_after(calls))
        assert not run.output.exists()
    # Cut off while they were written.
    work = unfinished(run.output)
    (round2,) = work.glob("round2_*")
    (round2 / "checkpoint-9999").mkdir()
    (round2 / "checkpoint-9998").mkdir()
    (round2 / "checkpoint-9998/trainer_state.json").touch()
    assert adapt(run).rounds[0]["losses"] == pytest.approx(adapt(whole).rounds[0]["losses"], rel=1e-4)
    assert weights(run) == weights(whole) and not work.exists()
    # Each teacher was asked once to the end.
    for code in ("de-DE", "en-US"):
        assert sum(f"k_{code} on" in one for one in scored) <= 2


def test_what_was_kept_is_made_again_where_it_is_damaged_or_of_other_texts(asked, caplog):
    whole, run = asked("whole"), asked("again")
    adapt(whole)
    opinion, told = np.zeros((40, 60), np.float16), {"round": 1}
    work = teachers.WorkFolder(run.output, run.record(), False)
    work.keep("round1", "something else", opinion, told)
    for teacher in run.teachers:
        name = f"teacher_{teacher.locale}_{teachers.short_hash(str(teacher.path))}"
        (work.path / f"{name}.npz").write_bytes(b"PK\3\4 cut off")
    adapt(run)
    assert weights(run) == weights(whole) and caplog.text.count("is damaged; made again") == 2


def test_it_is_kept_or_refused_or_replaced(asked):
    run = asked()
    adapt(run)
    written = (run.output / "model.safetensors").stat().st_mtime_ns
    for overwrite in (False, True):
        adapt(run, overwrite=overwrite)
        assert (run.output / "model.safetensors").stat().st_mtime_ns == written
    other = asked(settings=replace(FEW, rounds=1))
    with pytest.raises(InputError, match="exists already and is not this adaptation"):
        adapt(other)
    assert len(adapt(other, overwrite=True).rounds) == 1
    # The same of an unfinished one.
    third = asked("third")
    teachers.WorkFolder(third.output, run.record() | {"seed": 7}, False)
    with pytest.raises(InputError, match="unfinished adaptation with other settings"):
        adapt(third)
    adapt(third, overwrite=True)
    (third.output.with_name("mine.adapting")).mkdir()
    (third.output.with_name("mine.adapting") / "diary").touch()
    with pytest.raises(InputError, match="nothing that this toolkit made"):
        adapt(asked("mine"))


def test_wrong_input(asked, models_root, tmp_path):
    own = (TARGET, models_root / "tiny_massive_k_de-DE", 1.0)
    shutil.copytree(models_root / "tiny_massive_k_de-DE", tmp_path / f"x_massive_k_{TARGET}")
    renamed = ("de-DE", tmp_path / f"x_massive_k_{TARGET}", 1.0)
    weightless = ("de-DE", models_root / "tiny_massive_k_de-DE", 0.0)
    without_train = replace(MINI_TASK, splits=(("test", ("test",)),), data="x")
    others = replace(MINI_TASK, labels=("a", "b"))
    own_self = replace(FEW, adapt="self")
    for changes, message in (
        ({"teachers": ()}, "no teachers for af-ZA"),
        ({"teachers": (own,)}, "the target af-ZA's own model"),
        ({"teachers": (renamed,)}, "the target af-ZA's own model"),
        ({"teachers": (weightless,)}, "must be positive"),
        ({"settings": own_self}, "--adapt self has no teachers"),
        ({"settings": AdaptSettings()}, "nothing to adapt by"),
        ({"settings": replace(FEW, tf32=True)}, "--adapt-tf32 needs a GPU"),
        ({"settings": replace(FEW, cuda_graphs=True)}, "--adapt-cuda-graphs needs a CUDA GPU"),
        ({"task": without_train}, "has no train split"),
        ({"task": others}, "none of the 2 of task massive"),
        ({"target": "th-TH"}, "mini corpus"),
        ({"start": tmp_path / "absent"}, "no model folder"),
        ({"output": models_root}, "which this adaptation reads"),
    ):
        with pytest.raises(InputError, match=message):
            adapt(asked(**changes))
    assert [path.name for path in tmp_path.iterdir()] == [f"x_massive_k_{TARGET}"]


def test_words_and_effects():
    assert AdaptSettings().words() == [] and AdaptSettings().used() == {("AdaptSettings", "adapt")}
    told = replace(FEW, rounds=3, sharpen=1.5, tf32=True)
    assert told.words() == ["adapt-vote", "examples40", "rounds3", "epochs3", "lr0.01", "sharpen1.5", "batch16"]
    assert replace(FEW, tf32=True, cuda_graphs=True).record(40) == FEW.record(40)
    assert ("AdaptSettings", "sharpen") in FEW.used()


def test_few_texts_get_more_passes_at_a_lower_rate():
    """300 steps a round at 3e-5 below 6,337 texts in batches of 64, else three passes at 1e-4; what is asked counts."""
    usual = AdaptSettings("vote")
    told = {count: (usual.passes(count), usual.rate(count)) for count in (1, 64, 65, 701, 1000, 6336, 6337, 11514)}
    assert told == {
        1: (300, 3e-5),
        64: (300, 3e-5),
        65: (150, 3e-5),
        701: (28, 3e-5),
        1000: (19, 3e-5),
        6336: (4, 3e-5),
        6337: (3, 1e-4),
        11514: (3, 1e-4),
    }
    small = replace(usual, batch_size=16)
    assert (small.passes(1000), small.rate(1000), small.passes(1585), small.rate(1585)) == (5, 3e-5, 3, 1e-4)
    asked = replace(usual, epochs=7, learning_rate=1e-4)
    assert (asked.passes(1000), asked.rate(1000), replace(asked, epochs=None).passes(1000)) == (7, 1e-4, 19)
    assert replace(asked, learning_rate=None).rate(1000) == 3e-5
    training = usual.training(1000, 42)
    assert (training.num_train_epochs, training.learning_rate) == (19, 3e-5)


def test_records_tell_what_was_learnt_by_and_are_read_back_as_what_was_asked():
    usual = AdaptSettings("vote")
    for count, passes, rate in ((1000, 19, 3e-5), (11514, 3, 1e-4)):
        record = usual.record(count) | {"texts": {"count": count}}
        assert (record["epochs"], record["learning_rate"]) == (passes, rate)
        assert read_record(record) == usual
        # As records tell it from before few texts had defaults of their own.
        older = read_record(record | {"epochs": 3, "learning_rate": 1e-4})
        assert older == (usual if count == 11514 else replace(usual, epochs=3, learning_rate=1e-4))
    for changes in ({"epochs": 7, "sharpen": 3.0}, {"epochs": 19}, {"learning_rate": 3e-5}, {"learning_rate": 1e-4}):
        asked = replace(usual, **changes)
        # One variant for all targets, also where it is what the number of texts gets.
        for count in (900, 1000, 1100, 11514):
            record = asked.record(count) | asked.asked(count) | {"texts": {"count": count}}
            assert read_record(record) == asked and record["learning_rate"] == asked.rate(count)
    spelt_out = replace(usual, epochs=19)
    assert spelt_out.record(1000) == usual.record(1000) and spelt_out.asked(1000) == {"asked": ["epochs"]}
    assert usual.asked(1000) == replace(usual, epochs=7).asked(1000) == spelt_out.asked(11514) == {}
    assert read_record({}) == AdaptSettings()
    assert read_record({"adapt": "vote", "epochs": 3, "learning_rate": 1e-4}) == usual
