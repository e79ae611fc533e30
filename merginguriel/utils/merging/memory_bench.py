"""The bench for many merges of the same models: loaded once, kept on the device, merged, measured and scored there."""

import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from auto_merge_llm.checkpoint import Checkpoint
from auto_merge_llm.errors import InputError
from auto_merge_llm.merge import merge_to_memory
from auto_merge_llm.merged_model import MergedModel
from auto_merge_llm.tensors import Source as LoadedSource
from auto_merge_llm.tensors import loaded_source
from safetensors import SafetensorError
from safetensors.torch import load_file

from merginguriel.utils.data.split import Split, Text
from merginguriel.utils.data.task import Task
from merginguriel.utils.evaluation.classifier import in_task_order, model_settings, settings_of
from merginguriel.utils.evaluation.model_card import MODEL_CARD
from merginguriel.utils.evaluation.results import Evaluation, Origin, data_settings, info_of, write_evaluation
from merginguriel.utils.merging.bench import Bench, Merged, is_merged, made_at_once, refuse_sources, stretched
from merginguriel.utils.merging.examples import Examples
from merginguriel.utils.merging.model_card import model_card
from merginguriel.utils.merging.plan import MergePlan
from merginguriel.utils.merging.selection import Source
from merginguriel.utils.models import devices, loading, scoring
from merginguriel.utils.models.model_folder import TASK, max_tokens, read_labels
from merginguriel.utils.models.tokens import TOKENS
from merginguriel.utils.storage import atomic
from merginguriel.utils.storage.made_folders import MERGED

# Of a configuration: what differs between models that compute alike.
_NAMES = {"_name_or_path", "transformers_version", "dtype", "torch_dtype", "id2label", "label2id", "initial_head", TASK}


class MemoryBench(Bench):
    """`keep_merged`: merges are written to their plan's output too. `keep_measurements`: what is measured is."""

    def __init__(self, measurements: Path, *, keep_merged: bool = False, keep_measurements: bool = False):
        super().__init__(measurements)
        self.keep_merged, self._keep_measurements = keep_merged, keep_measurements
        self.dtype = devices.evaluation_dtype(self.device)
        self._loaded: dict[Path, Checkpoint] = {}
        self._modules: dict[torch.dtype, tuple[str, Any]] = {}  # with what their configuration computes
        self._batches: dict[int, scoring.Batches] = {}
        self._measured: dict[Path, LoadedSource] = {}
        self._kind: str | None = None

    def checkpoint(self, path: Path) -> Checkpoint:
        """The model in `path`, its tensors on the device."""
        if path not in self._loaded:
            checkpoint = Checkpoint(path)
            checkpoint.load(self.device)
            self._loaded[path] = checkpoint
        return self._loaded[path]

    def drop(self, path: Path) -> None:
        """Free the memory of a model that is not needed again."""
        self._loaded.pop(path, None)

    def release(self) -> None:
        self._loaded, self._modules, self._measured, self._batches = {}, {}, {}, {}

    def _keep_only(self, paths: Iterable[Path]) -> None:
        """Drop the other models, and what was measured of them, where one of `paths` has yet to be loaded."""
        paths = set(paths)
        if paths - self._loaded.keys():
            self._loaded = {path: checkpoint for path, checkpoint in self._loaded.items() if path in paths}
            self._measured = {}

    def _module(self, path: Path, state: Mapping[str, torch.Tensor], dtype: torch.dtype) -> Any:
        """The model that the configuration in `path` makes of `state`; the next call overwrites it."""
        computes = _computes(self.checkpoint(path).config)
        if dtype not in self._modules or self._modules[dtype][0] != computes:
            if self._modules.pop(dtype, None):  # of another configuration, for which the batches were made
                self._batches = {}
            self._modules[dtype] = computes, loading.load_model(path, self.device, dtype)
        model = self._modules[dtype][1]
        missing = model.load_state_dict(state, strict=False).missing_keys
        if missing:
            raise InputError(
                f"{path} names its tensors otherwise than transformers does now ({missing[0]}); load it "
                "once and save it again with save_pretrained"
            )
        return model

    def float32_model(self, path: Path) -> Any:
        return self._module(path, self.checkpoint(path).state_dict(), torch.float32)

    def float32_state(self, path: Path) -> dict[str, torch.Tensor]:
        return {name: values.float() for name, values in self.checkpoint(path).state_dict().items()}

    def measured(self, plan: MergePlan, source: Source, examples: Examples) -> tuple[Path, LoadedSource]:
        file = self.measurement_file(plan, source, examples)
        if plan.method.measurement != self._kind:  # one kind at a time: Fisher information is as large as the model
            self._kind, self._measured = plan.method.measurement, {}
        if file.path not in self._measured:
            if file.path.is_file():
                tensors = self._read(file.path)
            else:
                tensors = self.measure(plan, source, examples)
                if self._keep_measurements:
                    file.write(tensors)
            self._measured[file.path] = loaded_source(str(file.path), tensors)
        return file.path, self._measured[file.path]

    def _read(self, file: Path) -> dict[str, torch.Tensor]:
        try:
            return load_file(file, self.device)
        except SafetensorError:
            raise InputError(f"{file} is damaged; remove it and measure again") from None

    def scores(
        self,
        path: Path,
        state: Mapping[str, torch.Tensor],
        texts: Sequence[Text],
        cut: int,
        description: str,
        tokenizer: Path | None = None,
    ) -> np.ndarray:
        """Logits of a model with the values of `state` and the configuration in `path`; texts end after `cut` tokens.

        `tokenizer`: the folder that has it, if not `path`.
        """
        model = self._module(path, state, self.dtype)
        tokens = TOKENS.tokens(tokenizer or path, texts, loading.longest_input(model, cut))
        if id(tokens) not in self._batches:
            self._batches[id(tokens)] = scoring.make_batches(tokens, model.config, self.device)
        return scoring.batch_logits(model, self._batches[id(tokens)], description)

    def _write(self, plan: MergePlan, record: dict[str, Any], overwrite: bool) -> None:
        if not is_merged(plan, record, overwrite):  # which refuses, before anything is computed, what stands there
            self.merge(plan, record, overwrite=overwrite).save(plan.output, overwrite=overwrite)

    def merge(self, plan: MergePlan, record: dict[str, Any], *, overwrite: bool) -> "MergedInMemory":
        keep = None
        if self.keep_merged and not is_merged(plan, record, overwrite):
            keep = {"overwrite": overwrite}
        self._keep_only([source.path for source in plan.sources] + ([plan.base] if plan.base else []))
        prepared = self.prepare(plan)
        model = merge_to_memory(
            prepared.method,
            [self.checkpoint(source.path) for source in plan.sources],
            [source.weight for source in plan.sources],
            base=stretched(plan, self.checkpoint(plan.base)) if plan.base else None,
            measurements=prepared.measurements,
            dtype=plan.settings.dtype,
            allow_mismatched_heads=plan.settings.allow_mismatched_heads,
        )
        return MergedInMemory(self, plan, model, prepared.details(plan, record, model.report), record, keep)


