"""What a base model must have to be trained as a classifier here: a padding token, a linear head, one adapter."""

from typing import Any

from auto_merge_llm.errors import InputError

from merginguriel.utils.models.loading import check_padding, counts_positions_from


def settle(model: Any, tokenizer: Any, name: str) -> None:
    """Make the special tokens of `model`, the base model `name` with a new head, those of its tokenizer.

    Trainer would do so in the midst of a training, after the batches were padded and the positions counted. Raises
    InputError for what cannot be trained, merged and evaluated.
    """
    config = model.config
    _check_head(model, name)
    if config.is_encoder_decoder:
        raise InputError(
            f"{name} is an encoder with a decoder ({config.model_type}); take an encoder or a decoder alone"
        )
    counted, padding = counts_positions_from(model), tokenizer.pad_token_id
    if counted and padding is not None and counted != padding + 1:
        raise InputError(
            f"{name} counts positions from its padding token {counted - 1}, and its tokenizer pads with {padding}; "
            "give it its own tokenizer"
        )
    for role in ("pad_token_id", "bos_token_id", "eos_token_id"):
        theirs, ours = getattr(tokenizer, role), getattr(config, role, None)
        if theirs is not None and theirs not in (ours if isinstance(ours, list) else [ours]):
            setattr(config, role, theirs)
    check_padding(model, name)
    # X-MOD has an adapter a language; a merged model has one as well.
    adapters = getattr(config, "languages", None) if config.model_type == "xmod" else None
    if adapters and config.default_language not in adapters:
        raise InputError(
            f"{name} has adapters for {len(adapters)} languages and its config.json names none as default_language; "
            f"write one there that all sources are to share: {', '.join(sorted(adapters))}"
        )


def _check_head(model: Any, name: str) -> None:
    """A linear layer outside the encoder has a row a label."""
    from torch import nn

    encoder = model.base_model_prefix
    heads = [part for place, part in model.named_modules() if place != encoder and not place.startswith(f"{encoder}.")]
    if not any(isinstance(part, nn.Linear) and part.out_features == model.config.num_labels for part in heads):
        raise InputError(f"{name} ({model.config.model_type}) has no linear head for labels; take another base model")
