"""Models from elsewhere: adapters against W + (alpha/r) B A by hand, the Hub's cache, wrapped names, foreign code."""

import json
import math
import shutil

import pytest
import torch
from auto_merge_llm.checkpoint import Checkpoint
from auto_merge_llm.errors import InputError
from auto_merge_llm.merge import merge_checkpoints
from auto_merge_llm.methods import create
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForSequenceClassification, BertConfig, BertModel, PreTrainedTokenizerFast

from merginguriel.utils.models import loading
from merginguriel.utils.models.foreign import as_model_folder, base_of
from merginguriel.utils.storage import atomic

LABELS = ("good", "bad", "so-so")
IDS = torch.tensor([[0, 5, 9, 7, 2], [0, 8, 4, 2, 1]])
RANK, ALPHA = 3, 7


@pytest.fixture(scope="module")
def bert_base(tmp_path_factory, tiny_base):
    """A BERT encoder in float16 with the tokenizer of `tiny_base`."""
    folder = tmp_path_factory.mktemp("bert") / "bert"
    shutil.copytree(tiny_base, folder)
    tokens = json.loads((tiny_base / "config.json").read_text())["vocab_size"]
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=tokens, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24
    )
    BertModel(config).half().save_pretrained(folder)
    return folder


@pytest.fixture
def bases(tiny_base, bert_base):
    return {"xlmr": tiny_base, "bert": bert_base}


HEADS = {"xlmr": {"classifier.dense": (16, 16), "classifier.out_proj": (3, 16)}, "bert": {"classifier": (3, 16)}}
PREFIXES = {"xlmr": "roberta", "bert": "bert"}
TARGETS = {"xlmr": (1, "attention.self.query", "output.dense"), "bert": (2, "attention.self.value")}


@pytest.fixture
def make_adapter(bases, tmp_path):
    """make(kind, ...) -> a folder as peft would save it, written without peft; other keywords change its settings."""

    def make(kind="xlmr", name="adapter", *, labels=LABELS, head=True, edit=None, **settings):
        generator = torch.Generator().manual_seed(7)
        folder = tmp_path / name
        folder.mkdir()
        layers, *targets = TARGETS[kind]
        base = {
            f"{PREFIXES[kind]}.{name}": value.shape
            for name, value in load_file(bases[kind] / "model.safetensors").items()
        }
        tensors = {}
        for layer in range(layers):
            for target in targets:
                # output.dense is also part of attention.output.dense, as peft reads it.
                for place in [n for n in base if f"layer.{layer}." in n and n.endswith(f"{target}.weight")]:
                    rows, columns = base[place]
                    place = place.removesuffix(".weight")
                    tensors[f"{place}.lora_A.weight"] = torch.randn(RANK, columns, generator=generator)
                    tensors[f"{place}.lora_B.weight"] = torch.randn(rows, RANK, generator=generator)
        for layer, shape in HEADS[kind].items() if head else ():
            tensors[f"{layer}.weight"] = torch.randn(shape, generator=generator)
            tensors[f"{layer}.bias"] = torch.randn(shape[0], generator=generator)
        if edit:
            edit(tensors)
        save_file(
            {f"base_model.model.{key}": value for key, value in tensors.items()}, folder / "adapter_model.safetensors"
        )
        config = {
            "peft_type": "LORA",
            "task_type": "SEQ_CLS",
            "base_model_name_or_path": str(bases[kind]),
            "r": RANK,
            "lora_alpha": ALPHA,
            "target_modules": list(targets),
            "modules_to_save": ["classifier"],
            **settings,
        }
        (folder / "adapter_config.json").write_text(json.dumps(config))
        if labels:
            (folder / "config.json").write_text(json.dumps({"id2label": dict(enumerate(labels))}))
        return folder

    return make


def by_hand(base, adapter, prefix, scale):
    """The merged weights, in float64, by numbers alone."""
    state = {f"{prefix}.{name}": value.double() for name, value in load_file(base / "model.safetensors").items()}
    parts = {
        name.removeprefix("base_model.model."): value.double()
        for name, value in load_file(adapter / "adapter_model.safetensors").items()
    }
    for name, value in parts.items():
        if name.endswith("lora_A.weight"):
            place = name.removesuffix("lora_A.weight")
            state[f"{place}weight"] = state[f"{place}weight"] + scale * parts[f"{place}lora_B.weight"] @ value
        elif "lora_" not in name:
            state[name] = value
    return state


