"""The mini encoder's sentences go through it by length, with the vectors that they would have together."""

import torch
from transformers import XLMRobertaConfig, XLMRobertaModel

from merginguriel.utils.models import mini_encoder


def test_vectors_are_those_of_one_padded_batch(monkeypatch):
    monkeypatch.setattr(mini_encoder, "PADDED_TOGETHER", 3)
    torch.manual_seed(1)
    config = XLMRobertaConfig(
        vocab_size=50, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16
    )
    encoder = XLMRobertaModel(config, add_pooling_layer=False).eval()
    sentences = [[0, *torch.randint(4, 50, (length,)).tolist(), 2] for length in (7, 1, 4, 4, 9, 2, 7, 3)]
    longest = max(map(len, sentences))
    ids = torch.tensor([[*one, *[config.pad_token_id] * (longest - len(one))] for one in sentences])
    with torch.no_grad():
        together = encoder(input_ids=ids, attention_mask=(ids != config.pad_token_id).long()).last_hidden_state[:, 0]
        torch.testing.assert_close(mini_encoder._vectors(encoder, sentences), together, rtol=1e-5, atol=1e-5)
