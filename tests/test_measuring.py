"""Fisher, regmean and adamerging as commands: the example set, the kept measurements, what is refused."""

import json
import os
import random

import numpy as np
import pytest
import torch
from auto_merge_llm.errors import InputError
from safetensors.numpy import load_file

from merginguriel.utils.data.massive import MINI_TASK
from merginguriel.utils.merging.examples import TextSettings, draw_examples
from merginguriel.utils.merging.hyperparameters import hyperparameter_tokens
from merginguriel.utils.storage import atomic

SCRIPT = "merginguriel/run_merging_pipeline_refactored.py"
NEAREST = ["nl-NL", "de-DE", "en-US"]


@pytest.fixture
def flags(models_root):
    return [
        "--target-lang",
        "af-ZA",
        "--base-model",
        "tiny",
        "--models-root",
        models_root,
        "--dataset-name",
        "mini",
        "--sources",
        ",".join(NEAREST),
    ]


# The example set


def draw(settings, seed=42):
    return draw_examples(MINI_TASK, settings, settings.locales("af-ZA", NEAREST), seed)


@pytest.mark.parametrize(
    "scope, expected",
    [
        ("target", {"af-ZA": 11}),
        ("sources", {"nl-NL": 4, "de-DE": 4, "en-US": 3}),
        ("both", {"af-ZA": 3, "nl-NL": 3, "de-DE": 3, "en-US": 2}),
        ("own", {"nl-NL": 4, "de-DE": 4, "en-US": 3}),
    ],
)
def test_the_total_is_exact_and_the_remainder_spread(scope, expected):
    examples = draw(TextSettings(scope=scope, num_examples=11))
    assert examples.counts == expected and len(examples.texts) == len(examples.labels) == 11
    train = {locale: MINI_TASK.load(locale, "train") for locale in expected}
    place = 0
    for locale, count in expected.items():
        known = set(zip(train[locale].texts, train[locale].labels))
        assert set(zip(examples.texts[place : place + count], examples.labels[place : place + count])) <= known
        place += count


def test_own_texts_are_those_of_the_sources_language():
    settings = TextSettings(scope="own", num_examples=11)
    examples = draw(settings)
    assert examples.texts == draw(TextSettings(scope="sources", num_examples=11)).texts
    parts = [settings.of_source(examples, locale) for locale in NEAREST]
    assert [part.counts for part in parts] == [{"nl-NL": 4}, {"de-DE": 4}, {"en-US": 3}]
    assert [text for part in parts for text in part.texts] == examples.texts
    assert [label for part in parts for label in part.labels] == examples.labels
    for part, locale in zip(parts, NEAREST):
        split = MINI_TASK.load(locale, "train")
        assert set(zip(part.texts, part.labels)) <= set(zip(split.texts, split.labels))
    assert TextSettings().of_source(examples, "nl-NL") is examples


def test_examples_are_a_seeded_draw_and_not_the_first_rows():
    settings = TextSettings(num_examples=20)
    one, same, other = (draw(settings, seed) for seed in (1, 1, 2))
    assert one == same and one.texts != other.texts
    train = MINI_TASK.load("af-ZA", "train")
    assert one.texts == [train.texts[item] for item in random.Random("1 af-ZA").sample(range(len(train)), 20)]
    assert one.texts != train.texts[:20]


def test_of_too_few_texts_all_are_taken_and_it_is_said(caplog):
    size = len(MINI_TASK.load("af-ZA", "train"))
    found = draw(TextSettings(num_examples=size + 1))
    assert found.counts == {"af-ZA": size} and len(found.texts) == len(found.labels) == size
    assert f"asks for {size + 1} examples of af-ZA, whose train split has {size}: all are taken" in caplog.text