@pytest.mark.parametrize("kind", ["xlmr", "bert"])
@pytest.mark.parametrize("rslora", [False, True])
def test_an_adapter_becomes_its_base_with_the_adapter_in_it(bases, make_adapter, tmp_path, kind, rslora):
    from peft import PeftModel

    adapter = make_adapter(kind, use_rslora=rslora)
    folder = as_model_folder(adapter, tmp_path / "cache")
    expected = by_hand(bases[kind], adapter, PREFIXES[kind], ALPHA / (math.sqrt(RANK) if rslora else RANK))
    dtype = {"xlmr": torch.float32, "bert": torch.float16}[kind]
    got = load_file(folder / "model.safetensors")
    moved = 0
    for name, value in got.items():
        assert value.dtype == dtype
        assert torch.allclose(
            value.double(), expected[name].to(dtype).double(), rtol=1e-3 if kind == "bert" else 1e-6, atol=1e-6
        )
        moved += name.removeprefix(f"{PREFIXES[kind]}.") not in load_file(bases[kind] / "model.safetensors")
    assert moved == 2 * len(HEADS[kind]) and expected.keys() - got.keys() <= {
        f"{PREFIXES[kind]}.embeddings.position_ids",
        *(f"roberta.pooler.dense.{part}" for part in ("weight", "bias")),
    }
    assert Checkpoint(folder).labels == LABELS

    model, tokenizer = loading.load_classifier(folder, "cpu", torch.float32)
    assert tokenizer("jazz")["input_ids"] == loading.load_tokenizer(bases[kind])("jazz")["input_ids"]
    start = AutoModelForSequenceClassification.from_pretrained(bases[kind], num_labels=3, dtype=torch.float32)
    by_peft = PeftModel.from_pretrained(start, adapter).eval()
    with torch.inference_mode():
        logits, theirs = (one(input_ids=IDS, attention_mask=(IDS != 1).long()).logits for one in (model, by_peft))
        plain = AutoModel.from_pretrained(bases[kind], dtype=torch.float32)
    assert (
        torch.allclose(logits, theirs, atol=1e-5 if kind == "xlmr" else 0.05)
        and len(set(logits.flatten().tolist())) > 3
    )
    assert plain.dtype == torch.float32


@pytest.mark.parametrize(
    "settings",
    [
        dict(target_modules=["query", "value"]),
        dict(target_modules="all-linear", use_dora=True, bias="all"),
        dict(target_modules=["query"], rank_pattern={"layer.0.attention.self.query": 2}, lora_bias=True),
        dict(target_modules=["word_embeddings", "key"]),
    ],
)
def test_what_peft_saves_answers_as_in_peft(tiny_base, tmp_path, settings):
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(2)
    start = AutoModelForSequenceClassification.from_pretrained(tiny_base, num_labels=3)
    wrapped = get_peft_model(start, LoraConfig(task_type="SEQ_CLS", r=4, **settings)).eval()
    with torch.inference_mode():
        for parameter in wrapped.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.3)
        wrapped.save_pretrained(tmp_path / "adapter")
        expected = wrapped(input_ids=IDS).logits
        model = loading.load_model(
            as_model_folder(tmp_path / "adapter", tmp_path / "cache", labels=LABELS), "cpu", torch.float32
        )
        assert torch.allclose(model(input_ids=IDS).logits, expected, atol=1e-5) and expected.std() > 0.01


def test_an_adapter_is_merged_once_for_the_same_files(make_adapter, tmp_path, monkeypatch):
    adapter, cache = make_adapter(), tmp_path / "cache"
    random = torch.get_rng_state()
    first = as_model_folder(adapter, cache)
    assert torch.equal(torch.get_rng_state(), random)
    assert [entry.name for entry in cache.iterdir()] == [first.name] and first.name.startswith("adapter-")
    with monkeypatch.context() as patched:
        patched.setattr(loading, "read_model", None)
        assert as_model_folder(adapter, cache) == first
    written = (first / "model.safetensors").read_bytes()
    shutil.rmtree(cache)
    assert (as_model_folder(adapter, cache) / "model.safetensors").read_bytes() == written
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps({**config, "lora_alpha": 1}))
    other = as_model_folder(adapter, cache)
    assert other != first and (other / "model.safetensors").read_bytes() != written


