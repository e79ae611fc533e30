"""One Trainer set-up for all training commands: shared initial head, dynamic padding, whole or resumable."""

import contextlib
import logging
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel.utils.data import massive
from merginguriel.utils.models import initial, loading
from merginguriel.utils.storage import atomic, environment, naming
from merginguriel.utils.training import tracking
from merginguriel.utils.training.callbacks import reporting_progress
from merginguriel.utils.training.items import Item, encode, load
from merginguriel.utils.training.settings import TrainingSettings
from merginguriel.utils.training.trainer import check_environment, fit, make_trainer, trim_vocabulary

log = logging.getLogger(__name__)


def train(
    settings: TrainingSettings,
    *,
    do_train: bool,
    do_eval: bool,
    do_predict: bool,
    overwrite: bool = False,
    progress: Callable[[float], None] = lambda share: None,
) -> dict:
    """Fine-tune from the shared initial checkpoint and return the metrics.

    `output_dir` appears only when the model is whole. Until then, checkpoints stand in
    `output_dir`.training, and the same call goes on from the newest of them. `progress` is told the share of the steps
    that are done.
    """
    from filelock import FileLock, Timeout

    if do_train and settings.output_dir.exists() and not overwrite:
        raise InputError(f"{settings.output_dir} exists already; use --overwrite-output-dir to train it again")
    if do_train:
        atomic.check_replaceable(settings.output_dir, overwrite)
    check_environment(settings)
    wanted = {"train": do_train, "validation": do_eval, "test": do_predict}
    limits = {
        "train": settings.max_train_samples,
        "validation": settings.max_eval_samples,
        "test": settings.max_predict_samples,
    }
    splits = load(settings, {name: limits[name] for name, needed in wanted.items() if needed})
    if not do_train:
        # Trainer still wants a folder of its own.
        return _evaluate(settings, settings.output_dir.with_name(settings.output_dir.name + ".evaluating"), splits)
    work = unfinished(settings.output_dir)
    start = initial.initial_checkpoint(settings.base_model, settings.seed, settings.models_root)
    work.parent.mkdir(parents=True, exist_ok=True)
    lock = work.with_name(f".{work.name}.lock")
    try:
        with FileLock(lock, timeout=0):
            try:
                return _train(settings, work, start, splits, overwrite, progress)
            finally:
                lock.unlink(missing_ok=True)
    except Timeout:
        raise InputError(
            f"another process trains {settings.output_dir}; wait for it or choose another --output-dir"
        ) from None


def unfinished(output_dir: Path) -> Path:
    """Where the checkpoints of a run stand until its model is whole."""
    return output_dir.with_name(output_dir.name + ".training")


def _train(
    settings: TrainingSettings,
    work: Path,
    start: Path,
    splits: dict[str, list[Item]],
    overwrite: bool,
    progress: Callable[[float], None],
) -> dict:
    record = {**atomic.plain(asdict(settings)), "locales": list(settings.locales)}
    _claim(work, record, overwrite)
    trainer, vocabulary = _trainer(settings, work, start, splits)
    trainer.add_callback(reporting_progress(progress))
    metrics: dict[str, float] = {}
    with _tracking(settings, trainer, record) as tracked:
        metrics |= fit(trainer, _newest_checkpoint(work))
        if "validation" in splits:
            metrics |= trainer.evaluate(metric_key_prefix="eval")
        if vocabulary:
            vocabulary.restore()
        with atomic.whole_folder(settings.output_dir, overwrite=overwrite) as partial:
            trainer.save_model(partial)
            # A pickle that nothing reads; training.json says the same and more.
            (partial / "training_args.bin").unlink()
            trainer.state.save_to_json(str(partial / "trainer_state.json"))
            if "test" in splits:
                predicted, measured = predict(partial, splits["test"], settings)
                metrics |= measured
                rows = [f"{number}\t{massive.INTENTS[label]}" for number, label in enumerate(predicted)]
                atomic.write_text(partial / "predict_results.txt", "\n".join(["index\tprediction", *rows, ""]))
            _write_reports(partial, metrics, record, start)
        tracked({name: value for name, value in metrics.items() if isinstance(value, (int, float))})
    shutil.rmtree(work, ignore_errors=True)
    return metrics