def test_more_examples_than_there_are_are_counted_in_the_record(run, flags, tmp_path):
    done = run(
        SCRIPT, *flags, "--mode", "fisher_dataset", "--num-fisher-examples", 1000, "--no-eval", "--output-dir", "m"
    )
    assert done.returncode == 0 and "all are taken" in done.stderr, done.stderr
    size = len(MINI_TASK.load("af-ZA", "train"))
    assert atomic.read_json(tmp_path / "m/merge_details.json")["measured_on"]["examples"] == {"af-ZA": size}
    text = (tmp_path / "m/merge_details.txt").read_text()
    assert f"Examples: {size} (af-ZA {size})" in text and "Fisher Data Mode: target" in text and "Preweight: " in text


def test_the_test_split_is_refused():
    with pytest.raises(InputError, match="must not rest on the texts that it is judged on"):
        TextSettings(split="test")


# The command


def expected_fisher_merge(models_root, texts_of, floor=1e-6):
    """Exact expectation over all labels, one example and one label at a time, in float64; texts by source."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    states, fishers = [], []
    for locale in NEAREST:
        folder = models_root / f"tiny_massive_k_{locale}"
        model = AutoModelForSequenceClassification.from_pretrained(folder).double().eval()
        tokenizer = AutoTokenizer.from_pretrained(folder)
        sums = {name: torch.zeros_like(value) for name, value in model.named_parameters()}
        for text in texts_of[locale]:
            log_p = model(**tokenizer(text, return_tensors="pt")).logits[0].log_softmax(-1)
            for label in range(len(log_p)):
                gradients = torch.autograd.grad(log_p[label], list(model.parameters()), retain_graph=True)
                for (name, _), gradient in zip(model.named_parameters(), gradients):
                    sums[name] += log_p[label].exp().item() * gradient**2
        norm = sum(value.square().sum() for value in sums.values()).sqrt()
        sums = {name: value / norm for name, value in sums.items()}
        least = floor * sum(value.sum() for value in sums.values()) / sum(value.numel() for value in sums.values())
        fishers.append({name: value.clamp(min=least.item()).numpy() for name, value in sums.items()})
        states.append({name: value.detach().numpy() for name, value in model.named_parameters()})
    return {
        name: sum(f[name] * s[name] for f, s in zip(fishers, states)) / sum(f[name] for f in fishers)
        for name in states[0]
    }


def test_fisher_dataset_equals_a_loop_of_single_backwards(run, flags, models_root, tmp_path):
    done = run(
        SCRIPT,
        *flags,
        "--mode",
        "fisher_dataset",
        "--fisher-estimator",
        "expected",
        "--num-fisher-examples",
        5,
        "--batch-size",
        2,
        "--dataset-split",
        "train",
        "--text-column",
        "utt",
        "--fisher-data-mode",
        "target",
        "--preweight",
        "equal",
    )
    assert done.returncode == 0 and "warn" not in done.stderr.lower(), done.stderr
    texts = dict.fromkeys(NEAREST, draw(TextSettings(num_examples=5)).texts)
    (folder,) = tmp_path.glob("merged_models/fisher_dataset_merge_af-ZA_3merged_????????")  # a hash of many settings
    merged = load_file(folder / "model.safetensors")
    for name, expected in expected_fisher_merge(models_root, texts).items():
        np.testing.assert_allclose(merged[name], expected, rtol=1e-3, atol=2e-4, err_msg=name)
    details = json.loads((folder / "merge_details.json").read_text())
    assert details["measured_on"]["examples"] == {"af-ZA": 5}
    assert details["plan"]["hyperparameters"]["estimator"] == "expected"
    assert "it used unlabelled train text of the target" in (folder / "README.md").read_text()


def own_texts(num_examples):
    """The texts of each source, found in the corpora and not by their counts."""
    drawn = draw(TextSettings(scope="sources", num_examples=num_examples)).texts
    return {
        locale: [text for text in drawn if text in set(MINI_TASK.load(locale, "train").texts)] for locale in NEAREST
    }


def test_fisher_of_own_texts_equals_a_loop_of_single_backwards(run, flags, models_root, tmp_path):
    texts = own_texts(7)
    assert [len(texts[locale]) for locale in NEAREST] == [3, 2, 2]
    options = ["--estimator", "expected", "--num-fisher-examples", 7, "--fisher-data-mode", "own", "--no-eval"]
    done = run(SCRIPT, *flags, "--mode", "fisher_dataset", *options, "--output-dir", "own")
    assert done.returncode == 0, done.stderr
    merged = load_file(tmp_path / "own/model.safetensors")
    for name, expected in expected_fisher_merge(models_root, texts).items():
        np.testing.assert_allclose(merged[name], expected, rtol=1e-3, atol=2e-4, err_msg=name)
    details = json.loads((tmp_path / "own/merge_details.json").read_text())
    assert details["measured_on"]["examples"] == {"nl-NL": 3, "de-DE": 2, "en-US": 2}
    assert "the target took no part in it" in (tmp_path / "own/README.md").read_text()


def expected_regmean(models_root, texts_of):
    """The query's weight and the head's dense one, from the mean xxᵀ over single texts without padding, in float64."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    query, head = "roberta.encoder.layer.0.attention.self.query.weight", "classifier.dense.weight"
    left, right = dict.fromkeys([query, head], 0), dict.fromkeys([query, head], 0)
    for locale in NEAREST:
        folder = models_root / f"tiny_massive_k_{locale}"
        model = AutoModelForSequenceClassification.from_pretrained(folder).double().eval()
        tokenizer = AutoTokenizer.from_pretrained(folder)
        rows = {query: [], head: []}
        for text in texts_of[locale]:
            with torch.no_grad():
                embedded, last = model.roberta(
                    **tokenizer(text, return_tensors="pt"), output_hidden_states=True
                ).hidden_states
            rows[query].append(embedded[0].numpy())
            rows[head].append(last[0, :1].numpy())
        for name, parts in rows.items():
            inputs = np.concatenate(parts)
            gram = inputs.T @ inputs / len(inputs)
            gram = 0.9 * gram + np.diag(0.1 * gram.diagonal() + 1e-6 * gram.diagonal().mean())
            left[name] = left[name] + gram
            right[name] = right[name] + gram @ model.state_dict()[name].numpy().T
    return {name: np.linalg.solve(left[name], right[name]).T for name in left}