def test_a_whole_model_is_itself(models_root, tmp_path):
    source = models_root / "tiny_massive_k_nl-NL"
    assert as_model_folder(source, tmp_path / "cache") == as_model_folder(str(source), tmp_path / "cache") == source
    assert not (tmp_path / "cache").exists()


def test_labels_of_an_adapter(bases, make_adapter, tmp_path, caplog):
    cache = tmp_path / "cache"
    unnamed = make_adapter(labels=None, name="unnamed")
    for task in (None, LABELS[:2], (*LABELS, "more")):
        with pytest.raises(InputError, match="what the 3 outputs of its head are; add a config.json with id2label"):
            as_model_folder(unnamed, cache, labels=task)
    folder = as_model_folder(unnamed, cache, labels=LABELS[::-1])
    assert Checkpoint(folder).labels == LABELS[::-1]
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "taken for the task's labels in the task's order, so-so first" in warning
    # What the adapter's own file says goes before the task's order, and before the base's.
    assert Checkpoint(as_model_folder(make_adapter(), cache, labels=LABELS[::-1])).labels == LABELS
    whole = tmp_path / "whole"
    model = AutoModelForSequenceClassification.from_pretrained(bases["xlmr"], num_labels=3)
    model.config.id2label, model.config.label2id = {0: "x", 1: "y", 2: "z"}, {"x": 0, "y": 1, "z": 2}
    model.config.initial_head = "a" * 64
    model.save_pretrained(whole)
    named = make_adapter(labels=None, name="named", base_model_name_or_path="../whole")
    with pytest.raises(InputError, match="nor its base .*whole has tokenizer files"):
        as_model_folder(named, cache)
    shutil.copyfile(bases["xlmr"] / "tokenizer.json", named / "tokenizer.json")
    folder = as_model_folder(named, cache, labels=LABELS)
    assert Checkpoint(folder).labels == ("x", "y", "z") and Checkpoint(folder).initial_head == "a" * 64
    headless = make_adapter(head=False, task_type=None, modules_to_save=None, name="headless", labels=None)
    config = json.loads((headless / "adapter_config.json").read_text())
    (headless / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": str(whole)}))
    shutil.copyfile(bases["xlmr"] / "tokenizer.json", headless / "tokenizer.json")
    folder = as_model_folder(headless, cache, labels=LABELS)
    assert Checkpoint(folder).labels == ("x", "y", "z")
    head = load_file(whole / "model.safetensors")["classifier.out_proj.weight"]
    assert torch.equal(load_file(folder / "model.safetensors")["classifier.out_proj.weight"], head)


def without(part):
    def edit(tensors):
        for name in [name for name in tensors if part in name]:
            del tensors[name]

    return edit


def other_width(tensors):
    for name, value in tensors.items():
        if name.endswith("lora_A.weight"):
            tensors[name] = torch.cat([value, value], dim=1)


REFUSALS = {
    "another width": (
        dict(edit=other_width),
        "does not fit its base .*\\[16, 32\\] in one and \\[16, 16\\] in the other; give the base",
    ),
    "fewer layers": (dict(kind="bert", edit=without("layer.1.")), "the adapter lacks bert.encoder.layer.1"),
    "other architecture": (dict(base="bert"), "does not fit its base .*; give the base that it was trained on"),
    "other kind": (dict(peft_type="LOHA"), "peft_type is LOHA, and only LORA adapters are read"),
    "no kind": (dict(peft_type=None), "peft_type is None"),
    "code": (dict(megatron_config={"a": 1}, megatron_core="os"), "megatron_config cannot be merged"),
    "own base": (dict(init_lora_weights="pissa"), "init_lora_weights is 'pissa', which changes the base too"),
    "no head": (dict(head=False, task_type=None, modules_to_save=None), "has no classification head, and its base"),
    "head lost": (dict(head=False), "lacks the classification head"),
    "half a head": (dict(edit=without("dense.")), "has classifier.dense.(weight|bias)|lacks classifier.dense"),
    "no base": (dict(base_model_name_or_path=""), "names no base"),
    "absent base": (dict(base_model_name_or_path="some/where"), "its base some/where is no folder here .*hf download"),
    "outside base": (dict(base_model_name_or_path="../../x y"), "its base ../../x y is no folder here"),
    "labels": (dict(labels=LABELS[:2]), "id2label names 2 labels and the head has 3 rows"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_adapters_that_are_refused(bases, make_adapter, tmp_path, case):
    options, words = REFUSALS[case]
    if "base" in options:
        options = dict(base_model_name_or_path=str(bases[options["base"]]))
    adapter = make_adapter(**options)
    with pytest.raises(InputError, match=words) as caught:
        as_model_folder(adapter, tmp_path / "cache")
    assert "\n" not in str(caught.value) and ";" in str(caught.value) and not (tmp_path / "cache").exists()
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_pickled_adapter_is_never_opened(make_adapter, tmp_path):
    adapter = make_adapter()
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    with pytest.raises(InputError, match=r"a pickle \(adapter_model.bin\) is never loaded"):
        as_model_folder(adapter, tmp_path / "cache")


def test_the_base_that_is_given_must_be_its_own(bases, make_adapter, tmp_path):
    cache, adapter = tmp_path / "cache", make_adapter()
    moved = shutil.copytree(bases["xlmr"], tmp_path / "elsewhere")
    assert as_model_folder(adapter, cache, base=moved) == as_model_folder(adapter, cache)
    other = load_file(moved / "model.safetensors")
    save_file({name: value + 1 for name, value in other.items()}, moved / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match="is an adapter of .*tiny, not of .*elsewhere"):
        as_model_folder(adapter, cache, base=moved)
    # Its own is not here: the name has to do.
    gone = make_adapter(name="gone", base_model_name_or_path="/scratch/me/tiny")
    assert as_model_folder(gone, cache, base=bases["xlmr"]).is_dir()
    with pytest.raises(InputError, match="is an adapter of /scratch/me/tiny, not of"):
        as_model_folder(gone, cache, base=moved)
    with pytest.raises(InputError, match="the base no/where of the adapter"):
        as_model_folder(gone, cache, base="no/where")


def test_an_adapter_with_a_vocabulary_that_has_grown(bases, make_adapter, tmp_path):
    rows = json.loads((bases["xlmr"] / "config.json").read_text())["vocab_size"] + 2
    name = "roberta.embeddings.word_embeddings.weight"
    embeddings = torch.randn(rows, 16, generator=torch.Generator().manual_seed(3))
    adapter = make_adapter(edit=lambda tensors: tensors.__setitem__(name, embeddings))
    folder = as_model_folder(adapter, tmp_path / "cache")
    assert torch.equal(load_file(folder / "model.safetensors")[name], embeddings)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(bases["xlmr"])
    tokenizer.add_tokens(["<one>", "<two>", "<three>"])
    tokenizer.save_pretrained(adapter)
    with pytest.raises(
        InputError, match=f"adapter/tokenizer.json has {rows + 1} tokens and the embeddings .* {rows} rows"
    ):
        as_model_folder(adapter, tmp_path / "cache")


def test_an_adapter_is_named_where_a_whole_model_is_wanted(make_adapter, models_root, tmp_path):
    adapter = make_adapter()
    both = shutil.copytree(models_root / "tiny_massive_k_nl-NL", tmp_path / "both")
    shutil.copyfile(adapter / "adapter_config.json", both / "adapter_config.json")
    for folder, words in (
        (adapter, "is a PEFT adapter and no whole model"),
        (both, "it cannot be known which is meant"),
    ):
        for read in (Checkpoint, lambda path: loading.load_model(path, "cpu", torch.float32)):
            with pytest.raises(InputError, match=words):
                read(folder)
    assert as_model_folder(both, tmp_path / "cache") == both


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """hub(id, folder) puts the files of `folder` into a Hub cache of the test's own; the Hub is away."""
    from huggingface_hub import constants

    cache = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))

    def put(repo, folder):
        place = cache / f"models--{repo.replace('/', '--')}"
        (place / "refs").mkdir(parents=True)
        (place / "refs/main").write_text("c" * 40)
        return shutil.copytree(folder, place / "snapshots" / ("c" * 40))

    return put


def test_models_of_the_hub_come_from_its_cache(hub, bases, make_adapter, models_root, tmp_path):
    cache = tmp_path / "cache"
    source = models_root / "tiny_massive_k_nl-NL"
    snapshot = hub("some/model", source)
    assert as_model_folder("some/model", cache) == snapshot
    hub("some/base", bases["xlmr"])
    hub("some/lora", make_adapter(base_model_name_or_path="some/base"))
    folder = as_model_folder("some/lora", cache)
    assert folder.parent == cache and folder.name.startswith("lora-")
    assert Checkpoint(folder).labels == LABELS


def test_the_hub_is_asked_for_no_pickle(monkeypatch, tmp_path):
    """What snapshot_download is asked for, by fnmatch as it reads patterns."""
    import fnmatch

    import huggingface_hub

    asked = {}

    def fake(repo, *, allow_patterns, **options):
        asked.update(patterns=allow_patterns, options=options)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fake)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"old")
    with pytest.raises(InputError, match="a/b has no safetensors .*never loaded; convert it where you trust it"):
        as_model_folder("a/b", tmp_path / "cache")
    for name, wanted in {
        "config.json": True,
        "model-00001-of-00002.safetensors": True,
        "spm.model": True,
        "pytorch_model.bin": False,
        "adapter_model.bin": False,
        "modeling_evil.py": False,
        "onnx/model.onnx": False,
        "training_args.bin": False,
    }.items():
        assert any(fnmatch.fnmatch(name, pattern) for pattern in asked["patterns"]) == wanted, name


