"""RegMean++ against NumPy: a toy net by hand, and every kind of encoder by whole passes of hybrid models."""

import math
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from auto_merge_llm.errors import InputError
from auto_merge_llm.input_grams import input_grams
from auto_merge_llm.merge import merge_state_dicts
from auto_merge_llm.methods import create
from auto_merge_llm.tensors import loaded_source
from encoder_kinds import KINDS, make_base
from torch import nn
from toys import WEIGHTS, padded, read_tensors, same_bits, weighted
from transformers import AutoModelForSequenceClassification, XLMRobertaConfig, XLMRobertaForSequenceClassification

from merginguriel.utils.models import loading
from merginguriel.utils.models.base_model import settle

LENGTHS = {"a": (3, 7, 5), "b": (4, 6), "c": (2, 9, 3, 5)}


class Layer(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.dense = nn.Linear(width, width)

    def forward(self, hidden_states):
        return hidden_states + self.dense(hidden_states).tanh()


class Toy(nn.Module):
    """Embeddings, layers, and a linear head on the first token; without a head its width is that of the logits."""

    def __init__(self, layers=2, width=6, head=True):
        super().__init__()
        self.embeddings = nn.Embedding(30, width)
        self.layers = nn.ModuleList(Layer(width) for _ in range(layers))
        self.classifier = nn.Linear(width, 3) if head else nn.Identity()

    def forward(self, input_ids, attention_mask):
        hidden = self.embeddings(input_ids)
        for layer in self.layers:
            hidden = layer(hidden)
        return SimpleNamespace(logits=self.classifier(hidden[:, 0]))


def toy(seed=0, **options):
    torch.manual_seed(seed)
    return Toy(**options)


def texts(lengths, seed=0, lowest=4, highest=9):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(lowest, highest, (length,), generator=generator) for length in lengths]


def around(model, names="abc", noise=0.5):
    """State dicts near the model's."""
    generator = torch.Generator().manual_seed(1)
    return {
        name: {
            key: value + noise * torch.randn(value.shape, generator=generator, dtype=value.dtype)
            for key, value in model.state_dict().items()
            if value.is_floating_point()
        }
        for name in names
    }


def solve(model, states, batches, weights=WEIGHTS, method=None, **options):
    sources = [loaded_source(name, state) for name, state in states.items()]
    shares = [weights[name] for name in states]
    return (method or create("regmean_plus")).solve(
        model, sources, shares, [batches[name] for name in states], **options
    )


def solution(grams, matrices, alpha=0.9, ridge=1e-6):
    """(Σ WᵢGᵢ)(Σ Gᵢ)⁻¹, the Grams weighted already."""
    left = right = 0
    for gram, matrix in zip(grams, matrices):
        regular = alpha * gram + np.diag((1 - alpha) * gram.diagonal() + ridge * gram.diagonal().mean())
        left, right = left + regular, right + regular @ matrix.T
    return np.linalg.solve(left, right).T


def numpy_toy(states, rows, own_texts):
    """The merged state of a Toy of two layers; `rows` by source are texts without padding."""
    wide = {name: {key: value.double().numpy() for key, value in state.items()} for name, state in states.items()}
    merged = {key: sum(WEIGHTS[name] * state[key] for name, state in wide.items()) for key in wide["a"]}
    tokens = {name: [merged["embeddings.weight"][row.numpy()] for row in parts] for name, parts in rows.items()}
    for layer in ("layers.0.dense", "layers.1.dense"):
        grams = []
        for name, parts in tokens.items():
            inputs = np.concatenate(parts)
            grams.append(WEIGHTS[name] * inputs.T @ inputs / (len(inputs) if own_texts else 1))
        merged[f"{layer}.weight"] = solution(grams, [state[f"{layer}.weight"] for state in wide.values()])
        matrix, bias = merged[f"{layer}.weight"], merged[f"{layer}.bias"]
        tokens = {name: [part + np.tanh(part @ matrix.T + bias) for part in parts] for name, parts in tokens.items()}
    grams = []
    for name, parts in tokens.items():
        inputs = np.stack([part[0] for part in parts])
        grams.append(WEIGHTS[name] * inputs.T @ inputs / (len(inputs) if own_texts else 1))
    merged["classifier.weight"] = solution(grams, [state["classifier.weight"] for state in wide.values()])
    return merged


