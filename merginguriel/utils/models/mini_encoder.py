"""The tiny XLM-RoBERTa encoder from which the mini corpus' sources are fine-tuned."""

from pathlib import Path

from merginguriel.utils.data.mini import LOCALES, records
from merginguriel.utils.models.loading import name_portable_tokenizer
from merginguriel.utils.storage.progress import over

VOCAB_SIZE = 2000
HIDDEN_SIZE = 64
LAYERS = 2
MAX_TOKENS = 64
PRETRAIN_STEPS = 200  # on validation items better than 150 and 300, see docs/data.md
PRETRAIN_BATCH = 128
PRETRAIN_LR = 3e-3
PADDED_TOGETHER = 64
TEMPERATURE = 0.1


def _train_texts() -> list[list[str]]:
    """Return the train sentences by locale; a position means the same in every locale."""
    return [[row["utt"] for row in records(locale) if row["partition"] == "train"] for locale in LOCALES]


def _tokenizer(texts: list[str]):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    # BPE, not XLM-R's Unigram: its training counts integers only, so that threads that finish in
    # another order cannot change the vocabulary.
    backend = Tokenizer(models.BPE(unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(
        # <mask> is left out: XLM-R gives it the last id, after all learnt tokens.
        vocab_size=VOCAB_SIZE - 1,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>"],
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        eos_token="</s>",
        sep_token="</s>",
        cls_token="<s>",
        unk_token="<unk>",
        pad_token="<pad>",
        mask_token="<mask>",
        model_max_length=MAX_TOKENS,
        model_input_names=["input_ids", "attention_mask"],
    )


def _pretrain(encoder, tokenizer, texts: list[list[str]]) -> None:
    import torch

    tokens = [tokenizer(sentences)["input_ids"] for sentences in texts]
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=PRETRAIN_LR)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PRETRAIN_LR, total_steps=PRETRAIN_STEPS)
    encoder.train()
    for _ in over(range(PRETRAIN_STEPS), "pre-training the mini encoder", PRETRAIN_STEPS):
        meanings = torch.randperm(len(texts[0]))[:PRETRAIN_BATCH].tolist()
        first = torch.randint(len(texts), (len(meanings),))
        # An offset of 1 or more, so that a sentence never is its own translation.
        second = (first + torch.randint(1, len(texts), (len(meanings),))) % len(texts)
        sentences = [
            tokens[locale][meaning] for side in (first, second) for locale, meaning in zip(side.tolist(), meanings)
        ]
        left, right = torch.nn.functional.normalize(_vectors(encoder, sentences), dim=1).chunk(2)
        loss = torch.nn.functional.cross_entropy(left @ right.T / TEMPERATURE, torch.arange(len(meanings)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    encoder.eval()


def _vectors(encoder, sentences: list[list[int]]):
    """The vector of <s>, which is the one that the classification head reads, of each: (sentences, hidden size).

    Sentences of a length go through the encoder together: padded to the longest of all, half of the work would be
    padding.
    """
    import torch

    order = sorted(range(len(sentences)), key=lambda place: len(sentences[place]))
    vectors = []
    for start in range(0, len(order), PADDED_TOGETHER):
        rows = [torch.tensor(sentences[place]) for place in order[start : start + PADDED_TOGETHER]]
        padding = encoder.config.pad_token_id
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=padding)
        vectors.append(encoder(input_ids=ids, attention_mask=(ids != padding).long()).last_hidden_state[:, 0])
    return torch.cat(vectors)[torch.tensor(order).argsort()]


def build_base(folder: Path, seed: int) -> None:
    """Write a tiny XLM-RoBERTa encoder (hidden size 64) and its tokenizer to ``folder``.

    The encoder is pre-trained on translation ranking: of the sentences of a batch, find the
    translation. It sees the train sentences of all locales and no intent label. Masked language
    modelling, the objective of XLM-R, aligns languages only with far more text than there is here;
    unaligned sources do not survive averaging.

    The same seed gives the same files on the same machine and library versions. The caller's random
    state and thread count are left as they were.
    """
    import torch
    from transformers import XLMRobertaConfig, XLMRobertaModel

    texts = _train_texts()
    tokenizer = _tokenizer([text for locale in texts for text in locale])
    config = XLMRobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN_SIZE,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        intermediate_size=2 * HIDDEN_SIZE,
        # RoBERTa counts positions from pad_token_id + 1.
        max_position_embeddings=MAX_TOKENS + 2,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        # XLM-R's 0.02 suits a width of 768; at this width attention starts too weak to learn quickly.
        initializer_range=0.1,
        # So small and briefly trained a model underfits; dropout would only slow it.
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    threads = torch.get_num_threads()
    # The order of summation, and with it the last bits of the weights, depends on the thread count.
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            encoder = XLMRobertaModel(config, add_pooling_layer=False)
            _pretrain(encoder, tokenizer, texts)
    finally:
        torch.set_num_threads(threads)
    encoder.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    name_portable_tokenizer(folder)
