"""Every kind of model through training, every mode of merging, evaluation and N×N; docs/encoders.md tells what works.

PYTHONPATH=.:submodules/auto_merge_llm python tests/test_encoders.py     # writes the page's table anew
"""

import csv
import functools
import inspect
import json
import re
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
import transformers
from auto_merge_llm.common_start import lowest_cosine
from auto_merge_llm.errors import InputError
from auto_merge_llm.example_gradients import plain_parameters
from auto_merge_llm.fisher import diagonal_fisher
from auto_merge_llm.forward import evaluating
from auto_merge_llm.heads import head_of, label_layer
from auto_merge_llm.input_grams import input_grams
from auto_merge_llm.merge import merge_checkpoints
from auto_merge_llm.methods import create
from auto_merge_llm.tensors import loaded_source
from encoder_kinds import KINDS, LOCALES, POSITIONS, make_base
from running import ROOT
from safetensors.torch import load_file
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode

from merginguriel.utils.data.massive import INTENTS, MINI_TASK
from merginguriel.utils.evaluation import nxn, nxn_job, nxn_summary
from merginguriel.utils.evaluation.classifier import Classifier
from merginguriel.utils.evaluation.predictions import PREDICTIONS, read_predictions
from merginguriel.utils.merging import measuring
from merginguriel.utils.merging.examples import Examples, TextSettings
from merginguriel.utils.merging.memory_bench import MemoryBench
from merginguriel.utils.merging.modes import MODES
from merginguriel.utils.merging.plan import plan_merge
from merginguriel.utils.merging.selection import SourceSettings
from merginguriel.utils.merging.settings import MergeSettings
from merginguriel.utils.models import devices, loading, model_folder
from merginguriel.utils.models.base_model import settle
from merginguriel.utils.models.initial import head_fingerprint
from merginguriel.utils.models.store import ModelStore
from merginguriel.utils.training import vocabulary
from merginguriel.utils.training.settings import TrainingRun, TrainingSettings, TrainingSteps
from merginguriel.utils.training.train import train

PAGE = ROOT / "docs/encoders.md"
GRAPHS = ROOT / "docs/results/cuda_graphs.csv"  # what tests/try_cuda_graphs.py has seen on a GPU
TASK = MINI_TASK
*SOURCES, TARGET = LOCALES
MEASURED = {"fisher_dataset": "Fisher", "regmean": "RegMean", "adamerging": "AdaMerging"}
AVERAGES = [mode for mode in MODES if mode not in MEASURED]
COLUMNS = (
    *("kind", "stands for", "train", "average family", *MEASURED.values()),
    *("evaluate", "N×N", "CUDA graphs", "remark"),
)
QUICK = TrainingSettings(
    per_device_train_batch_size=16,
    learning_rate=1e-3,
    num_train_epochs=1,
    save_strategy="no",
    eval_strategy="no",
    load_best_model_at_end=False,
    max_train_samples=64,
)


@functools.cache
def base_of(root: Path, name: str) -> Path:
    return make_base(KINDS[name], root / "bases" / re.sub(r"\W+", "_", name))


@functools.cache
def sources_of(root: Path, name: str) -> ModelStore:
    """Two sources of a kind, trained from one initial checkpoint when they are first asked for."""
    store = ModelStore(str(base_of(root, name)), TASK, root / "models")
    for locale in SOURCES:
        run = TrainingRun(TASK, store, (locale,), store.folder(locale), QUICK)
        train(run, TrainingSteps(do_train=True))
    return store


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The folder of all models here."""
    return tmp_path_factory.mktemp("encoders")


each_kind = pytest.mark.parametrize("name", KINDS)


# The library's statistics, against loops over single examples without padding


@functools.cache
def random_model(name):
    """A tiny classifier of five labels, and a batch of four texts for it."""
    import transformers

    kind = KINDS[name]
    with tempfile.TemporaryDirectory() as folder:
        base = make_base(kind, Path(folder))
        torch.manual_seed(1)
        model = transformers.AutoModelForSequenceClassification.from_pretrained(
            base, num_labels=5, problem_type="single_label_classification"
        )
        settle(model, loading.load_tokenizer(base), name)
    generator = torch.Generator().manual_seed(2)
    # Few different tokens, so that many stand twice in one example; the kinds' special tokens are below 4.
    rows = [torch.randint(4, 9, (length,), generator=generator) for length in (3, 7, 5, 6)]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=model.config.pad_token_id)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
    return model.eval(), {"input_ids": ids, "attention_mask": mask, "labels": torch.tensor([0, 3, 1, 2])}


def single(batch):
    """The batch's examples, each without padding."""
    for ids, mask, label in zip(batch["input_ids"], batch["attention_mask"].bool(), batch["labels"]):
        yield {"input_ids": ids[mask][None], "attention_mask": torch.ones(1, int(mask.sum()), dtype=torch.long)}, label