def _computes(config: Mapping[str, Any]) -> str:
    """What decides what a model computes with its weights; names of labels, say, do not."""
    told = {name: value for name, value in config.items() if name not in _NAMES}
    return json.dumps([told, len(config.get("id2label") or ())], sort_keys=True)


class Alone:
    """A model on the bench, as evaluation.classifier.evaluate takes it."""

    def __init__(self, bench: MemoryBench, path: Path, task: Task):
        self._bench, self.path, self.task, self.labels = bench, path, task, read_labels(path, task)
        self.settings = model_settings(path, task, bench.dtype)

    def logits(self, texts: Sequence[Text], description: str) -> np.ndarray:
        state = self._bench.checkpoint(self.path).state_dict()
        scores = self._bench.scores(self.path, state, texts, self.settings["max_tokens"], description)
        return in_task_order(scores, self.labels, self.task.labels)


class MergedInMemory(Merged):
    """`details`: texts to lie beside its weights and results, by file name.

    `keep`: keywords of `save` where `evaluate` is to write the merge to its plan's output, else None.
    """

    def __init__(
        self,
        bench: MemoryBench,
        plan: MergePlan,
        model: MergedModel,
        details: Mapping[str, str],
        record: dict[str, Any],
        keep: dict[str, Any] | None,
    ):
        self._bench, self._plan, self._model, self._details = bench, plan, model, details
        self._record, self._keep = record, keep

    def evaluate(self, split: Split, folder: Path, *, overwrite: bool, job: str | None) -> Evaluation:
        plan, model, like = self._plan, self._model, self._model.tokenizer_from
        labels = read_labels(model.config_from.path, plan.task)
        with ThreadPoolExecutor(1) as pool:  # hashing the weights runs beside scoring them
            fingerprint = pool.submit(lambda: model.weights_fingerprint)
            title = f"{plan.output.name} on {split.locale}"
            cut = max_tokens(model.config, plan.task)
            scores = self._bench.scores(model.config_from.path, model.state, split.texts, cut, title, like.path)
            scores = in_task_order(scores, labels, plan.task.labels)
            settings = settings_of(
                fingerprint.result(), like.tokenizer_fingerprint, model.config, labels, plan.task, self._bench.dtype
            )
        origin = Origin(
            plan.output.name,
            plan.task,
            str(plan.output),
            info_of(labels, model.config),
            data_settings(settings, split),
            self._record,
            job,
            self._details,
        )
        result = write_evaluation(folder, split, scores.argmax(-1), origin, logits=scores, overwrite=overwrite)
        if self._keep is not None:
            self.save(plan.output, result, **self._keep)
        return result

    @property
    def weights_fingerprint(self) -> str:
        """sha256 of the weights' file, as `save` writes it."""
        return self._model.weights_fingerprint

    def save(self, folder: Path, result: Evaluation | None = None, *, overwrite: bool = False) -> None:
        """Make `folder` the whole model: weights, configuration, tokenizer, details, a card with the result.

        Raises InputError where it is a source, exists and `overwrite` is false, or is nothing that the toolkit made.
        """
        plan = replace(self._plan, output=folder)
        refuse_sources(plan)
        atomic.check_replaceable(folder, MERGED, overwrite)
        with made_at_once(plan, self._record), atomic.whole_folder(folder, MERGED, overwrite=overwrite) as partial:
            self._model.save(partial)
            for name, text in {**self._details, MODEL_CARD: model_card(plan, result)}.items():
                atomic.write_text(partial / name, text)

    def release(self) -> None:
        """Free the sources, which merging and scoring have loaded."""
        files = self._model.files
        config, tokenizer = Checkpoint(files.config_from.path), Checkpoint(files.tokenizer_from.path)
        self._model = replace(self._model, files=replace(files, config_from=config, tokenizer_from=tokenizer))
        self._bench.release()
