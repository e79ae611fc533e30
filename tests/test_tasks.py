"""Tasks of one's own: files, labels, pairs, metrics, and models that must not meet."""

import csv
import json
import os
import shlex
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from auto_merge_llm.errors import InputError
from noisy_sources import make_noisy_sources
from transformers import AutoModelForSequenceClassification

from merginguriel.utils.data import mini
from merginguriel.utils.data.massive import MASSIVE, MINI_TASK
from merginguriel.utils.data.task_file import TaskSettings, read_task_file, task_of, task_tokens
from merginguriel.utils.evaluation.classifier import Classifier
from merginguriel.utils.models import loading, scoring, tokens
from merginguriel.utils.models.initial import initial_checkpoint
from merginguriel.utils.models.store import ModelStore
from merginguriel.utils.results.baseline_commands import baseline_commands
from merginguriel.utils.results.collect import collect
from merginguriel.utils.results.comparison import compare
from merginguriel.utils.results.reproduction import command_of
from merginguriel.utils.storage import atomic
from merginguriel.utils.training.settings import TrainingRun, TrainingSettings, TrainingSteps
from merginguriel.utils.training.train import train

MERGE = "merginguriel/run_merging_pipeline_refactored.py"
SCENARIOS = """\
name: scenarios
data: corpus
text: utt
label: scenario
labels: [alarm, audio, calendar, cooking, datetime, email, general, iot, lists, music, news, play, qa,
         recommendation, social, takeaway, transport, weather]
languages: [af-ZA, nl-NL, de-DE, en-US]
"""
MOODS = """\
name: moods
data: .
text: sentence
label: mood
labels: [calm, glad, cross]
metric: macro_f1
"""
PAIRS = """\
name: same-topic
data: pairs
text: [first, second]
label: same
labels: ["yes", "no"]
splits: {train: train, validation: tuning, test: test}
languages: {one: afr, two: nld, three: deu, eng_Latn: }
max_tokens: 24
"""


def written(folder, text, name="task.yaml"):
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


@pytest.fixture
def scenarios(tmp_path):
    """MASSIVE's 18 scenarios on the mini corpus, laid out as MASSIVE's archive."""
    (tmp_path / "corpus").mkdir()
    for locale in ("af-ZA", "nl-NL", "de-DE", "en-US"):
        rows = "".join(f"{json.dumps(row)}\n" for row in mini.records(locale))
        (tmp_path / "corpus" / f"{locale}.jsonl").write_text(rows, encoding="utf-8")
    return written(tmp_path, SCENARIOS, "scenarios.yaml")


@pytest.fixture
def moods(tmp_path):
    """A CSV a language, named by two letters, whose labels are written in capitals nowhere declared but in the task."""
    for code, locale in (("af", "af-ZA"), ("nl", "nl-NL"), ("de", "de-DE"), ("no", "en-US")):
        with open(tmp_path / f"{code}.csv", "w", newline="", encoding="utf-8") as out:
            writer = csv.writer(out)
            writer.writerow(("id", "split", "sentence", "mood"))
            for row in mini.records(locale):
                mood = ("calm", "glad", "cross")[len(row["intent"]) % 3]
                writer.writerow((row["id"], row["partition"], row["utt"], mood))
    return written(tmp_path, MOODS, "moods.yaml")


@pytest.fixture
def pairs(tmp_path):
    """Sentence pairs, a folder a language, with an own name for validation."""
    for code, locale in (("one", "af-ZA"), ("two", "nl-NL"), ("three", "de-DE")):
        for partition, name in (("train", "train"), ("dev", "tuning"), ("test", "test")):
            rows = [row for row in mini.records(locale) if row["partition"] == partition]
            folder = tmp_path / "pairs" / code
            folder.mkdir(parents=True, exist_ok=True)
            with open(folder / f"{name}.tsv", "w", encoding="utf-8") as out:
                out.write("id\tfirst\tsecond\tsame\n")
                for one, other in zip(rows, rows[5:]):
                    same = "yes" if one["intent"] == other["intent"] else "no"
                    out.write(f"{one['id']}\t{one['utt']}\t{other['utt']}\t{same}\n")
    return written(tmp_path, PAIRS, "pairs.yaml")


