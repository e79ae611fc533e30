"""The models of one target, loaded once and kept on the device: merged, measured and scored there."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from auto_merge_llm.checkpoint import Checkpoint
from auto_merge_llm.errors import InputError
from auto_merge_llm.merge import merge_to_memory
from auto_merge_llm.merged_model import MergedModel
from auto_merge_llm.methods import create
from auto_merge_llm.tensors import loaded_source

from merginguriel.utils.data.split import Split
from merginguriel.utils.evaluation import classifier, results
from merginguriel.utils.merging import measuring
from merginguriel.utils.merging.examples import Examples, draw_examples
from merginguriel.utils.models import devices, loading, scoring, store
from merginguriel.utils.models.tokens import MAX_TOKENS, TOKENS


class Workbench:
    """`split` has the items that everything is evaluated on."""

    def __init__(self, split: Split):
        self.split, self.device = split, devices.default_device()
        self.dtype = devices.evaluation_dtype(self.device)
        self._loaded: dict[Path, Checkpoint] = {}
        self._modules, self._batches = {}, {}
        self._examples, self._measured, self._kind = {}, {}, None

    # Models

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

    def keep_only(self, paths) -> None:
        """Drop the other models, and what was measured of them, where one of `paths` has yet to be loaded."""
        paths = set(paths)
        if paths - self._loaded.keys():
            self._loaded = {path: checkpoint for path, checkpoint in self._loaded.items() if path in paths}
            self._measured = {}

    def _module(self, path: Path, state, dtype: torch.dtype):
        """A model of the architecture in `path` with the values of `state`; the next call overwrites it."""
        if dtype not in self._modules:
            self._modules[dtype] = loading.load_model(path, self.device, dtype)
        model = self._modules[dtype]
        missing = model.load_state_dict(state, strict=False).missing_keys
        if missing:
            raise InputError(
                f"{path} names its tensors otherwise than transformers does now ({missing[0]}); load it "
                "once and save it again with save_pretrained"
            )
        return model

    # Scoring

    def alone(self, path: Path) -> "Alone":
        return Alone(self, path)

    def scores(self, path: Path, state, labels: list[str], texts: list[str], description: str):
        """(items, len(INTENTS)) float32 of a model with the values of `state` and the tokenizer in `path`."""
        model = self._module(path, state, self.dtype)
        tokens = TOKENS.tokens(path, texts, loading.longest_input(model, MAX_TOKENS))
        if id(tokens) not in self._batches:
            self._batches[id(tokens)] = scoring.make_batches(tokens, model.config.pad_token_id, self.device)
        return classifier.in_massive_order(scoring.batch_logits(model, self._batches[id(tokens)], description), labels)

    # Merging

    def merge(self, plan, dtype: str | None, allow_mismatched_heads: bool, keep_measurements: bool) -> "Merge":
        """What merging.run_merge makes of `plan`, in memory."""
        self.keep_only([source.path for source in plan.sources] + ([plan.base] if plan.base else []))
        method, measured, files, examples = create(plan.method, **plan.hyperparameters), [], [], None
        if plan.measuring:
            examples = self._draw(plan)
            if method.learns:
                method = self._learn(method, plan, examples)
            else:
                for source in plan.sources:
                    file, kept = self._measure(method, source, plan.measuring, examples, keep_measurements)
                    files.append(file)
                    measured.append(kept)
        merged = merge_to_memory(
            method,
            [self.checkpoint(source.path) for source in plan.sources],
            [source.weight for source in plan.sources],
            base=self.checkpoint(plan.base) if plan.base else None,
            measurements=measured,
            dtype=dtype,
            allow_mismatched_heads=allow_mismatched_heads,
        )
        return Merge(self, plan, merged, method, examples, files)

    def _draw(self, plan) -> Examples:
        sources = () if plan.measuring.scope == "target" else tuple(source.locale for source in plan.sources)
        key = (plan.measuring, sources, plan.seed)
        if key not in self._examples:
            self._examples[key] = draw_examples(plan.measuring, plan.target, list(sources), plan.seed)
        return self._examples[key]

    def _measure(self, method, source, options, examples, keep: bool):
        """(the file for it, what was measured of `source`, on the device)"""
        file = measuring.measurement_file(method, self.checkpoint(source.path), options, examples)
        if method.measurement != self._kind:  # one kind at a time: Fisher information is as large as the model
            self._kind, self._measured = method.measurement, {}
        if file.path not in self._measured:
            self._measured[file.path] = self._measure_anew(method, source, options, examples, file, keep)
        return file.path, self._measured[file.path]

    def _measure_anew(self, method, source, options, examples, file, keep: bool):
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        if file.path.is_file():
            try:
                return loaded_source(str(file.path), load_file(file.path, self.device))
            except SafetensorError:
                raise InputError(f"{file.path} is damaged; remove it and measure again") from None
        model = self._module(source.path, self.checkpoint(source.path).state_dict(), torch.float32)
        measured = measuring.measure(
            method,
            model,
            loading.load_tokenizer(source.path),
            store.read_labels(source.path),
            options,
            examples,
            source.locale,
        )
        if keep:
            file.write(measured)
        return loaded_source(str(file.path), measured)

    def _learn(self, method, plan, examples):
        def single(path: Path) -> dict:
            return {name: values.float() for name, values in self.checkpoint(path).state_dict().items()}

        def base():
            start = single(plan.base)
            return self._module(plan.base, start, torch.float32), loading.load_tokenizer(plan.base), start

        return measuring.learn(
            method,
            plan,
            plan.measuring,
            examples,
            self.checkpoint,
            lambda: {name: single(path) for path, name in plan.identities.items()},
            base,
        )


class Alone:
    """A model on the workbench as `evaluation.evaluate` takes it."""

    def __init__(self, bench: Workbench, path: Path):
        self._bench, self.path, self.labels = bench, path, store.read_labels(path)
        self.settings = classifier.model_settings(path, bench.dtype)

    def logits(self, texts: list[str], description: str):
        state = self._bench.checkpoint(self.path).state_dict()
        return self._bench.scores(self.path, state, self.labels, texts, description)


class Merge:
    """A merged model on the workbench, and what its details need to know; hashing it runs beside scoring it."""

    def __init__(self, bench: Workbench, plan, merged: MergedModel, method, examples, files):
        self._bench, self.plan, self.model = bench, plan, merged
        self.method, self.examples, self.files = method, examples, files
        self.labels = store.read_labels(merged.config_from.path)

    def evaluate(self) -> tuple:
        """(scores (items, len(INTENTS)), settings of the evaluation, information on the model)"""
        tokenizer_from = self.model.tokenizer_from
        with ThreadPoolExecutor(1) as pool:
            fingerprint = pool.submit(lambda: self.model.weights_fingerprint)
            scores = self._bench.scores(
                tokenizer_from.path,
                self.model.state,
                self.labels,
                self._bench.split.texts,
                f"{self.plan.output.name} on {self.plan.target}",
            )
            settings = classifier.settings_of(
                fingerprint.result(),
                tokenizer_from.tokenizer_fingerprint,
                self.model.config,
                self.labels,
                self._bench.dtype,
            )
        return scores, settings, results.info_of(self.labels, self.model.config)
