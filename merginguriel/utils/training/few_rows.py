"""Embeddings of few rows, as those of token types, whose gradients are the same bits in every run on a GPU.

PyTorch adds up the gradients of more than 3,072 tokens in an order of chance where a row has very many of them.
"""

import torch

FEW = 4  # rows


class SummedEmbedding(torch.nn.Embedding):
    """Gives the same values by operations whose gradients are sums."""

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """The rows of `ids` (…), as (…, features)."""
        rows = self.weight
        found = rows[0].expand(*ids.shape, -1)
        for number in range(1, len(rows)):
            found = torch.where(ids[..., None] == number, rows[number], found)
        return found


def add_up_in_order(model: torch.nn.Module) -> None:
    """Make `model`'s embeddings of few rows such.

    By their class, and not by a function of their own, so that DataParallel's replicas on other GPUs read their own
    weights.
    """
    for module in model.modules():
        if type(module) is torch.nn.Embedding and module.num_embeddings <= FEW and _is_plain(module):
            module.__class__ = SummedEmbedding


def _is_plain(module: torch.nn.Embedding) -> bool:
    return module.padding_idx is None and module.max_norm is None and not (module.scale_grad_by_freq or module.sparse)