def make_models(base, file, root, languages, **change):
    """Noisy sources of a task."""
    task = replace(read_task_file(file), **change)
    store = ModelStore(str(base), task, root)
    make_noisy_sources(initial_checkpoint(store, 42), map(store.folder, languages))
    return store


# Through the commands


def test_a_folders_name_tells_an_unusual_base():
    assert MASSIVE.words("xlm-roberta-base") == MASSIVE.words("FacebookAI/xlm-roberta-base") == []
    assert MASSIVE.words("FacebookAI/xlm-roberta-large") == MASSIVE.words("models/xlm-roberta-large/") != []
    assert replace(MASSIVE, name="topics").words("xlm-roberta-large") == ["topics", "xlm-roberta-large"]


def test_scenarios_of_massive(run, scenarios, tiny_base, tmp_path):
    store = make_models(tiny_base, scenarios, tmp_path / "haryos_model", ("nl-NL", "de-DE", "en-US"))
    assert store.folder("nl-NL").name == "tiny_scenarios_k_nl-NL" and len(store.task.labels) == 18
    flags = ["--task", scenarios, "--base-model", "tiny"]
    for mode in ("average", "regmean", "ties"):
        done = run(MERGE, *flags, "--target-lang", "af-ZA", "--mode", mode, "--num-languages", 3)
        assert done.returncode == 0, done.stderr
    result = atomic.read_json(tmp_path / "results/average_merge_af-ZA_3merged_scenarios/results.json")
    assert len(result["model_info"]["id2label"]) == 18 and result["evaluation_info"]["task"] == "scenarios"
    texts = [row for row in mini.records("af-ZA") if row["partition"] == "test"]
    assert result["performance"]["total_predictions"] == len(texts)
    assert result["examples"][0]["true_intent"] == texts[0]["scenario"]
    vote = ["merginguriel/uriel_ensemble_inference.py", *flags, "--target-lang", "af-ZA", "--num-languages", 3]
    assert run(*vote).returncode == 0
    done = run("merginguriel/run_nxn_evaluation.py", *flags, "--targets", "af-ZA", "nl-NL")
    assert done.returncode == 0 and "6 done, 0 done before, 0 failed" in done.stdout
    sweep = [
        "merginguriel/run_large_scale_experiment.py",
        *flags,
        "--modes",
        "baseline",
        "linear",
        "--num-languages",
        2,
    ]
    done = run(*sweep, "--locales", "af-ZA", "nl-NL")
    assert done.returncode == 0 and (tmp_path / "results/baseline_nl-NL_scenarios/results.json").is_file(), done.stderr
    done = run("merginguriel/aggregate_results.py", "--results-dir", "results")
    assert done.returncode == 0 and "average_3lang_scenarios" in (done.stdout + done.stderr), done.stderr


def test_a_csv_of_moods_in_languages_of_two_letters(run, moods, tiny_base, tmp_path):
    """And the metric of the task keeps epochs and ranks: Norwegian is `no`, which is no boolean."""
    train_ = ["merginguriel/train_missing_models.py", "--task", moods, "--base-model", tiny_base, "--lr", "1e-3"]
    done = run(*train_, "--locales", "nl", "no", "--epochs", 2, "--additional-args", "--max-train-samples", 64)
    assert done.returncode == 0, done.stderr
    store = ModelStore(str(tiny_base), read_task_file(moods), tmp_path / "haryos_model")
    assert list(store.find()) == ["nl", "no"] and store.folder("no").name == "tiny_moods_k_no"
    state = atomic.read_json(store.folder("nl") / "trainer_state.json")
    scores = [entry["eval_macro_f1"] for entry in state["log_history"] if "eval_macro_f1" in entry]
    assert len(scores) >= 2 and state["best_metric"] == max(scores[:2])
    flags = ["--task", moods, "--base-model", "tiny", "--target-lang", "de", "--mode", "similarity"]
    done = run(MERGE, *flags, "--num-languages", 2)
    assert done.returncode == 0 and "macro_f1  accuracy" in done.stdout, done.stderr
    result = atomic.read_json(tmp_path / "results/similarity_merge_de_2merged_moods/results.json")
    assert result["performance"]["metric"] == "macro_f1"
    matrix = atomic.read_json(tmp_path / "merged_models/similarity_merge_de_2merged_moods/merge_details.json")
    assert matrix["plan"]["similarity"]["matrix"].startswith("lang2vec syntax_knn, top 20")