@each_kind
def test_grams_are_those_of_a_loop(name):
    model, batch = random_model(name)
    expected, removals = {}, []
    for place, module in model.named_modules():
        if isinstance(module, torch.nn.Linear):
            width = module.in_features
            total = expected[f"{place}.weight"] = np.zeros((width, width))

            def add(module, inputs, total=total):
                for row in inputs[0].reshape(-1, inputs[0].shape[-1]).double().numpy():
                    total += np.outer(row, row)

            removals.append(module.register_forward_pre_hook(add))
    with torch.no_grad():
        for example, _ in single(batch):
            model(**example)
    for hook in removals:
        hook.remove()
    grams, seen = input_grams(model, [{key: values[:1] for key, values in batch.items()}, batch_without_first(batch)])
    assert seen == 4 and grams.keys() == expected.keys()
    for place, gram in grams.items():
        np.testing.assert_allclose(gram, expected[place], rtol=1e-4, atol=1e-4 * np.abs(expected[place]).max() + 1e-12)


def batch_without_first(batch):
    return {key: values[1:] for key, values in batch.items()}


@each_kind
def test_fisher_is_that_of_a_loop(name):
    model, batch = random_model(name)
    parameters = dict(model.named_parameters())
    expected = {place: torch.zeros_like(values, dtype=torch.float64) for place, values in parameters.items()}
    for example, label in single(batch):
        log_p = model(**example).logits.log_softmax(-1)[0, label]
        gradients = torch.autograd.grad(log_p, list(parameters.values()), allow_unused=True)
        for place, gradient in zip(parameters, gradients):
            if gradient is not None:
                expected[place] += gradient.double().square()
    fisher, seen = diagonal_fisher(model, [batch], "empirical")
    assert seen == 4 and fisher.keys() == expected.keys()
    # A key's bias does not change attention: its information is rounding.
    largest = max(float(values.max()) for values in expected.values())
    for place, values in expected.items():
        torch.testing.assert_close(fisher[place].double(), values, rtol=2e-3, atol=1e-10 * largest, msg=place)
    assert all(values.grad is None and values.requires_grad for values in parameters.values())


def test_encoders_of_plain_layers_take_one_pass_a_batch():
    slow = set()
    for name in KINDS:
        model, batch = random_model(name)
        with evaluating(model, requires_grad=False):
            if plain_parameters(model, batch):
                slow.add(name)
    assert slow == {"deberta-v2", "qwen3", "gemma3_text"}


@each_kind
def test_the_longest_input_is_the_last_that_works(name):
    model, _ = random_model(name)
    longest = loading.longest_input(model, 1000)
    positions = [part for place, part in model.named_modules() if place.endswith(".position_embeddings")]
    if not positions:
        assert longest == POSITIONS
    ids = torch.full((1, longest + 1), 5)
    with torch.no_grad():
        assert model(input_ids=ids[:, 1:]).logits.isfinite().all()
        if positions:
            with pytest.raises((IndexError, RuntimeError)):
                model(input_ids=ids)
    assert loading.longest_input(model, 7) == 7


@pytest.mark.parametrize("stated", [None, -1, 0, 10**12, 1e30, "absent"])
def test_models_without_a_number_of_positions_take_what_is_wanted(stated):
    class Config:
        pad_token_id = None

    model = torch.nn.Module()
    model.config = Config()
    if stated != "absent":
        model.config.max_position_embeddings = stated
    assert loading.longest_input(model, 128) == 128


# Heads


