"""The one evaluator: (model, texts) -> logits, in batches of similar length under a token budget."""

import numpy as np
import torch
from auto_merge_llm.errors import InputError
from tqdm import tqdm

TOKENS_PER_BATCH = 8192
MAX_TOKENS = 128


def default_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def evaluation_dtype(device: str) -> torch.dtype:
    """bfloat16 on CUDA, float32 on the CPU: one precision for every number of a machine."""
    return torch.bfloat16 if device.startswith("cuda") else torch.float32


def tokenise(tokenizer, texts: list[str], max_tokens: int = MAX_TOKENS) -> list[list[int]]:
    return tokenizer(texts, truncation=True, max_length=max_tokens)["input_ids"]


@torch.inference_mode()
def logits(model, token_ids: list[list[int]], pad_id: int, description: str = "scoring") -> np.ndarray:
    """Logits (items, labels), float32, in the order of `token_ids`.

    Sorted by length, a batch is padded only to its own longest item; the budget bounds memory.
    """
    order = sorted(range(len(token_ids)), key=lambda item: (len(token_ids[item]), item))
    result = np.empty((len(token_ids), model.config.num_labels), np.float32)
    with tqdm(total=len(order), desc=description, unit=" items", leave=False, disable=None) as progress:
        for batch in _batches(order, token_ids):
            longest = len(token_ids[batch[-1]])
            ids = torch.full((len(batch), longest), pad_id)
            for row, item in enumerate(batch):
                ids[row, :len(token_ids[item])] = torch.tensor(token_ids[item])
            mask = (ids != pad_id).long()
            scores = model(input_ids=ids.to(model.device), attention_mask=mask.to(model.device)).logits
            result[batch] = scores.float().cpu().numpy()
            progress.update(len(batch))
    if not np.isfinite(result).all():
        raise InputError(f"{description}: the model gives NaN or infinite scores; train or merge it again")
    return result


def _batches(order, token_ids):
    batch = []
    for item in order:
        if batch and (len(batch) + 1) * len(token_ids[item]) > TOKENS_PER_BATCH:
            yield batch
            batch = []
        batch.append(item)
    yield batch
