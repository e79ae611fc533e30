"""Embeddings of few rows as sums: the values and gradients of PyTorch's own."""

import pytest
import torch

from merginguriel.utils.training.few_rows import FEW, SummedEmbedding, add_up_in_order


def made(rows, **more):
    torch.manual_seed(0)
    return torch.nn.Embedding(rows, 5, dtype=torch.float64, **more)


@pytest.mark.parametrize("rows", [1, 2, FEW])
def test_values_and_gradients_are_those_of_an_embedding(rows):
    plain, summed = made(rows), made(rows)
    add_up_in_order(torch.nn.Sequential(summed))
    ids, factors = torch.randint(0, rows, (7, 300)), torch.randn(7, 300, 5, dtype=torch.float64)
    assert torch.equal(summed(ids), plain(ids)) and type(summed) is SummedEmbedding
    for module in (plain, summed):
        (module(ids) * factors).sum().backward()
    assert summed.weight.grad == pytest.approx(plain.weight.grad, abs=1e-12)
    assert list(summed.state_dict()) == ["weight"]


@pytest.mark.parametrize(
    "rows, more",
    [
        (FEW + 1, {}),
        (2, {"padding_idx": 1}),
        (2, {"max_norm": 1.0}),
        (2, {"scale_grad_by_freq": True}),
        (2, {"sparse": True}),
    ],
)
def test_others_stay(rows, more):
    module = made(rows, **more)
    add_up_in_order(module)
    assert type(module) is torch.nn.Embedding


def test_a_replica_on_another_gpu_reads_its_own_weights():
    """As torch.nn.DataParallel makes one, which Trainer uses where a process sees several GPUs."""
    module, ids = made(2), torch.tensor([[0, 1, 1]])
    add_up_in_order(module)
    replica = module._replicate_for_data_parallel()
    replica.weight = 2 * module.weight.detach()
    assert torch.equal(replica(ids), 2 * module(ids))


def test_trainings_on_a_gpu_do_so(tiny_base, monkeypatch, tmp_path):
    """Where the device is one; the rest of the Trainer is made for the CPU."""
    from transformers import AutoModelForSequenceClassification

    from merginguriel.utils.training import trainer
    from merginguriel.utils.training.settings import TrainingSettings

    for device, few in (("cpu", False), ("cuda", True)):
        model = AutoModelForSequenceClassification.from_pretrained(tiny_base)
        monkeypatch.setattr(trainer, "device_of", lambda settings, device=device: device)
        monkeypatch.setattr(trainer, "_arguments", lambda *given: None)
        monkeypatch.setattr(trainer.transformers, "Trainer", lambda **given: torch.nn.Module())
        monkeypatch.setattr(trainer, "log_to_stderr", lambda made: None)
        trainer.make_trainer(TrainingSettings(), tmp_path, model, None, {}, "accuracy")
        assert few == isinstance(model.base_model.embeddings.token_type_embeddings, SummedEmbedding)
