"""Tiny random models of every kind that the commands take, as base folders: see docs/encoders.md.

Each is what its real models are in kind: their class, their tokenizer's special tokens and the order of these, whether
positions are learnt, shared layers, adapters, scaled embeddings. Sizes are the smallest that the classes allow.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from merginguriel.utils.data import mini

LOCALES = ("nl-NL", "de-DE", "af-ZA")  # two sources and a target
POSITIONS = 40
_SPECIAL = {
    "roberta": ("<s>", "<pad>", "</s>", "<unk>"),
    "bert": ("[PAD]", "[UNK]", "[CLS]", "[SEP]"),
    "decoder": ("<pad>", "<eos>", "<bos>", "<unk>"),
}
# How a text is put between special tokens, by the kind of tokenizer.
_TEMPLATES = {"roberta": "<s> $A </s>", "bert": "[CLS] $A [SEP]", "decoder": "$A"}


@dataclass(frozen=True)
class Kind:
    """`config`: the name of its class in transformers. `stands_for`: models that are of this kind."""

    config: str
    stands_for: str
    tokenizer: str = "roberta"
    sizes: dict[str, Any] = field(default_factory=dict)
    remark: str = ""

    def pad_id(self) -> int:
        special = _SPECIAL[self.tokenizer]
        return next(place for place, token in enumerate(special) if "pad" in token.lower())


_PAIRS = {"type_vocab_size": 2}
KINDS = {
    "xlm-roberta": Kind("XLMRobertaConfig", "XLM-R base and large, XLM-V, Glot500", sizes={"type_vocab_size": 1}),
    "xlm-roberta-xl": Kind("XLMRobertaXLConfig", "XLM-R XL and XXL", sizes={"type_vocab_size": 1}),
    "roberta": Kind("RobertaConfig", "RoBERTa", sizes={"type_vocab_size": 1}),
    "xmod": Kind(
        "XmodConfig",
        "X-MOD",
        sizes={
            "type_vocab_size": 1,
            "languages": ["en_XX", "nl_XX"],
            "default_language": "nl_XX",
            "adapter_reduction_factor": 2,
        },
        remark="all sources share the adapter that `default_language` in config.json names",
    ),
    "bert": Kind("BertConfig", "mBERT", "bert", _PAIRS),
    "bert, XLM-R's tokenizer": Kind(
        "BertConfig",
        "Multilingual MiniLM",
        sizes={**_PAIRS, "pad_token_id": 0},
        remark="its configuration gets the padding token of its tokenizer",
    ),
    "distilbert": Kind(
        "DistilBertConfig", "DistilBERT", "bert", {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 48}
    ),
    "rembert": Kind(
        "RemBertConfig", "RemBERT", "bert", {**_PAIRS, "input_embedding_size": 16, "output_embedding_size": 48}
    ),
    "electra": Kind("ElectraConfig", "ELECTRA", "bert", {**_PAIRS, "embedding_size": 16}),
    "albert": Kind(
        "AlbertConfig",
        "ALBERT",
        "bert",
        {**_PAIRS, "embedding_size": 16},
        remark="one layer is called many times; it is measured over all its calls",
    ),
    "deberta-v2": Kind(
        "DebertaV2Config",
        "mDeBERTa-v3",
        "bert",
        {
            "type_vocab_size": 0,
            "relative_attention": True,
            "position_biased_input": False,
            "pos_att_type": ["p2c", "c2p"],
            "position_buckets": 8,
            "share_att_key": True,
            "norm_rel_ebd": "layer_norm",
            "pooler_hidden_size": 32,
        },
        remark="relative positions, the same for all texts, count once a text in RegMean",
    ),
    "modernbert": Kind(
        "ModernBertConfig", "ModernBERT, mmBERT", "bert", {"local_attention": 8, "global_attn_every_n_layers": 2}
    ),
    "qwen3": Kind(
        "Qwen3Config",
        "Qwen3",
        "decoder",
        {"num_key_value_heads": 1, "head_dim": 16, "pad_token_id": None, "eos_token_id": 1, "bos_token_id": None},
        remark="reads the last token that is no padding",
    ),
    "gemma3_text": Kind(
        "Gemma3TextConfig",
        "Gemma 3",
        "decoder",
        {
            "num_key_value_heads": 1,
            "head_dim": 16,
            "query_pre_attn_scalar": 16,
            "sliding_window": 8,
            "layer_types": ["sliding_attention", "full_attention"],
        },
        remark="the same; scaled embeddings, so the whole vocabulary is trained",
    ),
}


def words() -> list[str]:
    """Those of the train texts of `LOCALES`, sorted."""
    texts = (row["utt"] for locale in LOCALES for row in mini.records(locale) if row["partition"] == "train")
    return sorted({word for text in texts for word in text.split()})


def tokenizer_of(kind: Kind) -> Any:
    """Word by word; token type ids are among what BERT's gives."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = _SPECIAL[kind.tokenizer]
    unknown = next(token for token in special if "unk" in token.lower())
    vocabulary = {word: place for place, word in enumerate([*special, *words()])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token=unknown))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    template = _TEMPLATES[kind.tokenizer]
    around = [(token, vocabulary[token]) for token in template.split() if token in vocabulary]
    backend.post_processor = processors.TemplateProcessing(single=template, special_tokens=around)
    roles = {"roberta": ("bos_token", "eos_token"), "bert": ("cls_token", "sep_token"), "decoder": ()}[kind.tokenizer]
    named = {role: token for role, (token, _) in zip(roles, around)}
    inputs = ["input_ids", *(["token_type_ids"] if kind.tokenizer == "bert" else []), "attention_mask"]
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=special[kind.pad_id()],
        unk_token=unknown,
        model_input_names=inputs,
        **named,
        **({"eos_token": "<eos>", "bos_token": "<bos>"} if kind.tokenizer == "decoder" else {}),
    )


def make_base(kind: Kind, folder: Path, *, dropout: bool = True) -> Path:
    """A random model without a head, and its tokenizer, in `folder`."""
    import torch
    import transformers

    tokenizer = tokenizer_of(kind)
    sizes = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 48,
        "max_position_embeddings": POSITIONS,
        "pad_token_id": kind.pad_id(),
        "initializer_range": 0.2,
        **kind.sizes,
    }
    config = getattr(transformers, kind.config)(**sizes)
    for name, value in config.to_dict().items():
        if "dropout" in name and isinstance(value, float) and not dropout:
            setattr(config, name, 0.0)
    torch.manual_seed(0)
    transformers.AutoModel.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