@pytest.mark.parametrize("own_texts", [False, True])
def test_a_toy_of_two_layers_equals_numpy(own_texts):
    model = toy()
    states = around(model)
    rows = {name: texts(LENGTHS[name if own_texts else "c"], seed=ord(name) if own_texts else 0) for name in "abc"}
    batches = {name: [padded(parts[:1], 2), padded(parts[1:])] for name, parts in rows.items()}
    if not own_texts:
        batches = dict.fromkeys("abc", batches["a"])
    method = solve(model.train(), states, batches, own_texts=own_texts)
    expected = numpy_toy(states, rows, own_texts)
    assert set(method.solved) == {"layers.0.dense.weight", "layers.1.dense.weight", "classifier.weight"}
    merged = merge_state_dicts(method, states, WEIGHTS)
    for name, values in merged.items():
        np.testing.assert_allclose(values, expected[name], rtol=2e-4, atol=2e-5, err_msg=name)
        # The model is left as the merge, and in the mode it was in.
        torch.testing.assert_close(model.state_dict()[name], values, rtol=1e-6, atol=1e-6)
    assert model.training


def test_each_layer_of_the_toy_is_another_than_regmeans():
    states, batches = around(toy()), [padded(texts(LENGTHS["c"]))]
    method = solve(toy(), states, dict.fromkeys("abc", batches))
    grams = {}
    for name, state in states.items():
        model = toy()
        model.load_state_dict(state)
        grams[name] = input_grams(model, batches)[0]
    plain = merge_state_dicts(create("regmean"), states, WEIGHTS, measurements=grams)
    assert all((plain[name] - values).abs().max() > 1e-3 for name, values in method.solved.items())


@pytest.mark.parametrize("own_texts", [False, True])
def test_one_linear_layer_on_one_embedding_is_regmeans(own_texts):
    options = dict(layers=1, head=False)
    states = around(toy(**options))
    for state in states.values():
        state["embeddings.weight"] = states["a"]["embeddings.weight"]
    batches = {name: [padded(texts(LENGTHS["c"], seed=ord(name) if own_texts else 0))] for name in "abc"}
    grams = {}
    for name, state in states.items():
        model = toy(**options)
        model.load_state_dict(state)
        grams[name] = input_grams(model, batches[name], mean=own_texts)[0]
    expected = merge_state_dicts(create("regmean", alpha=0.7), states, WEIGHTS, measurements=grams)
    method = solve(toy(**options), states, batches, method=create("regmean_plus", alpha=0.7), own_texts=own_texts)
    merged = merge_state_dicts(method, states, WEIGHTS)
    assert merged.keys() == expected.keys() and set(method.solved) == {"layers.0.dense.weight"}
    for name, values in merged.items():
        torch.testing.assert_close(values, expected[name], rtol=1e-5, atol=1e-6)


# Encoders


def encoder(name, folder):
    base = make_base(KINDS[name], folder)
    torch.manual_seed(1)
    model = AutoModelForSequenceClassification.from_pretrained(
        base, num_labels=5, problem_type="single_label_classification"
    )
    settle(model, loading.load_tokenizer(base), name)
    return model.double().eval()


def rows_into(model, layers, parts):
    """What goes into the linear `layers` (by weight) over single texts without padding: (k, d) arrays, in order."""
    seen, removals = {}, []
    for place, module in model.named_modules():
        if f"{place}.weight" in layers:

            def add(module, inputs, key=f"{place}.weight"):
                seen.setdefault(key, []).append(inputs[0].reshape(-1, inputs[0].shape[-1]).numpy())

            removals.append(module.register_forward_pre_hook(add))
    with torch.no_grad():
        for row in parts:
            model(input_ids=row[None], attention_mask=torch.ones(1, len(row), dtype=torch.long))
    for removal in removals:
        removal.remove()
    found = {key: np.concatenate(values) for key, values in seen.items()}
    return {key: values for key, values in found.items() if len(values)}


