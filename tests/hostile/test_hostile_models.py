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
MERGE = [*worlds.STORE, "--target-lang", "af-ZA", "--output-dir", "merged/new", "--results-dir", "out"]
WEIGHTS = {"nl-NL": 0.5, "de-DE": 0.3, "en-US": 0.2}
# Of one source among three; a sound one may stand in its place.
ANY = st.one_of(
    strategies.of_config(MODEL),
    strategies.of_weights(MODEL),
    strategies.of_tokenizer(MODEL),
    strategies.of_model(MODEL),
)


def items_of(root, language="af-ZA"):
    items = oracles.rows(root, language)
    return items, [row["utt"] for row in items]


def checked_models(root, languages):
    """Logits by plain transformers of the models whose results are in out/, which say the same."""
    items, texts = items_of(root)
    logits = {}
    for language in languages:
        folder = root / "out" / f"{worlds.model(language)[7:]}_af-ZA"
        if folder.exists():
            whole, logits[language] = oracles.plain_answers(root / worlds.model(language), texts)
            assert whole, f"a number of a model that is not the folder's: {language}"
            oracles.check_result(folder, items, logits[language])
    return logits


def evaluated(root):
    verdict = verdicts.judge(root, "evaluate_specific_model", EVALUATE)
    assert verdict.refused or checked_models(root, ["nl-NL"])
    return verdict


def check_merged(root):
    """The model in merged/new, and its result."""
    items, texts = items_of(root)
    whole, logits = oracles.plain_answers(root / "merged" / "new", texts)
    assert whole
    oracles.check_result(root / "out" / "new", items, logits)
    # A source without a tokenizer is taken, of a vocabulary of the same size; and one whose files are the same, but to
    # be read by another class, which may add rules of its own.
    folders = [root / worlds.model(language) for language in worlds.SOURCES]
    usual = oracles.tokenizer_class(root / "merged" / "new")
    read = [oracles.token_ids(folder, texts) for folder in folders if oracles.tokenizer_class(folder) == usual]
    assert all(one is None or one == oracles.token_ids(root / "merged" / "new", texts) for one in read)


def merged(mode, *flags, weights):
    def check(root):
        command = ["--mode", mode, *MERGE, *flags]
        verdict = verdicts.judge(root, "run_merging_pipeline_refactored", command, keeps=True)
        # Where a source alone cannot be evaluated, the merge stays.
        if (root / "merged" / "new").exists():
            check_merged(root)
            oracles.check_average(root, root / "merged" / "new", weights, whole=mode != "regmean")
        assert (len(checked_models(root, worlds.SOURCES)) == 3) >= (verdict.code == 0)
        return verdict

    return check


_EQUAL = dict.fromkeys(worlds.SOURCES, 1 / 3)


def voted(root):
    flags = [*worlds.STORE, *NAMED, "--target-lang", "af-ZA", "--preweight", "equal", "--voting-method", "all"]
    verdict = verdicts.judge(root, "uriel_ensemble_inference", [*flags, "--results-dir", "out"], keeps=True)
    logits = checked_models(root, worlds.SOURCES)
    if verdict.refused:
        assert not any("ensemble" in name for name in verdict.new)
        return verdict
    items, _ = items_of(root)
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
    items, texts = items_of(root)
    for cell in (root / "out").glob("nxn_*/*_on_af-ZA/results.json"):
        whole, logits = oracles.plain_answers(root / worlds.model(cell.parent.name[:5]), texts)
        assert whole
        oracles.check_accuracy(json.loads(cell.read_text()), items, logits)
    return verdict


def swept(root):
    flags = ["--locales", "af-ZA", "--modes", "average", "--num-languages", "3", "--workers", "1"]
    flags += ["--similarity-matrix", worlds.MATRIX, "--results-dir", "out"]
    verdict = verdicts.judge(root, "run_large_scale_experiment", [*worlds.STORE, *flags], partly=True)
    logits = checked_models(root, worlds.SOURCES)
    for folder in (root / "out").glob("average_*"):
        items, _ = items_of(root)
        assert len(logits) == 3 or verdict.code == 1
        oracles.check_mean_result(root, folder, items, _EQUAL)
    return verdict


