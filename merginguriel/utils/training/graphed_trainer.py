"""A Trainer whose passes over full batches are CUDA graphs."""

import functools
from typing import Any

import torch
from transformers import Trainer

from merginguriel.utils.training.cuda_graphs import GraphedPasses


class GraphedTrainer(Trainer):
    _passes: GraphedPasses | None = None

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        if self._passes is None:
            self._passes = GraphedPasses(lambda batch: self._loss(model, batch), model.parameters())
        inputs = {
            name: values for name, values in self._prepare_inputs(inputs).items() if isinstance(values, torch.Tensor)
        }
        full = (
            len(inputs["labels"]) == self.args.per_device_train_batch_size
            and self.current_gradient_accumulation_steps == self.args.gradient_accumulation_steps
        )
        if full:
            if not model.training:
                model.train()
            return self._passes(inputs)
        self._passes.hold_gradients()
        return super().training_step(model, inputs, num_items_in_batch)

    @functools.cached_property
    def _operations_a_token(self) -> int:
        return 6 * self.model.num_parameters(exclude_embeddings=True)

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        # As Trainer counts them, which goes through all parameters again at each step.
        return self._operations_a_token * inputs["input_ids"].numel()

    def _loss(self, model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        with self.compute_loss_context_manager():
            return self.compute_loss(model, batch) / self.args.gradient_accumulation_steps
