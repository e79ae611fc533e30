"""Iterative training: models of several locales are trained in turn, merged every few epochs, and go on from the merge.

Everything that a run has to know stands in its folder: checkpoints of the locales, merged models, merge_history.json.
A run that is killed is repeated from them and ends with the same model.
"""

import contextlib
import functools
import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from statistics import mean

from auto_merge_llm.errors import InputError

from merginguriel.utils.data import task
from merginguriel.utils.evaluation import classifier, results
from merginguriel.utils.iterative import timing
from merginguriel.utils.iterative.settings import IterativeSettings
from merginguriel.utils.jobs import engine, processes
from merginguriel.utils.merging import details
from merginguriel.utils.merging.merge import run_merge
from merginguriel.utils.merging.plan import MergePlan, plan_merge, texts_of, told_settings
from merginguriel.utils.merging.selection import Source
from merginguriel.utils.models import loading
from merginguriel.utils.models.initial import initial_checkpoint
from merginguriel.utils.storage import atomic, environment, messages, naming
from merginguriel.utils.training import tracking, trainer
from merginguriel.utils.training.parts import Development, Part, Trainers, newest

log = logging.getLogger(__name__)
STATE_JSON = "state_summary.json"
HISTORY_JSON = "merge_history.json"
MERGED = "merged_models"
FINAL = "final_merged_model"
CONFIG_JSON = "experiment_config.json"


def plan(settings: IterativeSettings) -> MergePlan:
    """Sources, weights and method of all merges. Raises InputError where they cannot be chosen as asked."""
    initial = initial_checkpoint(settings.training.base_model, settings.training.seed, settings.training.models_root)
    wanted = settings.training.locales or task.find_locales(settings.training.dataset_name)
    return plan_merge(
        mode=settings.mode,
        target=settings.target,
        base_model=settings.training.base_model,
        num_languages=settings.num_languages,
        models_root=settings.training.models_root,
        output=settings.folder / MERGED / FINAL,
        similarity=settings.similarity,
        preweight=settings.preweight,
        weights=settings.weights,
        normalize=settings.normalize,
        sources=list(settings.training.locales) or None,
        seed=settings.training.seed,
        hyperparameters=settings.hyperparameters,
        measuring=settings.measuring,
        available=dict.fromkeys(wanted, initial),
    )


def rests_on(settings: IterativeSettings, chosen: MergePlan, data: task.Fingerprints) -> dict:
    """What the final model and its result rest on, as plain data: the settings, and items of every split."""
    training, sources = settings.training, [source.locale for source in chosen.sources]
    splits = [
        (training.dataset_name, locale, split, training.text_column, training.label_column)
        for split, locales in (
            ("train", sources),
            ("validation", [*sources, settings.target]),
            ("test", [settings.target]),
        )
        for locale in locales
    ]
    return {
        **settings.record,
        "data": {f"{split[1]} {split[2]}": data[split] for split in (*splits, *texts_of(chosen).values())},
    }


def run(
    settings: IterativeSettings, chosen: MergePlan, *, overwrite: bool = False, config: dict | None = None
) -> results.Evaluation:
    """Train and merge `chosen`'s sources, and evaluate the last merge on the target's test items.

    Goes on where an earlier run with these settings stopped. `config` is kept in the folder. Raises InputError, before
    anything is trained, for what cannot be trained or merged, and where the folder holds another run and `overwrite` is
    false.
    """
    from filelock import FileLock, Timeout

    trainer.check_environment(settings.training)
    if settings.max_gpu_memory and settings.training.device == "cpu":
        raise InputError("--max-gpu-memory needs a CUDA GPU; leave it out")
    one = _Run(settings, chosen)
    test = task.load_split(
        settings.training.dataset_name,
        settings.target,
        "test",
        settings.training.text_column,
        settings.training.label_column,
    )
    result = result_folder(settings, chosen)
    check_result(one.hash, result, overwrite)
    folder = settings.folder.resolve()  # "." has no name
    lock = folder.with_name(f".{folder.name}.lock")
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock, timeout=0):
            try:
                _claim(settings, one.data, overwrite)
                if config is not None:
                    atomic.write_json(settings.folder / CONFIG_JSON, config)
                one.open()
                with one.tracked(), one.progress:
                    one.train_and_merge()
                    return one.judge(test, result, overwrite)
            finally:
                trainer.free_memory()
                lock.unlink(missing_ok=True)
    except Timeout:
        raise InputError(f"another process trains in {folder}; wait for it or choose another --output-dir") from None


