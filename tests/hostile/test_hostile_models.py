"""Model folders that are damaged, or odd: refused in a line, or the numbers that transformers alone gives."""

import json

import numpy as np
import oracles
import strategies
import verdicts
import worlds
from edits import Edit
from hypothesis import strategies as st
from scipy.special import softmax

MODEL = worlds.model("nl-NL")
EVALUATE = ["--task", "task.yaml", "--base-model", MODEL, "--locale", "af-ZA", "--results-dir", "out"]
NAMED = ["--sources", ",".join(worlds.SOURCES)]
MERGE = [*worlds.STORE, *NAMED, "--target-lang", "af-ZA", "--output-dir", "merged/new", "--results-dir", "out"]
WEIGHTS = {"nl-NL": 0.5, "de-DE": 0.3, "en-US": 0.2}
# Of one source among three; a sound one may stand in its place.
ANY = st.one_of(strategies.of_config(MODEL), strategies.of_weights(MODEL), strategies.of_tokenizer(MODEL), strategies.of_model(MODEL))  # fmt: skip


def checked_models(root, languages, target="af-ZA"):
    """Logits by plain transformers of models that read texts alike; each result in out/ is that."""
    items = oracles.rows(root, target)
    texts = [row["utt"] for row in items]
    models = {language: oracles.PlainModel(root / worlds.model(language)) for language in languages}
    logits = {}
    for language, model in models.items():
        assert model.whole, f"a number of a model that is not the folder's: {language}"
        logits[language] = model.logits(texts)
        oracles.check_result(root / "out" / f"{worlds.model(language)[7:]}_{target}", items, logits[language])
    return items, models, logits


def evaluated(root):
    verdict = verdicts.judge(root, "evaluate_specific_model", EVALUATE)
    if not verdict.refused:
        checked_models(root, ["nl-NL"])
    return verdict


def merged(mode, *flags):
    def check(root):
        verdict = verdicts.judge(root, "run_merging_pipeline_refactored", ["--mode", mode, *MERGE, *flags])
        if verdict.refused:
            return verdict
        items, models, _ = checked_models(root, worlds.SOURCES)
        read = {tuple(tuple(model.tokenizer(row["utt"])["input_ids"]) for row in items) for model in models.values()}
        assert len(read) == 1, "merged models that read texts differently"
        model = oracles.PlainModel(root / "merged" / "new")
        assert model.whole
        oracles.check_result(root / "out" / "new", items, model.logits([row["utt"] for row in items]))
        oracles.check_average(
            root, root / "merged" / "new", WEIGHTS if mode == "linear" else _EQUAL, whole=mode != "regmean"
        )
        return verdict

    return check


_EQUAL = dict.fromkeys(worlds.SOURCES, 1 / 3)


def voted(root):
    flags = [*worlds.STORE, *NAMED, "--target-lang", "af-ZA", "--preweight", "equal", "--voting-method", "all"]
    verdict = verdicts.judge(root, "uriel_ensemble_inference", [*flags, "--results-dir", "out"])
    if verdict.refused:
        return verdict
    items, _, logits = checked_models(root, worlds.SOURCES)
    by_source = np.stack(list(logits.values()))
    means = {"soft": softmax(by_source, -1).mean(0), "uriel_logits": by_source.mean(0)}
    for vote, scores in means.items():
        folder = next((root / "out").glob(f"ensemble_{vote}_*"))
        oracles.check_result(folder, items, scores)
    # Ties go to either; where two of three agree, to what they say.
    answers = by_source.argmax(-1)
    found = oracles.kept(next((root / "out").glob("ensemble_majority_*")))["predictions"]
    sure = (np.sort(by_source, -1)[..., -1] - np.sort(by_source, -1)[..., -2] > oracles.NEAR).all(0)
    for item in np.flatnonzero(sure):
        counts = np.bincount(answers[:, item], minlength=len(worlds.LABELS))
        assert counts[found[item]] == counts.max()
    return verdict


def crossed(root):
    """N×N: two models on one target."""
    flags = ["--locales", "nl-NL", "de-DE", "--targets", "af-ZA", "--results-dir", "out"]
    verdict = verdicts.judge(root, "run_nxn_evaluation", [*worlds.STORE, *flags], partly=True)
    if verdict.refused:
        return verdict
    for cell in (root / "out").glob("nxn_*/*_on_af-ZA/results.json"):
        model = oracles.PlainModel(root / worlds.model(cell.parent.name[:5]))
        assert model.whole
        items = oracles.rows(root, "af-ZA")
        logits = model.logits([row["utt"] for row in items])
        right = [worlds.LABELS[answer] == row["topic"] for answer, row in zip(logits.argmax(-1), items)]
        near = (np.sort(logits, -1)[:, -1] - np.sort(logits, -1)[:, -2] < oracles.NEAR).sum()
        told = json.loads(cell.read_text())["performance"]["correct_predictions"]
        assert np.isfinite(logits).any(-1).all() and abs(told - sum(right)) <= near
    return verdict


def swept(root):
    flags = ["--locales", "af-ZA", "--modes", "average", "--num-languages", "3", "--workers", "1"]
    flags += ["--similarity-matrix", worlds.MATRIX, "--results-dir", "out"]
    verdict = verdicts.judge(root, "run_large_scale_experiment", [*worlds.STORE, *flags], partly=True)
    for folder in (root / "out").glob("average_*"):
        items, models, _ = checked_models(root, worlds.SOURCES)
        oracles.check_mean_result(root, folder, items, _EQUAL)
    return verdict


def adapted(root):
    flags = ["--model", worlds.model("de-DE"), "--target-lang", "af-ZA", "--teachers", "nl-NL", "--adapt-epochs", 1]
    flags += ["--adapt-rounds", 1, "--adapt-batch-size", 6, "--output-dir", "merged/new", "--results-dir", "out"]
    verdict = verdicts.judge(root, "adapt_to_target", [*worlds.STORE, *flags])
    if not verdict.refused:
        items, _, _ = checked_models(root, ["nl-NL", "de-DE"])
        model = oracles.PlainModel(root / "merged" / "new")
        assert model.whole
        oracles.check_result(root / "out" / "new", items, model.logits([row["utt"] for row in items]))
    return verdict


def test_configurations_evaluated(world, hold):
    known = [[Edit("set_value", f"{MODEL}/config.json", (("chunk_size_feed_forward",), None))]]
    hold(world, 70, strategies.of_config(MODEL), evaluated, known)


def test_weights_evaluated(world, hold):
    hold(world, 50, strategies.of_weights(MODEL), evaluated)


def test_tokenizers_evaluated(world, hold):
    hold(world, 50, strategies.of_tokenizer(MODEL), evaluated)


def test_a_source_of_an_average(world, hold):
    hold(world, 50, ANY, merged("average"))


def test_a_source_of_weights(world, hold):
    hold(world, 30, ANY, merged("linear", "--weights", ",".join(f"{key}={value}" for key, value in WEIGHTS.items())))


def test_a_source_of_regmean(world, hold):
    hold(world, 30, ANY, merged("regmean", "--num-fisher-examples", "12"))


def test_a_source_of_a_vote(world, hold):
    hold(world, 40, ANY, voted)


def test_a_model_of_an_nxn(world, hold):
    hold(world, 25, ANY, crossed)


def test_a_source_of_a_sweep(world, hold):
    hold(world, 25, ANY, swept)


def test_a_teacher(world, hold):
    hold(world, 20, ANY, adapted)
