"""Model folders that are damaged, or odd: refused in a line, or the numbers that transformers alone gives."""

import edits
import oracles
import strategies
import verdicts
import worlds
from hypothesis import given
from hypothesis import strategies as st

MODEL = worlds.model("nl-NL")
EVALUATE = ["--task", "task.yaml", "--base-model", MODEL, "--locale", "af-ZA", "--results-dir", "out"]


def evaluated(world, tmp_path, damaged):
    with verdicts.copy_of(world, tmp_path) as root:
        edits.damage(root, damaged)
        verdict = verdicts.judge(root, "evaluate_specific_model", EVALUATE)
        if not verdict.refused:
            plain = oracles.PlainModel(root / MODEL)
            assert plain.whole, "a number of a model that is not the folder's"
            items = oracles.rows(root, "af-ZA")
            logits = plain.logits([row["utt"] for row in items])
            oracles.check_result(root / "out" / f"{MODEL.split('/')[1]}_af-ZA", items, logits)
        return verdict


def hold(check, strategy, inputs, number, world, tmp_path):
    seen = []

    @inputs(number)
    @given(st.lists(strategy, min_size=1, max_size=2))
    def holds(damaged):
        seen.append(check(world, tmp_path, damaged))

    holds()
    assert len(seen) >= number and {verdict.refused for verdict in seen} == {True, False}


def test_the_undamaged_world(world, tmp_path):
    assert not evaluated(world, tmp_path, []).refused


def test_configurations(world, tmp_path, inputs):
    hold(evaluated, strategies.of_config(MODEL), inputs, 80, world, tmp_path)


def test_weights(world, tmp_path, inputs):
    hold(evaluated, strategies.of_weights(MODEL), inputs, 60, world, tmp_path)


def test_tokenizers(world, tmp_path, inputs):
    hold(evaluated, strategies.of_tokenizer(MODEL), inputs, 60, world, tmp_path)