def adapted(root):
    flags = ["--model", worlds.model("de-DE"), "--target-lang", "af-ZA", "--teachers", "nl-NL", "--adapt-epochs", 1]
    flags += ["--adapt-rounds", 1, "--adapt-batch-size", 6, "--output-dir", "merged/new", "--results-dir", "out"]
    verdict = verdicts.judge(root, "adapt_to_target", [*worlds.STORE, *flags], keeps=True)
    checked_models(root, ["nl-NL", "de-DE"])
    if (root / "merged" / "new").exists():
        items, texts = items_of(root)
        whole, logits = oracles.plain_answers(root / "merged" / "new", texts)
        assert whole
        oracles.check_result(root / "out" / "new", items, logits)
    return verdict


def test_configurations_evaluated(world, hold):
    known = [[Edit("set_value", f"{MODEL}/config.json", (("chunk_size_feed_forward",), None))]]
    hold(world, 70, strategies.of_config(MODEL), evaluated, known)


def test_weights_evaluated(world, hold):
    wrapped = Edit("change_tensor", f"{MODEL}/model.safetensors", (32, "compiled"))
    hold(world, 50, strategies.of_weights(MODEL), evaluated, [[wrapped, wrapped]])


def test_tokenizers_evaluated(world, hold):
    known = [
        [Edit("set_value", f"{MODEL}/tokenizer_config.json", (("tokenizer_class",), "ByT5Tokenizer"))],
        [Edit("nest_value", f"{MODEL}/tokenizer_config.json", ("auto_map", 3))],
        [Edit("set_value", f"{MODEL}/tokenizer_config.json", (("auto_map",), None))],
        [Edit("nest_value", f"{MODEL}/tokenizer_config.json", ("model_input_names", 3))],
        [Edit("set_value", f"{MODEL}/tokenizer.json", (("added_tokens", 0, "content"), " "))],
    ]
    hold(world, 50, strategies.of_tokenizer(MODEL), evaluated, known)


def test_a_source_of_an_average(world, hold):
    known = [
        [Edit("become_link", f"{MODEL}/tokenizer.json", (".",))],
        [Edit("create", f"{MODEL}/special_tokens_map.json", (b'{"pad_token": "w1"}',))],
    ]
    hold(world, 35, ANY, merged("average", *NAMED, weights=_EQUAL), known)


def test_a_source_of_weights(world, hold):
    told = ",".join(f"{language}={weight}" for language, weight in WEIGHTS.items())
    known = [[Edit("set_value", f"{MODEL}/tokenizer_config.json", (("tokenizer_class",), "GPT2TokenizerFast"))]]
    hold(world, 30, ANY, merged("linear", "--weights", told, weights=WEIGHTS), known)


def test_a_source_of_regmean(world, hold):
    other_rule = {"type": "Replace", "pattern": {"String": "w"}, "content": "v"}
    known = [
        [Edit("set_value", f"{MODEL}/config.json", (("pad_token_id",), 0))],
        [Edit("set_value", f"{MODEL}/tokenizer.json", (("added_tokens", 0, "content"), " "))],
        [Edit("set_value", f"{MODEL}/tokenizer.json", (("normalizer",), other_rule))],
    ]
    hold(world, 30, ANY, merged("regmean", *NAMED, "--num-fisher-examples", "12", weights=_EQUAL), known)


def test_a_source_of_a_vote(world, hold):
    hold(world, 40, ANY, voted, [[Edit("nest_value", f"{MODEL}/config.json", ("architectures", 20_000))]])


def test_a_model_of_an_nxn(world, hold):
    hold(world, 10, ANY, crossed)


def test_a_source_of_a_sweep(world, hold):
    known = [
        [Edit("become_link", f"{MODEL}/config.json", (".",))],
        [Edit("set_value", f"{MODEL}/config.json", (("id2label", "2"), [0.5]))],
        [Edit("set_value", f"{MODEL}/config.json", (("num_attention_heads",), 4))],
    ]
    hold(world, 16, ANY, swept, known)


def test_a_teacher(world, hold):
    known = [[Edit("set_value", f"{MODEL}/tokenizer.json", (("added_tokens", 0, "content"), " "))]]
    hold(world, 15, ANY, adapted, known)
