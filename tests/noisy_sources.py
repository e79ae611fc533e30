"""Sources that are an initial checkpoint plus noise, as fine-tuning would leave them."""

from collections.abc import Iterable
from pathlib import Path


def make_noisy_sources(start: Path, folders: Iterable[Path], noise: float = 0.01) -> None:
    """A model in each folder, of a seed of its own. Noise above 0.02, the start's own, leaves no common start."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    for seed, folder in enumerate(folders):
        model = AutoModelForSequenceClassification.from_pretrained(start)
        torch.manual_seed(seed)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(noise * torch.randn_like(parameter))
        model.save_pretrained(folder)
        AutoTokenizer.from_pretrained(start).save_pretrained(folder)