def result_folder(settings: IterativeSettings, chosen: MergePlan) -> Path:
    told = [*told_settings(chosen, settings.preweight), *settings.told]
    return settings.results_root / naming.merge_name(
        f"iterative_{settings.mode}", settings.target, len(chosen.sources), told
    )


def check_result(job: str, folder: Path, overwrite: bool) -> None:
    """Refuse, before anything is trained, a result folder that holds another one than of this hash (InputError)."""
    kept = folder / naming.RESULTS_JSON
    if not kept.is_file() or atomic.read_json(kept).get("job") != job:
        atomic.check_replaceable(folder, overwrite)


def _claim(settings: IterativeSettings, data: dict, overwrite: bool) -> None:
    """Find the run that the same settings and items have left in the folder, or an empty place for a new one."""
    folder = settings.folder
    state = folder / STATE_JSON
    if folder.exists() and any(folder.iterdir()):
        if not state.is_file():
            raise InputError(
                f"{folder} is nothing that this command made, so it is left alone; choose another --output-dir"
            )
        kept = atomic.read_json(state)
        if kept.get("settings") == settings.record and kept.get("data") == data:
            return
        if not overwrite:
            what = "settings" if kept.get("settings") != settings.record else "items in its dataset"
            raise InputError(
                f"{folder} holds a run with other {what}; repeat those to finish it, choose another "
                "--output-dir, or use --overwrite to replace it"
            )
        # The state goes last: without it the folder would not be known as a run's.
        for path in sorted(folder.iterdir(), key=lambda path: path == state):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    if not state.exists():
        atomic.write_json(state, {"settings": settings.record, "data": data, "models": {}})