@each_kind
def test_the_head_is_what_is_not_the_encoder(root, name):
    model, _ = random_model(name)
    source = loaded_source(name, model.state_dict())
    outside = {key for key in source.tensors if not key.startswith(f"{model.base_model_prefix}.")}
    assert outside == set(head_of(source))
    (last,) = (place for place, part in model.named_modules() if getattr(part, "out_features", 0) == 5)
    assert label_layer(source, list("abcde")) == last
    # Whatever part of the head is another, its fingerprint is, and a head with another start is seen.
    before = head_fingerprint(model)
    other = {key: values.clone() for key, values in model.state_dict().items()}
    other[f"{last}.weight"] = torch.randn(other[f"{last}.weight"].shape, generator=torch.Generator().manual_seed(3))
    assert abs(lowest_cosine([source, loaded_source("other", other)])) < 0.5 < lowest_cosine([source, source])
    for key in outside:
        values = model.state_dict()[key]
        kept = values.clone()
        values += 1
        assert head_fingerprint(model) != before
        values.copy_(kept)
    assert head_fingerprint(model) == before


# Vocabulary


def test_a_vocabulary_is_trimmed_only_where_plain_embeddings_alone_know_it():
    trimmed = {name for name in KINDS if vocabulary.can_be_trimmed(random_model(name)[0])}
    assert trimmed == KINDS.keys() - {"gemma3_text"}


class Scaled(torch.nn.Embedding):
    def forward(self, ids):
        return super().forward(ids) * 7.0