@pytest.mark.parametrize("source", ["no/where", "no folder", "a/b/c", "../x", "--x", "", "a/b\n"])
def test_what_is_neither_folder_nor_in_the_hub(hub, tmp_path, monkeypatch, source):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(InputError) as caught:
        as_model_folder(source, tmp_path / "cache")
    assert ("nothing whole of that name" if source == "no/where" else "no id of the Hub") in str(caught.value)


def test_half_precision_merges_with_single(models_root, tmp_path):
    one, other = (models_root / f"tiny_massive_k_{locale}" for locale in ("nl-NL", "de-DE"))
    half = shutil.copytree(other, tmp_path / "half")
    state = {name: value.half() for name, value in load_file(other / "model.safetensors").items()}
    save_file(state, half / "model.safetensors", {"format": "pt"})
    config = json.loads((half / "config.json").read_text())
    (half / "config.json").write_text(json.dumps({**config, "dtype": "float16"}))
    output = tmp_path / "merged"
    output.mkdir()
    merge_checkpoints(create("linear"), [one, half], [0.25, 0.75], output)
    merged, left = load_file(output / "model.safetensors"), load_file(one / "model.safetensors")
    for name, value in merged.items():
        assert value.dtype == torch.float32
        assert torch.allclose(value, 0.25 * left[name] + 0.75 * state[name].float(), atol=1e-6)


