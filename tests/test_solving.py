"""RegMean++ as a mode: the same bytes streamed and in memory, heads in one order, kept where that is asked for."""

import json
import shutil

import pytest
import torch
from auto_merge_llm.errors import InputError
from auto_merge_llm.safetensors_writer import file_sha256
from safetensors.torch import load_file, save_file

from merginguriel.utils.data.massive import MINI_TASK
from merginguriel.utils.merging.bench import FolderBench
from merginguriel.utils.merging.examples import TextSettings
from merginguriel.utils.merging.memory_bench import MemoryBench
from merginguriel.utils.merging.plan import plan_merge
from merginguriel.utils.merging.selection import SourceSettings
from merginguriel.utils.merging.settings import MergeSettings
from merginguriel.utils.models.store import ModelStore

SOURCES = ("nl-NL", "de-DE", "en-US")


def planned(models_root, folder, **settings):
    texts = TextSettings(num_examples=12, batch_size=4, scope=settings.pop("scope", "target"))
    settings = MergeSettings("regmean_plus", "af-ZA", SourceSettings(sources=SOURCES), texts, **settings)
    return plan_merge(settings, MINI_TASK, ModelStore("tiny", MINI_TASK, models_root), output=folder)


def streamed(plan, measurements):
    FolderBench(measurements).merge(plan, plan.record(), overwrite=False)
    return load_file(plan.output / "model.safetensors")


def turned(source):
    """The model with its labels, and the rows of its head, in reverse."""
    config = json.loads((source / "config.json").read_text())
    names = list(config["id2label"].values())[::-1]
    config["id2label"] = {str(place): name for place, name in enumerate(names)}
    config["label2id"] = {name: place for place, name in enumerate(names)}
    (source / "config.json").write_text(json.dumps(config))
    state = load_file(source / "model.safetensors")
    for name in ("classifier.out_proj.weight", "classifier.out_proj.bias"):
        state[name] = state[name].flip(0)
    save_file(state, source / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize("scope", ["target", "own"])
def test_streamed_and_in_memory_are_the_same_bytes(models_root, tmp_path, scope):
    plan = planned(models_root, tmp_path / "merged", scope=scope)
    state = streamed(plan, tmp_path / "measurements")
    (kept,) = (tmp_path / "measurements").iterdir()
    solved = load_file(kept)
    assert len(solved) == 8 and all(torch.equal(state[name], values) for name, values in solved.items())
    merge = MemoryBench(tmp_path / "others").merge(plan, plan.record(), overwrite=True)
    assert merge.weights_fingerprint == file_sha256(state)
    assert not (tmp_path / "others").exists()
    # With the file, nothing is solved again.
    times = kept.stat().st_mtime_ns
    again = streamed(planned(models_root, tmp_path / "again", scope=scope), tmp_path / "measurements")
    assert file_sha256(again) == file_sha256(state) and kept.stat().st_mtime_ns == times


def test_scopes_and_weights_have_files_of_their_own(models_root, tmp_path):
    merges = [
        streamed(planned(models_root, tmp_path / str(place), **settings), tmp_path / "measurements")
        for place, settings in enumerate(({}, {"scope": "own"}, {"scope": "sources"}, {"preweight": "uriel"}))
    ]
    assert len(list((tmp_path / "measurements").iterdir())) == 4 == len(set(map(file_sha256, merges)))


def test_heads_are_merged_by_the_names_of_their_labels(models_root, source_copies, tmp_path):
    expected = streamed(planned(models_root, tmp_path / "expected"), tmp_path / "measurements")
    turned(source_copies / "tiny_massive_k_nl-NL")  # the last of the folders' names, whose labels do not count
    merged = streamed(planned(source_copies, tmp_path / "merged"), tmp_path / "measurements")
    assert all(torch.equal(merged[name], values) for name, values in expected.items())


def test_a_damaged_file_is_named(models_root, tmp_path):
    plan = planned(models_root, tmp_path / "merged")
    streamed(plan, tmp_path / "measurements")
    shutil.rmtree(plan.output)
    (kept,) = (tmp_path / "measurements").iterdir()
    kept.write_bytes(kept.read_bytes()[:-5])
    with pytest.raises(InputError, match="is damaged; remove it and merge again"):
        streamed(plan, tmp_path / "measurements")
