"""A small world that works: a task of three labels in four languages, its data, models, matrix and results."""

import json
import random
import shutil
from collections.abc import Iterable
from pathlib import Path

TASK = """\
name: tiny
data: data
text: utt
label: topic
labels: [alarm, music, weather]
languages: [af-ZA, nl-NL, de-DE, en-US]
max_tokens: 12
"""
LABELS = ("alarm", "music", "weather")
TARGET, SOURCES = "af-ZA", ("nl-NL", "de-DE", "en-US")
LANGUAGES = (TARGET, *SOURCES)
ITEMS = {"train": 12, "dev": 6, "test": 18}
WORDS = [f"w{number}" for number in range(40)]
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
MATRIX = "matrix.csv"
MAX_TOKENS = 12


def model(language: str) -> str:
    return f"models/tiny_tiny_k_{language}"


def make_base(folder: Path) -> None:
    """A random XLM-R encoder, of weights so large that answers differ from item to item."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaModel

    vocabulary = {word: index for index, word in enumerate([*SPECIAL, *WORDS])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    named = dict(zip(("bos_token", "pad_token", "eos_token", "unk_token"), SPECIAL))
    PreTrainedTokenizerFast(tokenizer_object=backend, cls_token="<s>", sep_token="</s>", **named).save_pretrained(
        folder
    )
    torch.manual_seed(0)
    config = XLMRobertaConfig(
        vocab_size=len(vocabulary),
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=12,
        max_position_embeddings=20,
        type_vocab_size=1,
        initializer_range=0.4,
        pad_token_id=1,
    )
    XLMRobertaModel(config).save_pretrained(folder)


def make_data(folder: Path) -> None:
    folder.mkdir()
    for language in LANGUAGES:
        chance = random.Random(language)
        rows = [
            {
                "id": f"{split}{number}",
                "locale": language,
                "partition": split,
                "utt": " ".join(chance.choices(WORDS, k=chance.randint(2, 8))),
                "topic": chance.choice(LABELS),
            }
            for split, items in ITEMS.items()
            for number in range(items)
        ]
        lines = [json.dumps(row) for row in rows]
        (folder / f"{language}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def make_sources(start: Path, folders: Iterable[Path]) -> None:
    """Models of one start that answer differently, and no label always."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(start)
    chance = random.Random(0)
    texts = [" ".join(chance.choices(WORDS, k=5)) for _ in range(100)]
    for seed, folder in enumerate(folders):
        model = AutoModelForSequenceClassification.from_pretrained(start)
        torch.manual_seed(seed)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
            usual = model(**tokenizer(texts, return_tensors="pt")).logits.mean(0)
            model.classifier.out_proj.bias -= usual
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def make_world(root: Path) -> Path:
    """The whole world in `root`; every path in it is relative."""
    from merginguriel.utils.data.task_file import read_task_file
    from merginguriel.utils.models import initial
    from merginguriel.utils.models.store import ModelStore

    root.mkdir()
    (root / "task.yaml").write_text(TASK, encoding="utf-8")
    make_data(root / "data")
    make_base(root / "tiny")
    store = ModelStore(str(root / "tiny"), read_task_file(root / "task.yaml"), root / "models")
    make_sources(initial.initial_checkpoint(store, 42), map(store.folder, LANGUAGES))
    lines = [",".join(["", *LANGUAGES])]
    for row, language in enumerate(LANGUAGES):
        lines.append(",".join([language, *(f"{1 - 0.15 * abs(row - column):.2f}" for column in range(4))]))
    (root / MATRIX).write_text("\n".join(lines) + "\n", encoding="utf-8")
    # What somebody else keeps here.
    (root / "merged" / "thesis").mkdir(parents=True)
    (root / "merged" / "thesis" / "results.json").write_text("[]")
    (root / "merged" / "thesis" / "chapter.txt").write_text("years of work")
    (root / "notes.txt").write_text("dear diary")
    return root


STORE = ["--task", "task.yaml", "--base-model", "tiny", "--models-root", "models"]


def with_results(world: Path, root: Path) -> Path:
    """A copy of the world in which a sweep and an N×N have been made."""
    import verdicts

    shutil.copytree(world, root)
    sweep = ["--locales", TARGET, "--modes", "average", "similarity", "--num-languages", 3, "--workers", 1]
    verdicts.judge(root, "run_large_scale_experiment", [*STORE, *sweep, "--similarity-matrix", MATRIX])
    verdicts.judge(root, "run_nxn_evaluation", [*STORE, "--targets", TARGET, "nl-NL", "--results-dir", "nxn"])
    return root