WRAPPED = ("_orig_mod.", "module.", "_orig_mod.module.", "module._orig_mod.")


@pytest.mark.parametrize("prefix", WRAPPED)
def test_names_that_compile_and_data_parallel_change_are_read(models_root, tmp_path, prefix):
    plain = models_root / "tiny_massive_k_nl-NL"
    wrapped = shutil.copytree(plain, tmp_path / "wrapped")
    state = load_file(plain / "model.safetensors")
    save_file({prefix + name: value for name, value in state.items()}, wrapped / "model.safetensors", {"format": "pt"})
    models = [loading.load_model(folder, "cpu", torch.float32).state_dict() for folder in (plain, wrapped)]
    assert (
        all(torch.equal(models[0][name], value) for name, value in models[1].items())
        and models[0].keys() == models[1].keys()
    )
    output = tmp_path / "merged"
    output.mkdir()
    other = models_root / "tiny_massive_k_de-DE"
    merge_checkpoints(create("linear"), [wrapped, other], [0.5, 0.5], output)
    expected = tmp_path / "expected"
    expected.mkdir()
    merge_checkpoints(create("linear"), [plain, other], [0.5, 0.5], expected)
    got, wanted = (load_file(folder / "model.safetensors") for folder in (output, expected))
    assert got.keys() == wanted.keys() and all(torch.equal(got[name], value) for name, value in wanted.items())


@pytest.mark.parametrize(
    "rename",
    [
        lambda name: f"_orig_mod.{name}" if name.startswith("classifier") else name,
        lambda name: f"module.{name}" if name.startswith("classifier") else f"_orig_mod.{name}",
        lambda name: name.replace("roberta.", "roberta._orig_mod."),
        lambda name: f"_fsdp_wrapped_module.{name}",
        lambda name: f"module._fsdp_wrapped_module.{name}",
    ],
)
def test_names_that_only_parts_have_are_refused(models_root, tmp_path, rename):
    folder = shutil.copytree(models_root / "tiny_massive_k_nl-NL", tmp_path / "parts")
    state = load_file(folder / "model.safetensors")
    save_file({rename(name): value for name, value in state.items()}, folder / "model.safetensors", {"format": "pt"})
    for read in (Checkpoint, lambda path: loading.load_model(path, "cpu", torch.float32)):
        with pytest.raises(InputError, match=r"saved from inside torch.compile or DataParallel \(.*; save it again"):
            read(folder)


