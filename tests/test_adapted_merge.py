"""Merges adapted to their targets: the same in a sweep as alone, and whatever an earlier run has left."""

import numpy as np
import pytest

from merginguriel import run_large_scale_experiment, run_merging_pipeline_refactored
from merginguriel.utils.storage import atomic

QUICK = ["--dataset-name", "mini", "--adapt-examples", 64, "--adapt-epochs", 1, "--adapt-rounds", 1, "--adapt-lr", 0.01]
NAME = "average_merge_af-ZA_2merged_adapt-vote_examples64_rounds1_epochs1_lr0.01"


@pytest.fixture
def do(monkeypatch, tmp_path, source_copies):
    """do(script, *flags) -> exit code, in this process."""
    monkeypatch.chdir(tmp_path)
    where = ["--base-model", "tiny", "--models-root", source_copies, "--num-languages", 2]
    return lambda script, *flags: script.main([str(flag) for flag in (*where, *QUICK, *flags)])


@pytest.fixture
def sweep(do):
    return lambda *flags: do(
        run_large_scale_experiment, "--locales", "af-ZA", "--modes", "average+vote", "--workers", 1, *flags
    )


def test_a_sweep_adapts_as_one_merge_does(do, sweep, tmp_path):
    one = ["--target-lang", "af-ZA", "--mode", "average", "--adapt", "vote", "--no-baselines"]
    assert do(run_merging_pipeline_refactored, *one) == 0
    assert sweep("--results-dir", "swept") == 0
    alone, swept = (
        np.load(tmp_path / folder / NAME / "predictions.npz", allow_pickle=False) for folder in ("results", "swept")
    )
    assert (alone["predictions"] == swept["predictions"]).all()
    told = [atomic.read_json(tmp_path / folder / NAME / "results.json") for folder in ("results", "swept")]
    assert told[0]["experiment"] == told[1]["experiment"]
    assert list((tmp_path / "swept/.adapted").iterdir()) == []  # no model is kept where merges are not


def test_what_other_sources_have_left_is_replaced(sweep, tmp_path, source_copies):
    assert sweep("--keep-merged") == 0
    left = tmp_path / "swept/.adapted"
    left.mkdir(parents=True)
    for name, of in ((f"{NAME}.merged", "average_merge_af-ZA_2merged"), (NAME, NAME)):
        (tmp_path / "merged_models" / of).rename(left / name)
        assert (left / name / "config.json").is_file()
    (source_copies / "tiny_massive_k_nl-NL/model.safetensors").touch()  # another model, as far as its files tell
    assert sweep("--results-dir", "swept") == 0
    assert (tmp_path / "swept" / NAME).is_dir() and list(left.iterdir()) == []


def test_a_kept_merge_of_other_sources_is_replaced_on_demand(sweep, tmp_path, source_copies):
    assert sweep("--keep-merged") == 0
    models = [tmp_path / "merged_models" / name for name in ("average_merge_af-ZA_2merged", NAME)]
    before = [(model / "model.safetensors").stat().st_mtime_ns for model in models]
    (source_copies / "tiny_massive_k_nl-NL/model.safetensors").touch()
    assert sweep("--keep-merged") == 1
    assert sweep("--keep-merged", "--overwrite") == 0
    after = [(model / "model.safetensors").stat().st_mtime_ns for model in models]
    assert all(new > old for new, old in zip(after, before))
    assert sweep("--keep-merged") == 0
    assert [(model / "model.safetensors").stat().st_mtime_ns for model in models] == after