def test_regmean_of_own_texts_counts_sources_and_not_their_tokens(run, flags, distant_root, tmp_path):
    merged, distant = {}, ["--models-root", distant_root, "--allow-mismatched-heads"]
    for scope in ("own", "sources"):
        options = ["--num-examples", 40, "--batch-size", 4, "--data-mode", scope, "--no-eval", "--output-dir", scope]
        done = run(SCRIPT, *flags, "--mode", "regmean", *options, *distant)
        assert done.returncode == 0 and "already measured" not in done.stderr, done.stderr
        merged[scope] = load_file(tmp_path / scope / "model.safetensors")
    for name, expected in expected_regmean(distant_root, own_texts(40)).items():
        np.testing.assert_allclose(merged["own"][name], expected, rtol=1e-3, atol=1e-4, err_msg=name)
        assert np.abs(merged["sources"][name] - expected).max() > 1e-3


def test_measurements_are_kept_and_used_again(run, flags, tmp_path):
    first = run(SCRIPT, *flags, "--mode", "fisher", "--num-fisher-examples", 6, "--no-baselines")
    assert first.returncode == 0, first.stderr
    kept = sorted((tmp_path / "results/measurements").iterdir())
    times = [path.stat().st_mtime_ns for path in kept]
    assert len(kept) == 3 and not [path for path in kept if path.name.startswith(".")]
    # Other weights and normalisation, the same measurements.
    again = run(
        SCRIPT,
        *flags,
        "--mode",
        "fisher_dataset",
        "--num-fisher-examples",
        6,
        "--preweight",
        "uriel",
        "--no-normalize-fisher",
        "--fisher-floor",
        0.1,
        "--output-dir",
        "other",
        "--no-baselines",
    )
    assert again.returncode == 0 and again.stderr.count("already measured") == 3, again.stderr
    assert [path.stat().st_mtime_ns for path in kept] == times
    # Another seed draws other examples.
    other = run(
        SCRIPT,
        *flags,
        "--mode",
        "fisher",
        "--num-fisher-examples",
        6,
        "--seed",
        42,
        "--fisher-data-mode",
        "both",
        "--output-dir",
        "third",
        "--no-eval",
    )
    assert other.returncode == 0 and "already measured" not in other.stderr
    assert len(list((tmp_path / "results/measurements").iterdir())) == 6