def _evaluate(settings: TrainingSettings, work: Path, splits: dict[str, list[Item]]) -> dict:
    metrics: dict[str, float] = {}
    if "validation" in splits:
        metrics |= _trainer(settings, work, settings.output_dir, splits)[0].evaluate(metric_key_prefix="eval")
        shutil.rmtree(work, ignore_errors=True)
    if "test" in splits:
        metrics |= predict(settings.output_dir, splits["test"], settings)[1]
    return metrics


def _trainer(settings: TrainingSettings, work: Path, start: Path, splits: dict[str, list[Item]]):
    """(Trainer, the TrimmedVocabulary that its model is to be given back or None)"""
    import torch

    model, tokenizer = loading.load_classifier(start, "cpu", torch.float32)
    longest = loading.longest_input(model, settings.max_seq_length)
    datasets = {name: encode(tokenizer, items, longest) for name, items in splits.items() if name != "test"}
    vocabulary = trim_vocabulary(settings, model, datasets) if "train" in splits else None
    return make_trainer(settings, work, model, tokenizer, datasets), vocabulary


def predict(folder: Path, items: list[Item], settings: TrainingSettings):
    """Predicted labels (items,) and metrics of a saved model, by the evaluator that all commands share."""
    from merginguriel.utils.models import devices, scoring
    from merginguriel.utils.models.tokens import TOKENS

    device = settings.device
    model = loading.load_model(folder, device, devices.evaluation_dtype(device))
    texts, labels, locales = zip(*items)
    # A worker that trains many models parses their one tokenizer once.
    tokens = TOKENS.tokens(folder, list(texts), loading.longest_input(model, settings.max_seq_length))
    predicted = scoring.logits(model, tokens, model.config.pad_token_id, "predicting").argmax(-1)
    hits = Counter(locale for locale, right in zip(locales, predicted == labels) if right)
    totals = Counter(locales)
    return predicted, {
        "predict_accuracy": hits.total() / len(items),
        "predict_samples": len(items),
        "predict_accuracy_by_locale": {
            locale: hits[locale] / totals[locale] for locale in settings.locales if locale in totals
        },
    }


@contextlib.contextmanager
def _tracking(settings: TrainingSettings, trainer, record: dict):
    """Yield what keeps values in the tracked run, or does nothing where none was asked for."""
    if settings.wandb_project is None:
        yield lambda values: None
        return
    import transformers

    name = naming.training_run_name(
        settings.base_model, settings.locales, settings.learning_rate, settings.num_train_epochs
    )
    run = tracking.start(settings.wandb_project, name, {**record, "num_languages": len(settings.locales)})

    class Tracking(transformers.TrainerCallback):
        def on_log(self, args, state, control, logs=None, **kwargs):
            run.log({**(logs or {}), "step": state.global_step})

    trainer.add_callback(Tracking())
    try:
        yield run.log
    finally:
        run.finish()


def _claim(work: Path, record: dict, overwrite: bool) -> None:
    """Make the folder of an unfinished run, or find the one that the same settings have left."""
    if overwrite or not list(work.glob("checkpoint-*")):
        shutil.rmtree(work, ignore_errors=True)
    settings = work / "settings.json"
    elsewhere = ("output_dir", "models_root")
    if settings.exists() and {**atomic.read_json(settings), **{name: record[name] for name in elsewhere}} != record:
        raise InputError(
            f"{work} holds an unfinished run with other settings; repeat those to finish it, or use "
            "--overwrite-output-dir to start again"
        )
    atomic.write_json(settings, record)


def _newest_checkpoint(work: Path) -> str | None:
    """The newest checkpoint that is whole: Trainer writes trainer_state.json last."""
    steps = {
        int(path.name.rpartition("-")[2]): path
        for path in work.glob("checkpoint-*")
        if (path / "trainer_state.json").is_file()
    }
    if not steps:
        return None
    log.info("going on from %s", steps[max(steps)])
    return str(steps[max(steps)])


def _write_reports(folder: Path, metrics: dict, record: dict, start: Path) -> None:
    for prefix in ("train", "eval", "predict"):
        part = {name: value for name, value in metrics.items() if name.startswith(f"{prefix}_")}
        if part:
            atomic.write_json(folder / f"{prefix}_results.json", part)
    atomic.write_json(folder / "all_results.json", metrics)
    atomic.write_json(
        folder / "training.json",
        {
            "settings": record,
            "initial_checkpoint": str(start),
            "finished": environment.utc_now(),
            "environment": environment.run_environment(),
        },
    )
