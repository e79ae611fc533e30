"""AdaMerging: the coefficients of the task vectors are learnt on unlabelled text of the target."""

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from auto_merge_llm.errors import InputError
from auto_merge_llm.forward import Batch, check_untied, evaluating, log_probabilities
from auto_merge_llm.methods.base import LearningMethod, Piece, check_choice, check_number, check_whole
from auto_merge_llm.methods.linear import weighted_sum

StateDict = Mapping[str, Tensor]


@dataclass(frozen=True)
class AdaMerging(LearningMethod):
    """θ₀ + Σ λᵢτᵢ with τᵢ = θᵢ − θ₀ and λ of the least entropy (Yang et al. 2024, arXiv 2310.02575).

    `per`: one λᵢ for every parameter "tensor" (the paper's layer-wise) or for the whole "model" (task-wise).
    `learning_rate` is Adam's, above 0. `epochs`: passes over the text. `start`: λ of every source before learning, None
    for its weight wᵢ. `clamp`: what Adam moves is held in [0, 1] on its way into the merge, without a gradient beyond;
    else λ may become negative, and above 1. It need not sum to 1 over the sources. The paper's form has `start` 0.3 and
    `clamp`. `coefficients`: λ by tensor name and source identity, as `learn` finds them; without, of the start.
    """

    per: str = "tensor"
    learning_rate: float = 1e-3
    epochs: int = 1
    start: float | None = None
    clamp: bool = False
    coefficients: Mapping[str, Mapping[str, float]] | None = None

    granularity = "element"
    needs_base = True

    def __post_init__(self) -> None:
        check_choice("per", self.per, ("tensor", "model"))
        check_number("learning_rate", self.learning_rate, 0)
        if not self.learning_rate:
            raise InputError("learning_rate is 0, which learns nothing; give one above 0, or 0 epochs")
        check_whole("epochs", self.epochs)
        if self.start is not None:
            check_number("start", self.start, 0, 1)

    def merge(self, piece: Piece) -> Tensor:
        factors = self._start(piece.weights)
        if self.coefficients is not None:
            known = self.coefficients.get(piece.name, {})
            missing = [identity for identity in piece.identities if identity not in known]
            if missing:
                raise InputError(
                    f"tensor {piece.name} has no coefficient for {', '.join(missing)}; learn them for these sources"
                )
            factors = [known[identity] for identity in piece.identities]
        return weighted_sum(piece.task_vectors(), factors).add_(piece.base)

    def _start(self, weights: Sequence[float]) -> Sequence[float]:
        """The coefficients before learning."""
        return weights if self.start is None else [self.start] * len(weights)

    def _bounded(self, learnt: Tensor) -> Tensor:
        """The coefficients that the merge has, of what Adam moves."""
        return learnt.clamp(0, 1) if self.clamp else learnt

    def learn(
        self,
        model: nn.Module,
        sources: Mapping[str, StateDict],
        base: StateDict,
        batches: Iterable[Batch],
        weights: Mapping[str, float],
        *,
        autocast: torch.dtype | None = None,
        progress: Callable[[int, int | None, float], None] | None = None,
    ) -> "AdaMerging":
        """This method with the `coefficients` that Adam finds on `batches`, one step a batch.

        Tensors of `base` that are not parameters of `model` keep the weights. `progress` gets the mean entropy in nats
        before the step. Memory beside the arguments: one gradient of the model, and two copies of its largest tensor.

        Raises InputError for sources, weights or tensors that do not go together, tied parameters, no batches, or an
        entropy that is not finite.
        """
        identities = sorted(identity for identity, weight in weights.items() if weight)
        parameters = dict(model.named_parameters())
        _check(model, sources, base, weights)
        states = [sources[identity] for identity in identities]
        start = torch.tensor([self._start([weights[identity] for identity in identities])], dtype=torch.float64)
        # A few hundred numbers: on the CPU in float64 they cost nothing, and are the same for every device.
        learnt = start.repeat(len(parameters) if self.per == "tensor" else 1, 1)
        optimizer = torch.optim.Adam([learnt], self.learning_rate)
        steps = len(batches) * self.epochs if isinstance(batches, Sized) else None
        done = 0
        model.zero_grad()
        with evaluating(model, requires_grad=True):
            for _ in range(self.epochs):
                before = done
                for batch in batches:
                    _write(parameters, states, base, self._bounded(learnt))
                    log_p = log_probabilities(model, batch, autocast)
                    entropy = -(log_p.exp() * log_p).sum(-1).mean()
                    gradient = _gradient(entropy, parameters, states, base).sum_to_size(learnt.shape)
                    learnt.grad = gradient * (self._bounded(learnt) == learnt)
                    optimizer.step()
                    done += 1
                    if not math.isfinite(entropy.item()):
                        raise InputError(
                            f"the entropy is {entropy.item()} at step {done}; check the sources for NaN, "
                            "or lower learning_rate"
                        )
                    if progress is not None:
                        progress(done, steps, entropy.item())
                if done == before:
                    raise InputError("learning coefficients needs text in every epoch and got none; check the dataset")
            learnt = self._bounded(learnt)
            _write(parameters, states, base, learnt)
        rows = dict(zip(parameters, learnt.expand(len(parameters), -1).tolist()))
        return dataclasses.replace(
            self, coefficients={name: dict(zip(identities, rows.get(name, start[0].tolist()))) for name in base}
        )


def _check(model: nn.Module, sources: Mapping[str, StateDict], base: StateDict, weights: Mapping[str, float]) -> None:
    """The arguments of `learn` go together."""
    differing = sorted(sources.keys() ^ weights.keys())
    if differing or not any(weights.values()):
        raise InputError(
            f"sources and weights do not go together ({', '.join(differing) or 'no weight above 0'}); "
            "give each source a weight"
        )
    # Two names of one parameter would get two coefficients.
    check_untied(model, "AdaMerging")
    for owner, state in [("the base", base), *sources.items()]:
        missing = [name for name, _ in model.named_parameters() if name not in state]
        if missing:
            raise InputError(
                f"{owner} has no tensor {missing[0]}, which the model has; merge models of one architecture"
            )


def _task_vector(state: StateDict, base: StateDict, name: str, dtype: torch.dtype) -> Tensor:
    return state[name].to(dtype) - base[name].to(dtype)


@torch.no_grad()
def _write(
    parameters: Mapping[str, nn.Parameter], states: Sequence[StateDict], base: StateDict, learnt: Tensor
) -> None:
    """Overwrite the parameters with the merged ones, by the operations of `merge`, one task vector at a time."""
    rows = learnt.expand(len(parameters), -1).tolist()
    for (name, parameter), row in zip(parameters.items(), rows):
        parameter.zero_()
        for state, factor in zip(states, row):
            parameter.add_(_task_vector(state, base, name, parameter.dtype).mul_(factor))
        parameter.add_(base[name])


def _gradient(
    entropy: Tensor, parameters: Mapping[str, nn.Parameter], states: Sequence[StateDict], base: StateDict
) -> Tensor:
    """∂L/∂λ = ⟨∂L/∂θ, τᵢ⟩ per tensor and source, float64 on the CPU: the merge is linear, so this is exact."""
    # A parameter that the logits do not depend on gets zeros.
    gradients = torch.autograd.grad(entropy, list(parameters.values()), materialize_grads=True)
    products = [
        _task_vector(state, base, name, gradient.dtype).mul_(gradient).sum()
        for name, gradient in zip(parameters, gradients)
        for state in states
    ]
    # One transfer for all, not one a product.
    return torch.stack(products).view(len(parameters), len(states)).cpu().double()


METHOD = AdaMerging