def test_the_tokenizer_that_all_sources_have_is_loaded_once(said_by, flags, monkeypatch):
    """XLM-R's takes a second, and a sweep measures each source again for every target."""
    from merginguriel.run_merging_pipeline_refactored import main
    from merginguriel.utils.models import loading, tokens

    loaded, load = [], loading.load_tokenizer
    monkeypatch.setattr(loading, "load_tokenizer", lambda path: loaded.append(path) or load(path))
    tokens.TOKENS.__init__()
    assert said_by(main, *flags, "--mode", "regmean", "--num-fisher-examples", 9)[0] == 0
    assert len(loaded) == 1


def test_a_damaged_measurement_is_named(run, flags, tmp_path):
    line = [SCRIPT, *flags, "--mode", "fisher", "--num-fisher-examples", 4, "--no-eval"]
    assert run(*line).returncode == 0
    damaged = next((tmp_path / "results/measurements").glob("*nl-NL*"))
    os.truncate(damaged, damaged.stat().st_size - 5)
    done = run(*line, "--output-dir", "again")
    assert done.returncode == 2 and f"{damaged.name} is damaged" in done.stderr
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("mode", ["regmean", "adamerging"])
def test_regmean_and_adamerging_run_and_are_kept(run, flags, tmp_path, mode):
    line = [SCRIPT, *flags, "--mode", mode, "--num-examples", 8, "--batch-size", 4, "--no-baselines"]
    done = run(*line)
    assert done.returncode == 0, done.stderr
    (merged,) = tmp_path.glob(f"merged_models/{mode}_merge_af-ZA_3merged_sources-nl-NL,de-DE,en-US_*/model.safetensors")
    first = merged.read_bytes()
    again = run(*line, "--overwrite")
    assert again.returncode == 0 and "already" in again.stderr, again.stderr
    assert merged.read_bytes() == first


def test_adamerging_in_the_papers_form(run, flags, tmp_path):
    options = ["--num-examples", 8, "--batch-size", 4, "--no-eval", "--learning-rate", 0.5, "--epochs", 3]
    done = run(SCRIPT, *flags, "--mode", "adamerging", *options, "--adamerging-start", 0.3, "--adamerging-clamp")
    assert done.returncode == 0, done.stderr
    (folder,) = tmp_path.glob("merged_models/adamerging_merge_af-ZA_3merged_*")
    details = json.loads((folder / "merge_details.json").read_text())
    assert details["plan"]["hyperparameters"] | {"start": 0.3, "clamp": True} == details["plan"]["hyperparameters"]
    learnt = {value for row in details["measured_on"]["coefficients"].values() for value in row.values()}
    assert min(learnt) == 0 and max(learnt) == 1 and len(learnt) > 2
    assert hyperparameter_tokens([("start", 0.3), ("clamp", True), ("normalize", False)]) == [
        *("--start", "0.3", "--clamp", "--no-normalize-fisher")
    ]


@pytest.mark.parametrize(
    "extra, message",
    [
        (["--mode", "fisher", "--dataset-split", "test"], "must not rest on the texts that it is judged on"),
        (["--mode", "fisher", "--fisher-estimator", "exact"], "estimator is 'exact'; choose one of sampled"),
        (["--mode", "fisher", "--fisher-floor", "0"], "floor is 0"),
        (["--mode", "fisher", "--num-fisher-examples", "0"], "must be at least 1"),
        (["--mode", "regmean", "--alpha", "2"], "alpha is 2.0"),
    ],
)
def test_what_cannot_be_measured_is_refused(refused, flags, extra, message):
    assert message in refused(SCRIPT, *flags, *extra)
