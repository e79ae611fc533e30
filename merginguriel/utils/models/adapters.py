"""PEFT LoRA adapters: what they are, and the base model that they belong to."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from auto_merge_llm.adapter_files import ADAPTER_CONFIG
from auto_merge_llm.errors import InputError
from auto_merge_llm.folder_checks import EMBEDDINGS, check_model_folder, head
from auto_merge_llm.json_objects import read_json_object
from auto_merge_llm.label_names import label_names
from auto_merge_llm.tensors import TensorReader
from auto_merge_llm.tokenizer_files import tokenizer_files, vocabulary_file
from auto_merge_llm.weight_files import find_weights, open_file

from merginguriel.utils.models import hub
from merginguriel.utils.models.adapter_base import find_base

log = logging.getLogger(__name__)
# What peft puts before the base's names.
PREFIX = "base_model.model."
# Initial values that do not change the base's weights: with the others, an adapter belongs to a base of its own.
_INITIAL_VALUES = (True, False, "gaussian", "orthogonal", "eva")
# Settings that run other code, or cannot be merged into weights.
_REFUSED = ("megatron_config", "layer_replication", "alora_invocation_tokens", "arrow_config", "use_qalora")


def is_adapter(folder: Path) -> bool:
    return (folder / ADAPTER_CONFIG).is_file() and find_weights(folder) is None


class Adapter:
    """The LoRA adapter in `folder` and its base, opened: no tensor is read yet.

    `base`: a folder or an id of the Hub, by default what adapter_config.json names. Raises InputError for an adapter of
    another kind, without safetensors, without its base, or with one that is not its own.
    """

    def __init__(self, folder: Path, base: str | Path | None = None):
        self.folder, self.config = folder, read_json_object(folder / ADAPTER_CONFIG)
        self._check_kind()
        self.tensors: Mapping[str, TensorReader] = {
            name.removeprefix(PREFIX): tensor for name, tensor in open_file(folder / hub.ADAPTER_WEIGHTS).items()
        }
        self.base = check_model_folder(find_base(folder, self.config.get("base_model_name_or_path"), base))
        # The matrix with a row a label, and whether it is the adapter's own.
        own = head(self.tensors)
        found = own or head(self.base.tensors)
        if own is None and self.config.get("task_type") == "SEQ_CLS":
            raise InputError(
                f"{folder / hub.ADAPTER_WEIGHTS} lacks the classification head, which adapters of task_type SEQ_CLS "
                "have; copy or save the adapter again"
            )
        if found is None:
            raise InputError(
                f"{folder} has no classification head, and its base {self.base.name} has none; train it with "
                'modules_to_save=["classifier"], or as the head is called'
            )
        self._check_places()
        self.has_head = own is not None
        self.rows = (self.tensors if own else self.base.tensors)[found].shape[0]

    def _check_kind(self) -> None:
        where, kind = self.folder / ADAPTER_CONFIG, self.config.get("peft_type")
        if kind != "LORA":
            raise InputError(
                f"{where}: peft_type is {kind}, and only LORA adapters are read; merge it into its base with peft "
                "(merge_and_unload) and give that model"
            )
        for key in _REFUSED:
            if self.config.get(key):
                raise InputError(
                    f"{where}: an adapter with {key} cannot be merged into weights; give a plain LoRA adapter or a "
                    "whole model"
                )
        initial = self.config.get("init_lora_weights", True)
        if initial not in _INITIAL_VALUES:
            raise InputError(
                f"{where}: init_lora_weights is {initial!r}, which changes the base too; save the adapter as plain "
                "LoRA (path_initial_model_for_weight_conversion of peft's save_pretrained)"
            )
        if not (self.folder / hub.ADAPTER_WEIGHTS).is_file():
            pickled = (self.folder / "adapter_model.bin").is_file()
            raise InputError(
                f"{self.folder} has no {hub.ADAPTER_WEIGHTS}; "
                + (
                    "a pickle (adapter_model.bin) is never loaded, save the adapter as safetensors"
                    if pickled
                    else "copy or train the adapter again"
                )
            )

    def _check_places(self) -> None:
        """Look at the headers: the matrices that LoRA adds to have its sizes. peft looks at all the rest, later."""
        does_not_fit = f"the adapter {self.folder} does not fit its base {self.base.name}"
        places = [name.removesuffix(".lora_A.weight") for name in self.tensors if name.endswith(".lora_A.weight")]
        found = 0
        for place in places:
            down, up = (self.tensors.get(f"{place}.lora_{side}.weight") for side in "AB")
            # An encoder is saved without the name that it has in a classifier.
            names = (f"{place}.weight", f"{place.partition('.')[2]}.weight")
            weight = next((self.base.tensors[name] for name in names if name in self.base.tensors), None)
            if weight is None or down is None or up is None:
                continue
            found += 1
            shape = (*up.shape[:1], *down.shape[1:])
            if weight.shape not in (shape, shape[::-1]):
                raise InputError(
                    f"{does_not_fit}: {place} has {list(shape)} in one and {list(weight.shape)} in the other; give the "
                    "base that it was trained on"
                )
        if places and not found:
            raise InputError(
                f"{does_not_fit}, which has none of the places that it adds to; give the base that it was trained on"
            )

    @property
    def embedding_rows(self) -> int | None:
        """Rows of the embeddings that the adapter brings along, as it does for a vocabulary that has grown."""
        return next((tensor.shape[0] for name, tensor in self.tensors.items() if EMBEDDINGS.search(name)), None)

    @property
    def tokenizer(self) -> list[Path]:
        """The tokenizer's files, the adapter's own or else its base's. Raises InputError where neither has one."""
        for folder in (self.folder, self.base.path):
            if vocabulary_file(folder) is not None:
                return tokenizer_files(folder)
        raise InputError(f"neither {self.folder} nor its base {self.base.name} has tokenizer files; copy them into it")

    def labels(self, task: Sequence[str] | None) -> tuple[str, ...]:
        """Names of the head's rows: the adapter's config.json's, else its base's, else `task`'s if it has as many.

        Raises InputError where none of them names as many as there are rows: peft saves no labels.
        """
        own, base = self.folder / "config.json", self.base.path / "config.json"
        if own.is_file():
            labels = label_names(read_json_object(own), own)
            if len(labels) != self.rows:
                raise InputError(
                    f"{own}: id2label names {len(labels)} labels and the head has {self.rows} rows; correct it"
                )
            return labels
        named = self.base.config.get("id2label")
        if not self.has_head or (
            isinstance(named, dict) and len(named) == self.rows and "LABEL_0" not in named.values()
        ):
            return label_names(self.base.config, base)
        if task is None or len(task) != self.rows:
            raise InputError(
                f"{self.folder} does not say what the {self.rows} outputs of its head are; add a config.json with "
                "id2label to it, the names in training order"
            )
        log.warning(
            "warning: %s does not say what its %d outputs are: they are taken for the task's labels in the task's "
            "order, %s first; if they are not, add a config.json with id2label to it",
            self.folder,
            self.rows,
            task[0],
        )
        return tuple(task)