def by_hybrids(model, states, rows):
    """The merged state: of each block's inputs in whole passes of models merged below it and the source's own in it."""
    linear = [f"{place}.weight" for place, part in model.named_modules() if isinstance(part, nn.Linear)]
    numbered = {key: re.match(r"(.*?\.(?:layers?)\.)(\d+)\.", key) for key in states["a"]}
    block_of = {key: int(found[2]) if found else None for key, found in numbered.items()}
    last = max(block for block in block_of.values() if block is not None)
    merged = {key: weighted(states, key) for key in states["a"]}
    model.load_state_dict(merged, strict=False)
    reached = list(rows_into(model, linear, rows["a"][:1]))
    first = next(place for place, key in enumerate(reached) if block_of[key] is not None)
    blocks = [([key for key in reached[:first]], [])]
    for number in range(last + 1):
        own = [key for key, block in block_of.items() if block == number]
        blocks.append(([key for key in own if key in linear], own))
    after = [key for key in linear if block_of[key] is None and key not in reached[:first]]
    blocks.append(
        (after, [key for key in merged if key.rpartition(".")[0] in {one.rpartition(".")[0] for one in after}])
    )
    solved = set()
    for layers, own in blocks:
        grams = {}
        for name, state in states.items():
            model.load_state_dict({**merged, **{key: state[key] for key in own}}, strict=False)
            for key, inputs in rows_into(model, layers, rows[name]).items():
                grams.setdefault(key, []).append(WEIGHTS[name] * inputs.T @ inputs)
        for key, parts in grams.items():
            merged[key] = torch.tensor(solution(parts, [state[key].numpy() for state in states.values()], ridge=1e-3))
            solved.add(key)
    return merged, solved


@pytest.mark.parametrize("name", [name for name in KINDS if name != "albert"])
def test_every_kind_of_encoder_equals_whole_passes_of_hybrids(name, tmp_path):
    model = encoder(name, tmp_path)
    states = around(model, noise=0.05)
    rows = dict.fromkeys("abc", texts((3, 7, 5, 6)))
    ids = nn.utils.rnn.pad_sequence(rows["a"], batch_first=True, padding_value=model.config.pad_token_id)
    mask = nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows["a"]], batch_first=True)
    batch = {"input_ids": ids, "attention_mask": mask}
    batches = [{key: values[:3] for key, values in batch.items()}, {key: values[3:] for key, values in batch.items()}]
    method = create("regmean_plus", ridge=1e-3)
    method = solve(model, states, dict.fromkeys("abc", batches), method=method)
    expected, solved = by_hybrids(model, states, rows)
    assert set(method.solved) == solved
    for key, values in method.solved.items():
        np.testing.assert_allclose(values, expected[key], rtol=1e-3, atol=1e-3 * expected[key].abs().max(), err_msg=key)


@pytest.fixture
def model(tiny_model):
    state, described = tiny_model
    model = XLMRobertaForSequenceClassification(XLMRobertaConfig(**described))
    model.load_state_dict(state)
    return model


BATCHES = [padded(texts((5, 9, 12, 4), highest=50))]


def test_weights_that_autocast_has_cast_are_those_of_the_layer_that_runs(model):
    states = around(model, noise=0.1)
    exact = solve(model, states, dict.fromkeys("abc", BATCHES), method=create("regmean_plus", ridge=0.1)).solved
    cast = solve(
        model, states, dict.fromkeys("abc", BATCHES), method=create("regmean_plus", ridge=0.1), autocast=torch.bfloat16
    ).solved
    for name, values in exact.items():
        difference = (values - cast[name]).norm() / values.norm()
        assert difference < 0.02, (name, difference)


