"""The plan of a merge: sources, weights, method, base and texts, decided before anything is read or written."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from auto_merge_llm.errors import InputError
from auto_merge_llm.methods.base import Method
from auto_merge_llm.tensors import identities

from merginguriel.utils.adaptation.run import drawn, warn_of_few
from merginguriel.utils.adaptation.settings import AdaptSettings
from merginguriel.utils.data.task import Fingerprints, Task
from merginguriel.utils.merging import wanted
from merginguriel.utils.merging.consensus import Polls
from merginguriel.utils.merging.examples import NUM_EXAMPLES
from merginguriel.utils.merging.modes import ADAPTED, MODES, needs_text
from merginguriel.utils.merging.selection import Source
from merginguriel.utils.merging.settings import MergeSettings
from merginguriel.utils.merging.weighing import weigh
from merginguriel.utils.models.model_folder import WeightHashes, check_task, files_of, max_tokens
from merginguriel.utils.models.store import ModelStore
from merginguriel.utils.storage import naming
from merginguriel.utils.storage.atomic import read_json
from merginguriel.utils.storage.settings import plain

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MergePlan:
    """Everything a merge needs: effective `settings`, and in `selection` the record of how sources were chosen.

    `texts`: locales whose texts the method measures its sources on, or learns from.
    """

    settings: MergeSettings
    task: Task
    base_model: str
    sources: tuple[Source, ...]
    selection: dict[str, Any]
    base: Path | None
    texts: tuple[str, ...]
    output: Path

    @property
    def mode(self) -> str:
        return self.settings.mode

    @property
    def target(self) -> str:
        return self.settings.target

    @cached_property
    def method(self) -> Method:
        return self.settings.method

    @property
    def method_name(self) -> str:
        return MODES[self.mode][0]

    @property
    def label(self) -> str:
        """What lists and tables call it: regmean, or regmean+vote where it is adapted."""
        adapted = self.settings.adaptation.adapt
        return f"{self.mode}{ADAPTED}{adapted}" if adapted else self.mode

    @property
    def before(self) -> "MergePlan":
        """The merge that is adapted; the same where none is."""
        if not self.settings.adaptation.adapt:
            return self
        plain = replace(self, settings=replace(self.settings, adaptation=AdaptSettings()))
        name = naming.merge_name(plain.mode, plain.target, len(plain.sources), plain.words)
        return replace(plain, output=self.output.with_name(name))

    def before_in(self, folder: Path) -> "MergePlan":
        """The same in another place."""
        return replace(self.before, output=folder)

    @property
    def words(self) -> list[str]:
        """Of a folder's name, for what has not its default."""
        return [*self.task.words(self.base_model), *self.settings.words().values()]

    @property
    def identities(self) -> dict[Path, str]:
        """What the library calls the sources, by folder."""
        paths = [source.path for source in self.sources]
        return dict(zip(paths, identities(list(map(str, paths)))))

    def describe(self) -> str:
        told = "".join(f", {name} {value}" for name, value in asdict(self.method).items())
        lines = [f"mode    {self.mode} ({self.method_name}{told})", f"target  {self.target}"]
        lines += [f"base    {self.base}"] if self.base else []
        lines += [f"length  {self.settings.length:g}"] if self.settings.length != 1 else []
        if self.texts:
            texts = self.settings.texts
            count = texts.num_examples or f"up to {NUM_EXAMPLES}"
            lines += [f"data    {count} examples, {self.task.data} {texts.split}, {texts.scope}"]
        adaptation = self.settings.adaptation
        if adaptation.adapt:
            count = len(drawn(self.task, self.target, adaptation.examples, self.settings.seed))
            told = f"{adaptation.rounds} rounds of {adaptation.passes(count)} passes, rate {adaptation.rate(count):g}"
            lines += [f"adapt   {adaptation.adapt}, {count} unlabelled train texts, {told}"]
        lines += ["sources", *(f"  {source.weight:.6f}  {source.locale}  {source.path}" for source in self.sources)]
        return "\n".join([*lines, f"output  {self.output}"])

    def record(self, data: Fingerprints | None = None) -> dict[str, Any]:
        """The plan as plain data, with size and time of every file that goes into the merge, and what is measured on.

        `data` remembers fingerprints from plan to plan, each of which takes reading a split.
        """
        data = Fingerprints(self.task) if data is None else data
        settings = self.settings
        sources = [
            {"locale": source.locale, "path": str(source.path), "weight": source.weight, "files": files_of(source.path)}
            for source in self.sources
        ]
        return {
            "mode": self.mode,
            "method": self.method_name,
            "hyperparameters": plain(self.method),
            "preweight": settings.preweight,
            "base": {"path": str(self.base), "files": files_of(self.base)} if self.base else None,
            "measuring": plain(settings.texts) if self.texts else None,
            "texts": {locale: data[locale, settings.texts.split] for locale in self.texts},
            "target": self.target,
            **self.task.record(),
            "base_model": self.base_model,
            "num_sources": len(self.sources),
            **({} if settings.length == 1 else {"length": settings.length}),
            "seed": settings.seed,
            "dtype": settings.dtype or "sources'",
            "similarity": plain(self.selection),
            "sources": sources,
            **({"adapt": self._adaptation()} if settings.adaptation.adapt else {}),
        }

    def _adaptation(self) -> dict[str, Any]:
        told = self.settings.adaptation
        texts = drawn(self.task, self.target, told.examples, self.settings.seed)
        asked = told.record(len(texts)) | told.asked(len(texts))
        return asked | {"examples": told.examples, "texts": texts.record()}


