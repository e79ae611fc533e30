"""The registry, and what the executor promises to methods."""

import subprocess
import sys
from dataclasses import dataclass

import pytest
import torch
from auto_merge_llm import executor
from auto_merge_llm.errors import InputError
from auto_merge_llm.merge import merge_checkpoints, merge_state_dicts
from auto_merge_llm.methods import METHODS, create
from auto_merge_llm.methods.base import Method
from toys import LABELS, read_tensors


def test_listing_does_not_import_torch():
    code = (
        "import sys; import auto_merge_llm.errors; from auto_merge_llm.methods import METHODS;"
        "sys.exit('torch' in sys.modules or 'numpy' in sys.modules or not METHODS)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("name", METHODS)
def test_every_listed_method_can_be_made(name):
    assert isinstance(create(name), Method)
    assert METHODS[name] and "\n" not in METHODS[name]


def test_unknown_method_and_hyperparameter():
    with pytest.raises(InputError, match="no merging method 'median'; choose one of linear"):
        create("median")
    with pytest.raises(InputError, match="linear has no hyper-parameter density; it takes none"):
        create("linear", density=0.2)


@dataclass(frozen=True)
class TowardsBase(Method):
    """Whole tensors and a base: halfway from the base to the column-centred mean."""

    needs_base = True
    min_sources = 2
    max_sources = 3

    def merge(self, piece):
        mean = sum(source * weight for source, weight in zip(piece.sources, piece.weights))
        assert mean.shape == piece.base.shape
        return (piece.base + mean - mean.mean(0)) / 2


def test_whole_tensors_and_base_reach_a_method(make_checkpoint, output, monkeypatch):
    monkeypatch.setattr(executor, "CHUNK_ELEMENTS", 5)
    permuted = tuple(reversed(LABELS))
    base = make_checkpoint("0base", noise=0, labels=permuted)
    folders = [make_checkpoint("a"), make_checkpoint("b")]
    merge_checkpoints(TowardsBase(), folders, [0.5, 0.5], output, base=base)
    start, *states = [read_tensors(folder) for folder in (base, *folders)]
    rows = [permuted.index(label) for label in LABELS]
    merged = read_tensors(output)
    for name in merged:
        mean = (states[0][name] + states[1][name]) / 2
        origin = start[name][rows] if name.startswith("classifier.out_proj") else start[name]
        torch.testing.assert_close(merged[name], (origin + mean - mean.mean(0)) / 2)
    aligned = {name: value[rows] if name.startswith("classifier.out_proj") else value for name, value in start.items()}
    in_memory = merge_state_dicts(TowardsBase(), dict(zip("ab", states)), {"a": 0.5, "b": 0.5}, base=aligned)
    assert all(torch.equal(in_memory[name], merged[name]) for name in merged)


@dataclass(frozen=True)
class Ranking(Method):
    """Adds to every element its offset, the length of its source's name and the model's number of elements."""

    granularity = "element"

    def statistics(self, scan):
        counted = scan(lambda piece: torch.tensor([piece.sources[0].numel(), 1]))
        return int(counted[0]), int(scan(lambda piece: torch.tensor(piece.start == 0)))

    def merge(self, piece):
        elements, tensors = piece.statistics
        piece.counts["elements"] += piece.sources[0].numel()
        piece.counts["never"] += 0
        offsets = torch.arange(piece.start, piece.start + piece.sources[0].numel())
        return piece.sources[0] * 0 + offsets + len(piece.identities[0]) + 100 * tensors + 1000 * elements


@pytest.mark.parametrize("chunk", [3, 1000])
def test_statistics_offsets_names_and_counts(make_checkpoint, output, monkeypatch, chunk):
    monkeypatch.setattr(executor, "CHUNK_ELEMENTS", chunk)
    calls = []
    report = merge_checkpoints(
        Ranking(), [make_checkpoint("abcd")], [1.0], output, progress=lambda *counts: calls.append(counts)
    )
    merged = read_tensors(output)
    elements = sum(value.numel() for value in merged.values())
    assert report.counts == {"elements": elements, "never": 0}
    assert calls[-1] == (elements, elements) and calls == sorted(calls)
    for value in merged.values():
        expected = torch.arange(value.numel()) + 4.0 + 100 * len(merged) + 1000 * elements
        assert torch.equal(value.flatten(), expected)


def test_needs_of_a_method_are_checked(make_checkpoint, output):
    a, b = make_checkpoint("a"), make_checkpoint("b")
    for arguments, options, message in [
        ((TowardsBase(), [a, b], [0.5, 0.5]), {}, "TowardsBase needs the base model"),
        ((TowardsBase(), [a], [1.0]), {"base": b}, r"takes 2 to 3 source\(s\), not 1"),
        ((create("linear"), [a], [1.0]), {"base": b}, "Linear takes no base model"),
        ((create("passthrough"), [a, b], [0.5, 0.5]), {}, r"Passthrough takes exactly 1 source\(s\), not 2"),
    ]:
        with pytest.raises(InputError, match=message):
            merge_checkpoints(*arguments, output, **options)


def test_base_with_another_start_is_refused(make_checkpoint, output):
    a, b, base = make_checkpoint("a"), make_checkpoint("b"), make_checkpoint("base", initial_head="b" * 64)
    with pytest.raises(InputError, match="different initial heads"):
        merge_checkpoints(TowardsBase(), [a, b], [0.5, 0.5], output, base=base)


@dataclass(frozen=True)
class Exploding(Method):
    granularity = "element"

    def merge(self, piece):
        return piece.sources[0] / 0


def test_a_method_that_makes_infinities_is_named():
    with pytest.raises(InputError, match="Exploding made NaN or infinite values in tensor x"):
        merge_state_dicts(Exploding(), {"a": {"x": torch.ones(3)}}, {"a": 1.0})


def test_large_finite_values_are_not_taken_for_infinite():
    merged = merge_state_dicts(create("linear"), {"a": {"x": torch.full((64,), 3e38)}}, {"a": 1.0})
    assert merged["x"].tolist() == [torch.tensor(3e38).item()] * 64


def test_overflow_of_the_output_dtype_is_an_error():
    with pytest.raises(InputError, match="tensor x has values too large for torch.float16; choose bfloat16"):
        merge_state_dicts(create("linear"), {"a": {"x": torch.tensor([1e5])}}, {"a": 1.0}, dtype="float16")


def test_weights_and_state_dicts_must_name_the_same_sources():
    with pytest.raises(InputError, match=r"different sources \(b\)"):
        merge_state_dicts(create("linear"), {"a": {"x": torch.ones(3)}}, {"a": 0.5, "b": 0.5})


def test_empty_and_scalar_tensors():
    state = {"empty": torch.empty(0, 3), "scalar": torch.tensor(2.0), "noncontiguous": torch.arange(6.0).view(2, 3).t()}
    merged = merge_state_dicts(create("linear"), {"a": state, "b": state}, {"a": 0.5, "b": 0.5})
    assert all(torch.equal(merged[name], state[name]) for name in state)
