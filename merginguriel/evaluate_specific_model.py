"""Evaluate one local model folder on languages: accuracy with a 95 % Wilson interval, macro-F1, every label."""

if not __package__:
    import _checkout  # noqa: F401

from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel.utils.flags import flag_groups
from merginguriel.utils.flags.command import command
from merginguriel.utils.flags.parser import ArgumentParser
from merginguriel.utils.storage import naming


def build_parser():
    parser = ArgumentParser("evaluate_specific_model.py", description=__doc__)
    parser.add_argument(
        "--base-model",
        "--model-path",
        dest="model",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder of the model; its config.json must have id2label",
    )
    flag_groups.add_locales(parser, "--locale", required=True, help="one locale or several; the model is loaded once")
    parser.add_argument("--split", choices=["test", "validation", "train"], default="test", help="which items")
    parser.add_argument("--prefix", metavar="NAME", help="of the results' folders (default: the model's name)")
    parser.add_argument("--results-dir", type=Path, default=naming.RESULTS_ROOT, metavar="DIR", help="where results go")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing result")
    parser.add_argument(
        "--per-intent",
        action="store_true",
        help="print precision, recall, F1 and support of every intent, as in per_intent.csv",
    )
    parser.add_argument("--confusion-plot", action="store_true", help="draw confusion.png into the results' folders")
    flag_groups.add_task(parser)
    return parser


@command
def main(argv=None):
    args = build_parser().parse_args(argv)
    # A path such as . or models/ has a name only when resolved.
    name = args.prefix or args.model.resolve().name
    if Path(name).name != name or name == "..":
        raise InputError(f"--prefix {name} is not a plain name; use --results-dir for another place")

    if not args.model.is_dir():
        raise InputError(f"no model folder {args.model}; check the path")
    task = flag_groups.read_task(args)

    from merginguriel.utils.evaluation import comparison, per_label
    from merginguriel.utils.evaluation.classifier import Classifier, evaluate
    from merginguriel.utils.models import model_folder

    model_folder.read_labels(args.model, task)
    splits = [task.load(locale, args.split) for locale in args.locale]
    if args.confusion_plot:
        from merginguriel.utils.report import heatmaps

    classifier = Classifier(args.model, task)
    results = []
    for split in splits:
        folder = args.results_dir / naming.evaluation_name(name, split.locale, args.split)
        result = evaluate(classifier, split, folder, overwrite=args.overwrite)
        results.append(result)
        per_label.write_per_intent(result)
        if args.confusion_plot:
            heatmaps.draw_confusion(result, f"{classifier.path.name} on {split.locale}, {args.split}")
        low, high = result.interval
        print(
            f"{split.locale} {args.split} accuracy {result.accuracy:.4f} [{low:.4f}, {high:.4f}], macro-F1 "
            f"{result.macro_f1:.4f}, {len(result.correct)} items\n{folder / naming.RESULTS_JSON}",
            flush=True,
        )
        if args.per_intent:
            print(per_label.per_intent_table(result))
    if len(results) > 1:
        accuracy = sum(result.accuracy for result in results) / len(results)
        try:
            low, high = comparison.mean_interval(results)
            interval = f"[{low:.4f}, {high:.4f}], items resampled by id"
        except InputError:  # the results stand all the same
            interval = "without an interval: these locales do not share their ids"
        print(f"mean of {len(results)} locales {accuracy:.4f} {interval}")


if __name__ == "__main__":
    raise SystemExit(main())