@pytest.fixture
def evil(models_root, tmp_path):
    """A source whose config.json and tokenizer name code of their own, which leaves a file where it runs."""
    folder = shutil.copytree(models_root / "tiny_massive_k_nl-NL", tmp_path / "evil")
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: pass\n")

    def write(model_type, tokenizer=False):
        config = json.loads((folder / "config.json").read_text())
        config |= {
            "model_type": model_type,
            "auto_map": {"AutoConfig": "evil.Evil", "AutoModelForSequenceClassification": "evil.Evil"},
        }
        (folder / "config.json").write_text(json.dumps(config))
        if tokenizer:
            settings = {"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}}
            (folder / "tokenizer_config.json").write_text(json.dumps(settings))
        return folder

    yield write
    assert not (tmp_path / "ran").exists()


def test_code_of_a_model_is_never_run(evil, caplog):
    folder = evil("evil", tokenizer=True)
    for read in (lambda path: loading.load_model(path, "cpu", torch.float32), loading.load_tokenizer):
        with pytest.raises(InputError, match=r"needs code of its own \(auto_map\), which is never run; use a model of"):
            read(folder)


def test_transformers_own_architecture_is_taken_in_place_of_code(evil, models_root, caplog):
    model = loading.load_model(evil("xlm-roberta"), "cpu", torch.float32)
    plain = loading.load_model(models_root / "tiny_massive_k_nl-NL", "cpu", torch.float32)
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in model.state_dict().items())
    assert any(
        "wants code of its own (auto_map in config.json), which is never run" in r.getMessage() for r in caplog.records
    )


def test_commands_refuse_foreign_code_without_a_question(evil, refused, tmp_path):
    folder = evil("evil")
    # A question would wait here for an answer, or be an error of its own.
    said = refused(
        "merginguriel/evaluate_specific_model.py", "--model-path", folder, "--locale", "af-ZA", "--dataset-name", "mini"
    )
    assert "never run" in said and said.count(str(folder)) == 1


def test_no_call_leaves_remote_code_open():
    """Every from_pretrained of the package but those that read no model: peft's, of an adapter that was looked at."""
    import ast

    from running import ROOT

    calls = [
        (file.name, call)
        for folder in ("merginguriel", "submodules", "benchmarks")
        for file in (ROOT / folder).rglob("*.py")
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("from_pretrained")
    ]
    for name, call in calls:
        if ast.unparse(call.func) not in ("torch.nn.Embedding.from_pretrained", "PeftModel.from_pretrained"):
            said = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
            assert said.get("trust_remote_code") == "False", f"{name}:{call.lineno}"
    assert len(calls) >= 4


@pytest.mark.parametrize(
    "told, base",
    [
        ([{"training": "models/tiny"}, {"training": "tiny"}], "models/tiny"),
        ([{"name": "tiny_moods_k_nl"}, {"name": "tiny_moods_k_de"}], "tiny"),
        ([{"loaded": "FacebookAI/xlm-roberta-base"}, {"training": "xlm-roberta-base"}], "FacebookAI/xlm-roberta-base"),
        ([{"name": "tiny_moods_k_nl"}, {"name": "large_moods_k_de"}], "bert"),
        ([{"loaded": "/home/somebody/run"}, {"loaded": "/home/somebody/run"}], "bert"),
        ([{}, {"training": "tiny"}], "bert"),
    ],
)
def test_what_models_from_elsewhere_were_fine_tuned_from(tmp_path, told, base):
    folders = []
    for number, one in enumerate(told):
        folders.append(tmp_path / str(number) / one.get("name", "mine"))
        config = {"model_type": "bert", "_name_or_path": one.get("loaded", "")}
        atomic.write_json(folders[-1] / "config.json", config)
        if "training" in one:
            atomic.write_json(folders[-1] / "training.json", {"settings": {"base_model": one["training"]}})
    assert base_of(folders) == base
    assert base_of([tmp_path / "gone"]) is None