def test_pairs_are_given_to_the_tokenizer_as_pairs(run, pairs, tiny_base, tmp_path):
    """Trained, merged and measured on both texts; the second changes what is answered."""
    file = pairs
    task = read_task_file(file)
    run_ = TrainingRun(
        task,
        ModelStore(str(tiny_base), task, tmp_path / "haryos_model"),
        ("two",),
        tmp_path / "haryos_model/tiny_same-topic_k_two",
        TrainingSettings(num_train_epochs=1, max_train_samples=64, per_device_train_batch_size=16),
    )
    train(run_, TrainingSteps(do_train=True, do_eval=True))
    make_models(tiny_base, file, tmp_path / "haryos_model", ("three",))
    flags = ["--task", file, "--base-model", "tiny", "--target-lang", "one", "--num-languages", 2]
    for mode in ("average", "fisher_dataset", "regmean"):
        done = run(MERGE, *flags, "--mode", mode)
        assert done.returncode == 0, done.stderr
    folder = tmp_path / "merged_models/average_merge_one_2merged_same-topic"
    split = task.load("one", "test")
    ours = Classifier(folder, task).logits(split.texts, "")
    model, tokenizer = loading.load_classifier(folder, "cpu", Classifier(folder, task).dtype)
    theirs = []
    for first, second in split.texts:
        with torch.no_grad():
            given = tokenizer(first, second, truncation=True, max_length=24, return_tensors="pt")
            theirs.append(model(**given).logits[0].float().numpy())
    order = [model.config.label2id[name] for name in task.labels]
    np.testing.assert_allclose(ours, np.array(theirs)[:, order], atol=2e-2)
    assert not np.allclose(ours, Classifier(folder, task).logits([(one, "") for one, _ in split.texts], ""))


def test_pairs_are_chosen_by_consensus_and_adapted_to_without_labels(run, pairs, tiny_base, tmp_path):
    make_models(tiny_base, pairs, tmp_path / "haryos_model", ("two", "three", "eng_Latn"))
    train = tmp_path / "pairs/one/train.tsv"  # of the target, which has no labels there
    lines = [line.rpartition("\t")[0] for line in train.read_text().splitlines()]
    train.write_text("".join(f"{line}\n" for line in lines))
    merge = [MERGE, "--task", pairs, "--base-model", "tiny", "--target-lang", "one", "--mode", "consensus"]
    quick = ["--num-languages", 2, "--adapt", "vote", "--adapt-rounds", 1, "--adapt-epochs", 1]
    done = run(*merge, *quick)
    assert done.returncode == 0, done.stderr
    adapted = "consensus_merge_one_2merged_same-topic_adapt-vote_rounds1_epochs1"
    told = atomic.read_json(tmp_path / "results" / adapted / "results.json")["experiment"]
    assert (
        told["adapt"]["texts"]["count"]
        == told["similarity"]["texts"]["count"]
        == len(train.read_text().splitlines()) - 1
    )
    assert len(told["similarity"]["consensus"]) == 3