def test_order_threads_pieces_and_shards_change_no_bit(model, make_checkpoint, merges_in_every_way):
    folders = {name: make_checkpoint(name, noise=0.05) for name in "abc"}
    states = {name: read_tensors(folder) for name, folder in folders.items()}
    method = solve(model, states, dict.fromkeys("abc", BATCHES))
    in_memory = merge_state_dicts(method, dict(reversed(states.items())), WEIGHTS)
    linear = {f"{name}.weight" for name, part in model.named_modules() if isinstance(part, nn.Linear)}
    assert method.solved.keys() == linear
    for name, values in in_memory.items():
        torch.testing.assert_close(values, method.solved[name] if name in linear else weighted(states, name))
    for merged, _ in merges_in_every_way(method, folders):
        assert same_bits(merged, in_memory)


def test_trivial_merges_are_trivial():
    states = around(toy())
    batches = dict.fromkeys("abc", [padded(texts(LENGTHS["c"]))])
    alone = solve(toy(), {"a": states["a"]}, batches, {"a": 1.0})
    one_hot = solve(toy(), states, batches, {"a": 0.0, "b": 1.0, "c": 0.0})
    assert alone.solved == one_hot.solved == {}
    assert same_bits(merge_state_dicts(alone, {"a": states["a"]}, {"a": 1.0}), states["a"])
    assert same_bits(merge_state_dicts(one_hot, states, {"a": 0.0, "b": 1.0, "c": 0.0}), states["b"])
    same = dict.fromkeys("abc", states["a"])
    for name, values in merge_state_dicts(solve(toy(), same, batches), same, WEIGHTS).items():
        torch.testing.assert_close(values, states["a"][name], rtol=1e-5, atol=1e-5)


# What is refused


class Between(Toy):
    def forward(self, input_ids, attention_mask):
        hidden = self.embeddings(input_ids)
        for layer in self.layers:
            hidden = layer(hidden) * 2
        return SimpleNamespace(logits=self.classifier(hidden[:, 0]))


class Skipping(Toy):
    def forward(self, input_ids, attention_mask):
        return SimpleNamespace(logits=self.classifier(self.layers[0](self.embeddings(input_ids))[:, 0]))


class Unlisted(Toy):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(Layer(6), Layer(6))


@pytest.mark.parametrize(
    "kind, why",
    [
        (Between, "something stands between its layers 1 and 2"),
        (Skipping, "some of its layers do not run"),
        (Unlisted, "it keeps its layers in no list"),
    ],
)
def test_other_architectures_are_refused_in_one_line(kind, why):
    model = kind()
    batches = dict.fromkeys("abc", [padded(texts(LENGTHS["c"]))])
    with pytest.raises(InputError, match=f"{kind.__name__} cannot be merged layer by layer: {why}; use regmean for it"):
        solve(model, around(model), batches)
    # Whatever happened, the layers are what they were.
    assert not any("forward" in vars(layer) for layer in model.layers)


def test_shared_layers_are_refused(tmp_path):
    model = encoder("albert", tmp_path)
    batches = dict.fromkeys("ab", [padded(texts((3, 5)))])
    with pytest.raises(InputError, match="its layers do not run once each, in order") as error:
        solve(model, around(model, "ab"), batches)
    assert "\n" not in str(error.value)


def test_what_is_wrong_is_named():
    states = around(toy())
    batches = dict.fromkeys("abc", [padded(texts(LENGTHS["c"]))])
    with pytest.raises(InputError, match="what `solve` has found on texts"):
        merge_state_dicts(create("regmean_plus"), states, WEIGHTS)
    with pytest.raises(InputError, match="needs examples and got none"):
        solve(toy(), states, {**batches, "b": []})
    with pytest.raises(InputError, match=r"c has no tensor classifier.bias"):
        solve(
            toy(),
            {**states, "c": {key: value for key, value in states["c"].items() if key != "classifier.bias"}},
            batches,
        )
    states["b"]["layers.1.dense.weight"][2, 3] = math.nan
    with pytest.raises(InputError, match=r"tensor layers.1.dense.weight cannot be merged: a source"):
        solve(toy(), states, batches)
    for options, message in [({"alpha": 1.1}, "alpha is 1.1"), ({"ridge": -1}, "ridge is -1")]:
        with pytest.raises(InputError, match=message):
            create("regmean_plus", **options)