class _Run:
    def __init__(self, settings: IterativeSettings, chosen: MergePlan):
        self._settings, self._plan = settings, chosen
        self._locales = [source.locale for source in chosen.sources]
        initial = initial_checkpoint(
            settings.training.base_model, settings.training.seed, settings.training.models_root
        )
        self._make = functools.partial(Trainers, settings.training, initial, settings.max_gpu_memory)
        self._development = Development(settings.training, initial)
        for locale in (*self._locales, settings.target):
            self._development.split(locale)
        self._log = lambda values: None
        whole = rests_on(settings, chosen, task.Fingerprints())
        self.data, self.hash = whole["data"], engine.settings_hash("iterative", whole)

    def open(self) -> None:
        """Read how far the folder's run has come."""
        history = self._settings.folder / HISTORY_JSON
        self._history = atomic.read_json(history)["merge_history"] if history.exists() else []
        self.progress = _Progress(
            self._settings.max_epochs, {locale: self._epoch(locale) for locale in self._locales}, self._trained
        )

    def _folder(self, locale: str) -> Path:
        return self._settings.folder / locale / "checkpoints"

    def _merged(self, entry: dict) -> Path:
        return self._settings.folder / MERGED / entry["name"]

    def _epoch(self, locale: str) -> int:
        last = newest(self._folder(locale))
        return last.epoch if last else 0

    @contextlib.contextmanager
    def tracked(self):
        """Everything that is logged goes to the tracked run too, where one was asked for."""
        project = self._settings.training.wandb_project
        if project is None or self._is_trained:
            yield
            return
        tracked = tracking.start(project, self._settings.folder.name, self._settings.record)
        self._log = tracked.log
        try:
            yield
        finally:
            tracked.finish()

    @functools.cached_property
    def _trainers(self) -> Trainers:
        return self._make(development=self._development)

    def train_and_merge(self) -> None:
        while not self._is_trained:
            epoch, reason, decisions = self._train_to_next_merge()
            self._merge(epoch, reason, decisions)

    @property
    def _merged_at(self) -> int:
        return self._history[-1]["epoch"] if self._history else 0

    @property
    def _is_trained(self) -> bool:
        return self._merged_at == self._settings.max_epochs

    def _train_to_next_merge(self) -> tuple[int, str, list]:
        """(epoch, why there is a merge, what was decided on the way)."""
        settings, decisions = self._settings, []
        interval = self._history[-1]["next_interval"] if self._history else settings.merge_frequency
        planned = min(self._merged_at + interval, settings.max_epochs)
        epoch = self._merged_at + 1 if settings.performance_trigger else planned
        while True:
            self._train_all(epoch)
            if epoch == planned:
                why = (
                    "end of training"
                    if epoch == settings.max_epochs
                    else (f"{interval} epoch{'s' if interval > 1 else ''}")
                )
                return epoch, why, decisions
            decision = timing.plateau(
                {
                    locale: {reached: metrics["eval_accuracy"] for reached, metrics in self._metrics(locale).items()}
                    for locale in self._locales
                },
                epoch,
                settings.convergence_threshold,
            )
            log.info("%s", decision)
            decisions.append(asdict(decision))
            if decision.decided:
                return epoch, "plateau", decisions
            epoch += 1

    def _metrics(self, locale: str) -> dict[int, dict]:
        return newest(self._folder(locale)).metrics

    def _train_all(self, epoch: int) -> None:
        """Until every locale has reached `epoch`."""
        behind = [locale for locale in self._locales if self._epoch(locale) < epoch]
        if not behind:
            return
        settings = self._settings
        merges = tuple(entry["epoch"] for entry in self._history)
        parts = [
            (
                locale,
                Part(
                    locale,
                    self._folder(locale),
                    epoch,
                    settings.every_epoch,
                    self._merged(self._history[-1]) if self._history else None,
                    self._merged_at,
                    merges[-settings.retain :] if settings.checkpoint_before_merge else (),
                ),
            )
            for locale in behind
        ]
        if settings.sequential or len(parts) == 1:
            processes.in_this_process(lambda: self._trainers, parts, self.progress)
        else:
            processes.in_processes(self._make, parts, len(parts), self.progress)
        if self.progress.failures:
            raise InputError("; ".join(messages.by_reason(self.progress.failures)))

    def _trained(self, locale: str) -> None:
        epoch, metrics = max(self._metrics(locale).items())
        log.info("%s: epoch %d, validation accuracy %.4f", locale, epoch, metrics["eval_accuracy"])
        self._log(
            {
                "epoch": epoch,
                **{f"{locale}/{name}": metrics[name] for name in ("train_loss", "learning_rate", "eval_accuracy")},
            }
        )
        self._write_state()

    def _merge(self, epoch: int, reason: str, decisions: list) -> None:
        settings, cycle = self._settings, len(self._history) + 1
        name = FINAL if epoch == settings.max_epochs else f"merged_cycle_{cycle}"
        last = {locale: newest(self._folder(locale)) for locale in self._locales}
        # Task vectors are what the locales have learnt since they were last the same.
        base = self._merged(self._history[-1]) if self._plan.base and self._history else self._plan.base
        at_work = settings.folder / ".measurements"
        start = time.monotonic()
        merge = replace(
            self._plan,
            output=settings.folder / MERGED / name,
            base=base,
            sources=tuple(
                Source(source.locale, last[source.locale].path, source.weight) for source in self._plan.sources
            ),
            measuring=replace(self._plan.measuring, folder=at_work) if self._plan.measuring else None,
        )
        # What is there without standing in the history was made by a run that was killed just then.
        folder = run_merge(merge, overwrite=True)
        seconds = time.monotonic() - start
        shutil.rmtree(at_work, ignore_errors=True)
        own = {locale: last[locale].metrics[epoch]["eval_accuracy"] for locale in self._locales}
        merged = self._evaluate(folder)
        interval = self._history[-1]["next_interval"] if self._history else settings.merge_frequency
        if settings.adaptive and epoch < settings.max_epochs:
            decision = timing.next_interval(interval, own, merged, epoch, settings.convergence_threshold)
            log.info("%s", decision)
            decisions, interval = [*decisions, asdict(decision)], decision.decided
        target = merged[settings.target]
        log.info(
            "merge %d after epoch %d (%s): validation accuracy %.4f on %s, %.4f on the sources, whose own models "
            "have %.4f",
            cycle,
            epoch,
            reason,
            target,
            settings.target,
            mean(merged[locale] for locale in self._locales),
            mean(own.values()),
        )
        self._log({"epoch": epoch, "merge": cycle, **{f"merged/{locale}": value for locale, value in merged.items()}})
        self._history.append(
            {
                "cycle": cycle,
                "epoch": epoch,
                "timestamp": environment.utc_now(),
                "status": "success",
                "reason": reason,
                "name": name,
                "active_locales": self._locales,
                "target_locales": [settings.target],
                "merge_algorithm": merge.method,
                "weight_calculation": merge.mode,
                "weights": {source.locale: source.weight for source in merge.sources},
                "merge_duration": seconds,
                "validation_accuracy": {"own": own, "merged": merged},
                "decisions": decisions,
                "next_interval": interval,
            }
        )
        self._write_history()
        self._write_state()
        for old in self._history[: -settings.retain]:
            shutil.rmtree(self._merged(old), ignore_errors=True)

    def _evaluate(self, folder: Path) -> dict[str, float]:
        """Accuracy of a merge on the validation items of every source and of the target."""
        from merginguriel.utils.models import devices

        device = self._settings.training.device
        model = loading.load_model(folder, device, devices.evaluation_dtype(device))
        try:
            return {
                locale: self._development.accuracy(model, locale) for locale in (*self._locales, self._settings.target)
            }
        finally:
            del model
            trainer.free_memory()

    def judge(self, test, result: Path, overwrite: bool) -> results.Evaluation:
        """The final model on the target's test items."""
        settings, final = self._settings, self._merged(self._history[-1])
        experiment = {
            **atomic.read_json(final / details.DETAILS_JSON)["plan"],
            "mode": f"iterative_{settings.mode}",
            "command": settings.command,
            "iterative": {"merges": [entry["epoch"] for entry in self._history], **settings.record},
        }
        return classifier.evaluate(
            classifier.Classifier(final),
            test,
            settings.training.dataset_name,
            result,
            name=result.name,
            experiment=experiment,
            job=self.hash,
            overwrite=overwrite and result.exists(),
            attachments={
                name: (final / name).read_text(encoding="utf-8") for name in (details.DETAILS_TXT, details.DETAILS_JSON)
            },
        )

    def _write_state(self) -> None:
        """What a locale has reached, for people; nothing but the settings is read again."""
        state = {}
        for locale in self._locales:
            last = newest(self._folder(locale))
            metrics = list(last.metrics.values()) if last else []
            state[locale] = {
                "locale": locale,
                "epoch": last.epoch if last else 0,
                "step": last.step if last else 0,
                "checkpoint_path": str(last.path) if last else None,
                "current_metrics": metrics[-1] if metrics else None,
                "best_metrics": max(metrics, key=lambda metric: metric["eval_accuracy"], default=None),
            }
        atomic.write_json(
            self._settings.folder / STATE_JSON,
            {"timestamp": environment.utc_now(), "settings": self._settings.record, "data": self.data, "models": state},
        )

    def _write_history(self) -> None:
        seconds = [entry["merge_duration"] for entry in self._history]
        atomic.write_json(
            self._settings.folder / HISTORY_JSON,
            {
                "merge_statistics": {
                    "total_merges": len(seconds),
                    "total_merge_time": sum(seconds),
                    "average_merge_time": mean(seconds),
                },
                "merge_history": self._history,
                "timestamp": environment.utc_now(),
            },
        )