def test_token_types_of_pairs(tmp_path):
    """Where a tokenizer has them: 1 for the second text, in tokens, batches and the file that keeps them."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.WordLevel({"[CLS]": 0, "[PAD]": 1, "[SEP]": 2, "a": 3, "b": 4}, unk_token="[PAD]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 0))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", model_input_names=["input_ids", "token_type_ids", "attention_mask"]
    )
    made = tokens.tokenise(tokenizer, [("a", "b b"), ("a a a", "b")], 16)
    assert made[0] == [0, 3, 2, 4, 4, 2] and made.types[:6].tolist() == [0, 0, 0, 1, 1, 1]
    (batch,) = scoring.make_batches(made, SimpleNamespace(pad_token_id=1), "cpu").inputs
    assert batch["token_type_ids"].tolist() == [[0, 0, 0, 1, 1, 1, 0], [0, 0, 0, 0, 0, 1, 1]]
    assert tokens.tokenise(tokenizer, ["a", "b"], 16).types is None


def test_one_command_from_foreign_models(run, scenarios, tiny_base, tmp_path):
    """Four models under names of their own, one in float16, one an adapter, one in another order of labels."""
    peft = pytest.importorskip("peft")
    store = make_models(tiny_base, scenarios, tmp_path / "made", ("nl-NL", "de-DE", "en-US"))
    mine = {code: tmp_path / "mine" / name for code, name in (("nl-NL", "dutch"), ("de-DE", "german"), ("en-US", "x"))}
    (tmp_path / "mine").mkdir()
    for code, folder in mine.items():
        os.rename(store.folder(code), folder)
    AutoModelForSequenceClassification.from_pretrained(mine["de-DE"]).half().save_pretrained(mine["de-DE"])
    config = peft.LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query"], modules_to_save=["classifier"])
    start = AutoModelForSequenceClassification.from_pretrained(store.initial(42))
    peft.get_peft_model(start, config).save_pretrained(tmp_path / "mine/adapter")
    told = atomic.read_json(tmp_path / "mine/adapter/adapter_config.json")
    told["base_model_name_or_path"] = str(store.initial(42))
    atomic.write_json(tmp_path / "mine/adapter/adapter_config.json", told)
    mine["id-ID"] = tmp_path / "mine/adapter"
    text = SCENARIOS.replace("en-US]", "en-US, id-ID]")
    given = [part for code, folder in mine.items() for part in ("--source", f"{code}={folder}")]
    done = run(MERGE, "--task", written(tmp_path, text), "--mode", "average", "--target-lang", "af-ZA", *given)
    assert done.returncode == 0, done.stderr
    assert len([line for line in done.stdout.splitlines() if " alone " in line]) == 4
    (folder,) = (tmp_path / "merged_models").iterdir()
    assert folder.name.startswith("average_merge_af-ZA_4merged_scenarios")
    details = atomic.read_json(folder / "merge_details.json")
    assert {source["locale"]: source["weight"] for source in details["plan"]["sources"]} == dict.fromkeys(mine, 0.25)
    assert (tmp_path / "results/de-DE_german_af-ZA/results.json").is_file()

    # What it tells makes it again, and measures its baselines.
    (file,) = (tmp_path / "results").glob("average_merge_*/results.json")
    made = atomic.read_json(file)
    assert made["experiment"]["base_model"] == "xlm-roberta"  # their kind, as they tell no more
    again = shlex.split(command_of(made))
    assert [again[place + 1] for place, part in enumerate(again) if part == "--source"][:3] == given[1:6:2]
    done = run(*again)
    assert done.returncode == 0 and f"already done: {file.parent.relative_to(tmp_path)}" in done.stderr
    alone = compare(collect(tmp_path / "results", None).long).frame
    (command,) = baseline_commands(alone)
    done = run(*shlex.split(command))
    assert done.returncode == 0 and "4 done" in done.stdout, done.stderr
    comparison = compare(collect(tmp_path / "results", tmp_path / "nxn_results").long)
    assert comparison.frame.num_zero_shot[0] == 4 and not any("disagree" in note for note in comparison.notes)
    assert comparison.frame.best_source_score.equals(alone.best_source_score)


# What is the same, and what must not meet


def test_places_and_spellings_of_one_task(scenarios, tmp_path):
    elsewhere = task_of(TaskSettings(dataset_name=str(tmp_path / "corpus")))
    assert elsewhere.load("af-ZA", "test").fingerprint() == MINI_TASK.load("af-ZA", "test").fingerprint()
    assert elsewhere.model_hash == MASSIVE.model_hash == MINI_TASK.model_hash and elsewhere.name == "massive"
    task = read_task_file(scenarios)
    changed = replace(task, data="x", metric="macro_f1", languages=(), labels=tuple(reversed(task.labels)), label="y")
    assert changed.model_hash == task.model_hash != replace(task, text=("a", "b")).model_hash
    for one in (MASSIVE, MINI_TASK, elsewhere, task, replace(task, text=("utt2",), data="elsewhere")):
        flags = dict(zip(task_tokens(one)[::2], task_tokens(one)[1::2]))
        given = {name: flags.get(f"--{name.replace('_', '-')}") for name in ("dataset_name", "text_column")}
        assert task_of(TaskSettings(flags.get("--task", "massive"), **given)) == one


def test_labels_are_declared_by_name_or_number(tmp_path):
    (tmp_path / "de.jsonl").write_text(
        "".join(
            f"{json.dumps({'id': number, 'split': 'test', 'sentence': 'x', 'mood': mood})}\n"
            for number, mood in enumerate(["glad", 0, "2", 2])
        )
    )
    task = read_task_file(written(tmp_path, MOODS))
    assert task.load("de", "test").labels == [1, 0, 2, 2] and task.load("de", "test").label_names[2] == "cross"
    numbered = read_task_file(written(tmp_path, MOODS.replace("[calm, glad, cross]", "[2, glad, 0]")))
    assert numbered.load("de", "test").labels == [1, 2, 0, 0]


def test_models_of_two_tasks_do_not_meet(refused, scenarios, moods, tiny_base, tmp_path):
    store = make_models(tiny_base, scenarios, tmp_path / "haryos_model", ("nl-NL",))
    model = store.folder("nl-NL")
    given = ["--mode", "average", "--target-lang", "de", "--source", f"nl={model}"]
    error = refused(MERGE, "--task", moods, *given)
    assert "none of the 3 of task moods" in error and "task scenarios" in error
    pair = written(tmp_path, SCENARIOS.replace("text: utt", "text: [utt, id]"))
    error = refused(MERGE, "--task", pair, "--mode", "average", "--target-lang", "de-DE", "--source", f"nl-NL={model}")
    assert "number of texts" in error
    config = atomic.read_json(model / "config.json")
    del config["merginguriel_task"]
    atomic.write_json(model / "config.json", config)  # as an older one: its labels tell
    file = written(tmp_path, SCENARIOS)
    from merginguriel.utils.models.model_folder import read_labels

    assert set(read_labels(model, read_task_file(file))) == set(store.task.labels)


def test_texts_are_cut_where_the_model_was_trained(tiny_base, scenarios, tmp_path):
    """Evaluation read 128 tokens whatever the model had seen."""
    for cut in (4, 16):
        store = make_models(tiny_base, scenarios, tmp_path / f"at{cut}", ("nl-NL",), max_tokens=cut)
        classifier = Classifier(store.folder("nl-NL"), read_task_file(scenarios))
        assert classifier.settings["max_tokens"] == cut
        text = " ".join(["a b c d e f g h"] * 3)
        whole = classifier.logits([text], "")
        assert np.array_equal(whole, classifier.logits([" ".join(text.split()[: cut - 2])], ""))


# Bad input


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("text:", "txt:", "did you mean text?"),
        ("label: scenario\n", "", "no label:"),
        ("name: scenarios", "name: my/task", "folder's name"),
        ("text: utt", "text: [a, b, c]", "3 columns"),
        ("text: utt", "text: {a: b}", "not a list"),
        ("[af-ZA, nl-NL, de-DE, en-US]", "[af-ZA, ../x]", "which is no code"),
        ("[af-ZA, nl-NL, de-DE, en-US]", "{af-ZA: afrikaans}", "no ISO 639-3 code"),
        ("[af-ZA, nl-NL, de-DE, en-US]", "[af-ZA, af-ZA]", "twice"),
        ("languages:", "metric: recall\nlanguages:", "metric 'recall' is none of"),
        ("languages:", "max_tokens: many\nlanguages:", "not a number"),
        ("languages:", "splits: {training: x}\nlanguages:", "none of train"),
        (SCENARIOS, "- name", "does not map keys"),
        ("name: scenarios", "name: [", "is no YAML"),
        ("data: corpus", "data: ./absent", "absent"),
        ("text: utt", "text: [utt, other]", "no column 'other'"),
        ("weather]", "wether]", "label 'weather' is none"),
        ("languages:", "splits: {train: train}\nlanguages:", "has no test split"),
    ],
)
def test_wrong_task_files(refused, scenarios, tiny_base, models_root, tmp_path, old, new, message):
    assert old in SCENARIOS
    file = written(tmp_path, SCENARIOS.replace(old, new, 1))
    evaluate = ["merginguriel/evaluate_specific_model.py", "--model-path", models_root / "tiny_massive_k_nl-NL"]
    error = refused(*evaluate, "--task", file, "--locale", "af-ZA")
    other_task = "none of the 18" in error  # found before the data are read
    assert message in error or (other_task and message.startswith(("absent", "no column", "label", "has no")))
    if other_task:
        with pytest.raises(InputError, match=message.replace("(", r"\(")):
            read_task_file(file).load("af-ZA", "test")


def test_a_language_that_the_task_has_not(refused, scenarios, tmp_path):
    given = ["--task", scenarios, "--mode", "average", "--target-lang"]
    assert "did you mean af-ZA" in refused(MERGE, *given, "af")
    assert "did you mean nl-NL" in refused(MERGE, *given, "Dutch")
    assert "no task 'scenarois'" in refused(MERGE, "--task", "scenarois", "--mode", "average")
    assert "is no language code" in refused(MERGE, *given, "../af")


# Two tasks in one folder of results


def test_a_sweep_tells_one_metric_and_its_targets_are_one_experiment(run, refused, moods, pairs, tiny_base, tmp_path):
    """macro-F1 beside macro-F1; gaps are those of a task."""
    store = make_models(tiny_base, moods, tmp_path / "made", ("nl", "no", "de"))
    given = [part for code in ("nl", "no", "de") for part in ("--source", f"{code}={store.folder(code)}")]
    sweep = ["merginguriel/run_large_scale_experiment.py", "--task", moods, *given, "--modes", "average"]
    done = run(*sweep, "--num-languages", 2, "--locales", "af", "nl", "-v")
    assert done.returncode == 0 and "mean macro_f1" in done.stdout, done.stderr
    result = atomic.read_json(tmp_path / "results/average_merge_af_2merged_moods/results.json")["performance"]
    assert result["macro_f1"] != result["accuracy"]
    assert f"average_merge_af_2merged_moods: {result['macro_f1']:.4f}, best source" in done.stdout + done.stderr

    make_models(tiny_base, pairs, tmp_path / "haryos_model", ("two", "three"))
    merge = [MERGE, "--mode", "average", "--target-lang"]
    assert run(*merge, "one", "--task", pairs, "--base-model", "tiny", "--num-languages", 2).returncode == 0
    assert "2 tasks: moods (6 results), same-topic (3 results); choose" in refused("merginguriel/aggregate_results.py")
    done = run("merginguriel/aggregate_results.py", "--show-missing", "--task", "moods", "--no-tests")
    assert "average_2lang_moods: 2 experiments, mean macro-F1" in done.stdout, done.stdout + done.stderr
    assert "has no result for" not in done.stdout

    # Their folders' names tell the base, by which they are found again.
    made = atomic.read_json(tmp_path / "results/average_merge_af_2merged_moods/results.json")
    assert made["experiment"]["base_model"] == "tiny"
    assert f"--task {moods} --base-model tiny --models-root {tmp_path / 'made'} " in command_of(made)


def test_where_no_model_is_the_command_trains_those_of_the_task(refused, moods, tiny_base):
    error = refused(MERGE, "--task", moods, "--base-model", tiny_base, "--mode", "average", "--target-lang", "af")
    assert f" --task {moods} --models-root " in error and error.endswith(" --locales nl de no")