def toy(embeddings, **more):
    """A model as far as the vocabulary sees one."""

    class Config:
        vocab_size, pad_token_id = embeddings.num_embeddings, 1

        def to_dict(self):
            return {"pad_token_id": 1, "eos_token_id": [4, 2], "bos_token_id": None, "cls_token_id": 999}

    class Toy(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embeddings, self.config = embeddings, Config()
            for name, part in more.items():
                setattr(self, name, part)

        def get_input_embeddings(self):
            return self.embeddings

        def set_input_embeddings(self, new):
            self.embeddings = new

        def forward(self, ids):
            return self.embeddings(ids).sum((1, 2))

    return Toy()


def test_embeddings_that_are_more_than_a_table_stay_whole():
    plain = torch.nn.Embedding(50, 3)
    output = torch.nn.Linear(3, 50)
    tied = torch.nn.Linear(3, 50, bias=False)
    tied.weight = plain.weight
    assert vocabulary.can_be_trimmed(toy(torch.nn.Embedding(50, 3)))
    for refused in (
        toy(Scaled(50, 3)),
        toy(torch.nn.Embedding(50, 3, max_norm=1.0)),
        toy(plain, output=tied),
        toy(plain, output=output),
        toy(plain, table=torch.nn.Embedding(50, 2)),
    ):
        assert not vocabulary.can_be_trimmed(refused)
    wider = toy(torch.nn.Embedding(64, 3))
    wider.config.vocab_size = 50
    assert not vocabulary.can_be_trimmed(wider)


@pytest.mark.parametrize("padding", [None, 1])
def test_special_tokens_keep_their_ids_and_padding_its_gradient(padding):
    torch.manual_seed(0)
    model = toy(torch.nn.Embedding(50, 3, padding_idx=padding))
    whole = model.embeddings.weight.detach().clone()
    trimmed = vocabulary.TrimmedVocabulary(model, [[0, 30, 1], [9, 30, 1]])
    assert trimmed.ids([0, 1, 2, 3, 4]) == [0, 1, 2, 3, 4]  # eos is 4; 999 is of another vocabulary
    assert model.embeddings.num_embeddings == model.config.vocab_size == 7
    ids = torch.tensor([trimmed.ids([0, 30, 1]), trimmed.ids([9, 30, 1])])
    assert torch.equal(model.embeddings.weight[ids], whole[torch.tensor([[0, 30, 1], [9, 30, 1]])])
    model(ids).sum().backward()
    with torch.no_grad():
        model.embeddings.weight -= model.embeddings.weight.grad
    trimmed.restore()
    moved = (model.embeddings.weight != whole).any(1).nonzero().flatten().tolist()
    assert moved == ([0, 9, 30] if padding else [0, 1, 9, 30]) and model.config.vocab_size == 50


@pytest.mark.parametrize("name", ["gemma3_text", "qwen3", "bert", "modernbert"])
def test_the_saved_model_is_the_one_that_was_trained(root, name, monkeypatch, tmp_path):
    """A7: what was measured in training is what the saved model does."""
    scores = {}

    def keep(trainer, *args, **kwargs):
        trainer.model.eval()
        rows = trainer.eval_dataset or trainer.train_dataset
        batch = trainer.data_collator(rows[:20])
        with torch.no_grad():
            scores["trained"] = trainer.model(**{key: batch[key] for key in ("input_ids", "attention_mask")}).logits
        return {}

    monkeypatch.setattr("transformers.Trainer.evaluate", keep)
    store = ModelStore(str(base_of(root, name)), TASK, tmp_path)
    run = TrainingRun(TASK, store, (SOURCES[0],), tmp_path / "m", QUICK)
    train(run, TrainingSteps(do_train=True, do_eval=True))
    items = TASK.load(SOURCES[0], "validation")
    model, tokenizer = loading.load_classifier(tmp_path / "m", "cpu", torch.float32)
    for text, trained in zip(items.texts[:20], scores["trained"]):
        with torch.no_grad():
            saved = model(**tokenizer(text, return_tensors="pt")).logits[0]
        torch.testing.assert_close(saved, trained, rtol=1e-4, atol=1e-4)


# Models with some of the task's labels


@pytest.fixture(scope="module")
def with_three_labels(root, tmp_path_factory):
    """The two sources of XLM-R's kind with the rows of three labels, in another order than the task's."""
    import transformers

    whole = sources_of(root, "xlm-roberta")
    store = ModelStore(whole.base_model, TASK, tmp_path_factory.mktemp("three"))
    commonest = Counter(TASK.load(TARGET, "train").labels).most_common(3)
    rows = sorted((label for label, _ in commonest), reverse=True)
    for locale in SOURCES:
        model, tokenizer = loading.load_classifier(whole.folder(locale), "cpu", torch.float32)
        state = model.state_dict()
        for name in ("classifier.out_proj.weight", "classifier.out_proj.bias"):
            state[name] = state[name][rows]
        model.config.id2label = {place: INTENTS[label] for place, label in enumerate(rows)}
        model.config.label2id = {name: place for place, name in model.config.id2label.items()}
        small = transformers.AutoModelForSequenceClassification.from_config(model.config)
        small.load_state_dict(state)
        small.save_pretrained(store.folder(locale))
        tokenizer.save_pretrained(store.folder(locale))
    return store, rows


def texts_of(labels) -> Examples:
    split = TASK.load(TARGET, "train")
    pairs = [pair for pair in zip(split.texts, split.labels) if pair[1] in labels]
    return Examples({TARGET: len(split)}, *zip(*pairs), TASK.labels, TASK.max_tokens)


def measured(store, method, examples):
    model, tokenizer = loading.load_classifier(store.folder(SOURCES[0]), "cpu", torch.float32)
    names = model_folder.read_labels(store.folder(SOURCES[0]), TASK)
    return measuring.measure(method, model, tokenizer, names, TextSettings(), examples, SOURCES[0])


def same(one, other):
    return all(torch.equal(values, other[name]) for name, values in one.items())


def test_gold_labels_are_those_that_the_model_has(with_three_labels):
    store, rows = with_three_labels
    everything, known = texts_of(range(len(INTENTS))), texts_of(rows)
    by_gold = create("fisher_dataset", estimator="empirical")
    assert len(known.texts) < len(everything.texts)
    assert same(measured(store, by_gold, everything), measured(store, by_gold, known))
    # The others read texts alone, and so all of them.
    for method in (create("fisher_dataset"), create("regmean")):
        assert not same(measured(store, method, everything), measured(store, method, known))
    others = texts_of(set(range(len(INTENTS))) - set(rows))
    with pytest.raises(InputError, match=r"none of the \d+ examples has a label of the model for nl-NL"):
        measured(store, by_gold, others)


@pytest.mark.parametrize("mode", ["fisher_dataset", "regmean"])
def test_models_of_some_labels_are_merged_and_evaluated(with_three_labels, mode, tmp_path):
    store, rows = with_three_labels
    merge = merged(MemoryBench(tmp_path / "measurements"), store, mode, tmp_path)
    split = TASK.load(TARGET, "test").draw(12, 0)
    merge.evaluate(split, tmp_path / "result", overwrite=False, job=None)
    predicted = read_predictions(tmp_path / "result" / PREDICTIONS)["predictions"]
    assert set(predicted.tolist()) <= set(rows)


# What cannot be trained, merged or evaluated


def changed(base: Path, folder: Path, file: str, **values) -> Path:
    """A copy of a base model with other values in one of its files, None for none."""
    shutil.copytree(base, folder)
    told = {**json.loads((folder / file).read_text(encoding="utf-8")), **values}
    kept = {name: value for name, value in told.items() if value is not None}
    (folder / file).write_text(json.dumps(kept), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    "name, file, values, message",
    [
        ("qwen3", "tokenizer_config.json", {"pad_token": None}, "no padding token, which batches need"),
        ("xmod", "config.json", {"default_language": None}, "2 languages.*as default_language.*: en_XX, nl_XX"),
        ("xmod", "config.json", {"default_language": "sw_XX"}, "names none as default_language"),
        ("roberta", "tokenizer_config.json", {"pad_token": "</s>"}, "from its padding token 1.* pads with 2"),
        ("qwen3", "tokenizer_config.json", {"pad_token": "<new>"}, "the padding token \\d+ has no row"),
    ],
)
def test_base_models_that_cannot_be_trained(root, tmp_path, name, file, values, message):
    base = changed(base_of(root, name), tmp_path / "base", file, **values)
    store = ModelStore(str(base), TASK, tmp_path / "models")
    run = TrainingRun(TASK, store, (SOURCES[0],), store.folder(SOURCES[0]), QUICK)
    with pytest.raises(InputError, match=message) as error:
        train(run, TrainingSteps(do_train=True))
    assert "\n" not in str(error.value) and not store.root.exists()


def test_other_heads_are_refused():
    import transformers

    sizes = dict(vocab_size=40, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, pad_token_id=0)
    both = transformers.AutoModelForSequenceClassification.from_config(transformers.T5Config(**sizes, num_labels=5))
    with pytest.raises(InputError, match="an encoder with a decoder \\(t5\\)"):
        settle(both, None, "x")
    model, _ = random_model("bert")
    kept, model.classifier = model.classifier, torch.nn.Bilinear(32, 32, 5)
    with pytest.raises(InputError, match=r"x \(bert\) has no linear head"):
        settle(model, None, "x")
    model.classifier = kept


@pytest.mark.parametrize(
    "values, message",
    [
        ({"architectures": ["ModernBertForTokenClassification"]}, "is a ModernBertForTokenClassification, not a model"),
        ({"problem_type": "multi_label_classification"}, "trained for multi_label_classification"),
        ({"problem_type": "regression"}, "trained for regression"),
    ],
)
def test_models_of_other_tasks(root, tmp_path, values, message):
    good = sources_of(root, "modernbert").folder(SOURCES[0])
    bad = changed(good, tmp_path / "bad", "config.json", **values)
    with pytest.raises(InputError, match=message):
        Classifier(bad, TASK)
    (tmp_path / "merged").mkdir()
    with pytest.raises(InputError, match=message):
        merge_checkpoints(create("linear"), [good, bad], [0.5, 0.5], tmp_path / "merged")


# From training to N×N


def merged(bench, store, mode, folder):
    """A merge for the target by `mode`."""
    choice = SourceSettings(sources=tuple(SOURCES[: 1 if mode == "passthrough" else 2]))
    settings = MergeSettings(
        mode,
        TARGET,
        choice=SourceSettings(num_languages=2) if mode in ("manual", "similarity") else choice,
        texts=TextSettings(num_examples=12, batch_size=4),
        weights=dict(zip(SOURCES, (0.7, 0.3))) if mode == "manual" else None,
    )
    plan = plan_merge(settings, TASK, store, merged_root=folder / "merged")
    bench.keep_merged = mode == "average"
    return bench.merge(plan, plan.record(), overwrite=False)


def evaluates(root: Path, name: str, merge, folder: Path) -> None:
    """A source and a merge score texts as plain transformers does, one at a time with all that the tokenizer gives."""
    source, split = sources_of(root, name).folder(SOURCES[0]), TASK.load(TARGET, "test").draw(12, 0)
    model, tokenizer = loading.load_classifier(source, "cpu", torch.float32)
    scored = Classifier(source, TASK).logits(split.texts, name)
    np.testing.assert_allclose(scored, one_by_one(model, tokenizer, split), rtol=1e-3, atol=1e-3)
    result = merge.evaluate(split, folder / "result", overwrite=False, job=None)
    model.load_state_dict(load_file(next(folder.glob("merged/*/model.safetensors"))))
    expected = one_by_one(model, tokenizer, split)
    np.testing.assert_allclose(
        read_predictions(folder / "result" / PREDICTIONS)["logits"], expected, rtol=1e-3, atol=1e-3
    )
    assert result.accuracy == (expected.argmax(-1) == split.labels).mean()


def one_by_one(model, tokenizer, split) -> np.ndarray:
    with torch.no_grad():
        # Of transformers 4 some tokenizers give what their models do not take.
        taken = inspect.signature(model.forward).parameters
        tokens = (tokenizer(text, return_tensors="pt") for text in split.texts)
        inputs = ({name: values for name, values in one.items() if name in taken} for one in tokens)
        return np.concatenate([model(**one).logits.numpy() for one in inputs])


def crosses(root: Path, name: str, folder: Path) -> None:
    """Both sources on two languages."""
    store = sources_of(root, name)
    sources = {locale: store.folder(locale) for locale in SOURCES}
    context = nxn_job.NxnContext(TASK, folder / "tokens")
    run = nxn.begin(nxn.prepare(nxn.NxnPlan(sources, (SOURCES[0], TARGET), "validation", folder, context)))
    for locale in SOURCES:
        shared = {"context": context}
        for job in run.jobs():
            if job.group == locale:
                job.run(shared)
    assert np.isfinite(nxn_summary.gather(run).values).all()


def of_passes(name: str) -> str:
    """Whether the kind's passes can be captured: what was seen on a GPU, and never where values decide what runs."""
    model, batch = random_model(name)
    try:
        with FakeTensorMode(allow_non_fake_inputs=True) as mode:
            model(**{key: mode.from_tensor(values) for key, values in batch.items()})
    except (DataDependentOutputException, DynamicOutputShapeException):
        return "no: its code looks at values"
    if not GRAPHS.exists():
        return "not tried"
    with open(GRAPHS, newline="", encoding="utf-8") as lines:
        return {row["kind"]: row["outcome"] for row in csv.DictReader(lines)}.get(name, "not tried")


@functools.cache
@mock.patch.object(devices, "evaluation_dtype", lambda device: torch.float32)  # the oracle's, whatever the processor
def seen(root: Path, name: str) -> tuple[str, ...]:
    """The kind's row of the table."""
    kind, folder = KINDS[name], root / "made" / base_of(root, name).name
    bench, made = MemoryBench(folder / "measurements", keep_merged=True), {}
    for mode in MODES:
        try:
            made[mode] = merged(bench, sources_of(root, name), mode, folder)
        except InputError as error:
            made[mode] = error
    failed = {mode: str(error) for mode, error in made.items() if isinstance(error, InputError)}
    averages = [mode for mode in AVERAGES if mode not in failed]
    evaluates(root, name, made["average"], folder)
    crosses(root, name, folder / "nxn")
    model, batch = random_model(name)
    with evaluating(model, requires_grad=False):
        slowly = ", a text at a time" if plain_parameters(model, batch) else ""
    measured = [failed.get(mode, "yes" + (slowly if mode == "fisher_dataset" else "")) for mode in MEASURED]
    average = "yes" if averages == AVERAGES else f"{len(averages)} of {len(AVERAGES)} modes"
    return (f"`{name}`", kind.stands_for, "yes", average, *measured, "yes", "yes", of_passes(name), kind.remark)


def as_line(cells) -> str:
    return f"| {' | '.join(cells)} |"


def page_with(rows) -> str:
    """The page with these rows in its table."""
    lines = [as_line(COLUMNS), as_line(["---"] * len(COLUMNS)), *map(as_line, rows)]
    before, _, after = re.split(
        r"(?<=<!-- table -->\n)(.*?)(?=<!-- end -->)", PAGE.read_text(encoding="utf-8"), flags=re.S
    )
    return before + "\n".join(lines) + "\n" + after


@each_kind
def test_the_page_tells_what_works(root, name):
    told = next(line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith(f"| `{name}` |"))
    compared = range(len(COLUMNS))
    if transformers.__version__.startswith("4."):  # whose code looks at values in more kinds
        compared = [place for place in compared if COLUMNS[place] != "CUDA graphs"]
    cells = told[1:-1].split("|")
    assert [cells[place].strip() for place in compared] == [seen(root, name)[place] for place in compared]


def test_the_page_tells_of_no_other_kind():
    told = re.findall(r"^\| `(.*?)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert told == list(KINDS)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        PAGE.write_text(page_with([seen(Path(folder), name) for name in KINDS]), encoding="utf-8")
