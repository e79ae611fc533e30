"""Fine-tune a classifier on the texts of one language, or of several together.

Every run starts from one saved initial checkpoint per base model and seed, classification head
included: that is what makes the results mergeable.
"""

if not __package__:
    import _checkout  # noqa: F401

from merginguriel.utils.flags.command import command
from merginguriel.utils.flags.training_flags import parse_training
from merginguriel.utils.storage.messages import QUIET, set_level
from merginguriel.utils.training import ranks


@command(on_several_gpus=True)
def main(argv=None):
    run, steps = parse_training(argv, __doc__)
    if not ranks.is_first():
        set_level(QUIET)

    from merginguriel.utils.storage.progress import Progress
    from merginguriel.utils.training.train import train

    with Progress(run.output_dir.name, 1) as bar:
        metrics = train(run, steps, bar.reached)
    if ranks.is_first():
        _tell(run, steps, metrics)


def _tell(run, steps, metrics):
    epochs, patience = run.settings.num_train_epochs, run.settings.early_stopping_patience
    if steps.do_train and patience and metrics["epoch"] < epochs - 1e-6:
        print(
            f"stopped after epoch {metrics['epoch']:g} of {epochs:g}: {patience} epochs without a better validation "
            f"{run.task.metric} (--early-stopping-patience)"
        )
    for name, key in (("validation", "eval_accuracy"), ("test", "predict_accuracy")):
        if key in metrics:
            print(f"{name} accuracy {metrics[key]:.4f} on {', '.join(run.locales)}")
    by_locale = metrics.get("predict_accuracy_by_locale", {})
    if len(by_locale) > 1:
        print(*(f"  {locale}  {accuracy:.4f}" for locale, accuracy in by_locale.items()), sep="\n")
    print(f"model: {run.output_dir}")


if __name__ == "__main__":
    raise SystemExit(main())