class _Progress:
    """A bar over the epochs of all locales, and the failures; `trained` is told of every part that is done."""

    def __init__(self, max_epochs: int, reached: dict[str, int], trained: Callable[[str], None]):
        self._max_epochs, self._reached, self._trained = max_epochs, reached, trained
        self.failures: dict[str, str] = {}

    def __enter__(self):
        from tqdm import tqdm
        from tqdm.contrib.logging import logging_redirect_tqdm

        self._open = contextlib.ExitStack()
        self._open.enter_context(logging_redirect_tqdm())
        self._bar = self._open.enter_context(
            tqdm(
                total=self._max_epochs * len(self._reached),
                initial=sum(self._reached.values()),
                desc="training",
                unit=" epochs",
                leave=False,
                disable=None,
            )
        )

    def __exit__(self, *error):
        self._open.close()

    def start(self, worker: int, locale: str) -> None:
        self._bar.set_postfix_str(locale)

    def epoch(self, worker: int, locale: str, epoch: int) -> None:
        self._reached[locale] = epoch
        self._bar.update(sum(self._reached.values()) - self._bar.n)

    def done(self, worker: int, locale: str, result: None, seconds: float) -> None:
        self._trained(locale)

    def failed(self, worker: int, locale: str, reason: str) -> None:
        self.failures[locale] = reason


def history_table(folder: Path) -> str:
    """A line for every merge of a run: validation accuracy of the sources' own models, of the merge, on the target."""
    lines = ["merge  epoch  sources' own  merged, on the sources  on the target  why"]
    for entry in atomic.read_json(folder / HISTORY_JSON)["merge_history"]:
        own, merged = (entry["validation_accuracy"][name] for name in ("own", "merged"))
        lines.append(
            f"{entry['cycle']:5}  {entry['epoch']:5}  {mean(own.values()):12.4f}  "
            f"{mean(merged[locale] for locale in own):22.4f}  "
            f"{merged[entry['target_locales'][0]]:13.4f}  {entry['reason']}"
        )
    return "\n".join(lines)