def plan_merge(
    settings: MergeSettings,
    task: Task,
    store: ModelStore,
    *,
    output: Path | None = None,
    merged_root: Path = naming.MERGED_ROOT,
    available: Mapping[str, Path] | None = None,
    weights_sha256: Mapping[str, str] | None = None,
    polls: Polls | None = None,
) -> MergePlan:
    """Choose sources, weights and base. Raises InputError for anything that cannot be merged as asked.

    `output`: the merge's folder, by default in `merged_root`, named by its settings. `available`: locale -> model, by
    default those of `store`; `weights_sha256` by locale, by default of their files, which are read only to compare
    them with the models of a transfer matrix. `polls`: who asks the models about texts, by default one that keeps what
    they say in the store.
    """
    if settings.texts.max_length == task.max_tokens:
        settings = replace(settings, texts=replace(settings.texts, max_length=None))
    if settings.base is not None and settings.base.resolve() == store.initial(settings.seed).resolve():
        settings = replace(settings, base=None)
    settings = settings.effective()
    method, target = settings.method, settings.target
    if target in (settings.weights or ()) or target in (settings.choice.sources or ()):
        raise InputError(f"the target {target} is among the sources; leave it out, a merge is judged zero-shot")
    if available is None:
        available = wanted.available(store, [target], settings.choice.num_languages)
    hashes = WeightHashes(available) if weights_sha256 is None else weights_sha256
    shares, selection = weigh(settings, task, available, hashes, polls or Polls(task, available, store.root, hashes))
    missing = [locale for locale in shares if locale not in available]
    if missing:
        raise InputError(
            f"no model {store.folder(missing[0]).name} in {store.root} for "
            f"{', '.join(missing)}; train it with training_bert.py or leave it out"
        )
    if target in shares:
        raise InputError(f"the target {target} is among the sources; leave it out, a merge is judged zero-shot")
    start = _base(settings, store) if method.needs_base or settings.length != 1 else None
    sources = tuple(Source(locale, available[locale], share) for locale, share in shares.items())
    texts = tuple(settings.texts.locales(target, list(shares))) if needs_text(settings.mode) else ()
    for source in sources:
        check_task(source.path, task)
    _check_cuts(sources, task)
    plan = MergePlan(settings, task, store.base_model, sources, selection, start, texts, output or merged_root)
    name = naming.merge_name(settings.mode, target, len(sources), plan.words)
    plan = plan if output else replace(plan, output=merged_root / name)
    if settings.adaptation.adapt:
        _check_adaptation(plan)
    return plan


def _check_cuts(sources: Sequence[Source], task: Task) -> None:
    """Warn where sources were trained on texts that were cut at different lengths."""
    files = [file for source in sources if (file := source.path / "config.json").is_file()]
    cuts = sorted({max_tokens(read_json(file), task) for file in files})
    if len(cuts) > 1:
        log.warning(
            "warning: the sources were trained on texts cut at %s tokens; the merge cuts them as its first source",
            " and ".join(map(str, cuts)),
        )


def _check_adaptation(plan: MergePlan) -> None:
    """Refuse what cannot be adapted so before it is merged (InputError), and warn of few texts."""
    warn_of_few(drawn(plan.task, plan.target, plan.settings.adaptation.examples, plan.settings.seed))
    if plan.before.output.resolve() == plan.output.resolve():
        raise InputError(f"{plan.output} is where the merge goes that is adapted; choose another --output-dir")


def _base(settings: MergeSettings, store: ModelStore) -> Path:
    base = settings.base or store.initial(settings.seed)
    if not base.is_dir():
        raise InputError(
            f"mode {settings.mode} needs the initial checkpoint that the sources grew from, and there is no "
            f"{base}; name it with --base-checkpoint, or the seed of the training with --seed"
        )
    return base
