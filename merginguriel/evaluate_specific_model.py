"""Evaluate one local model folder on a MASSIVE locale: accuracy with a 95 % Wilson interval, macro-F1."""

from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel.utils import arguments, naming
from merginguriel.utils.errors import command


def build_parser():
    parser = arguments.ArgumentParser(prog="evaluate_specific_model.py", description=__doc__)
    parser.add_argument("--base-model", "--model-path", dest="model", type=Path, required=True, metavar="DIR",
                        help="folder of the model; its config.json must have id2label")
    parser.add_argument("--locale", type=arguments.locale, required=True, metavar="LOC",
                        help="locale to evaluate on")
    parser.add_argument("--split", choices=["test", "validation", "train"], default="test",
                        help="which items")
    parser.add_argument("--prefix", metavar="NAME", help="of the result's folder (default: the model's name)")
    parser.add_argument("--results-dir", type=Path, default=naming.RESULTS_ROOT, metavar="DIR",
                        help="where results go")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing result")
    arguments.add_data(parser)
    return parser


@command
def main(argv=None):
    args = build_parser().parse_args(argv)

    from merginguriel.utils import massive, models

    models.read_labels(args.model)
    split = massive.load_split(args.dataset_name, args.locale, args.split, args.text_column, args.label_column)

    from merginguriel.utils.evaluation import evaluate_folder

    # A path such as . or models/ has a name only when resolved.
    name = args.prefix or args.model.resolve().name
    if Path(name).name != name or name == "..":
        raise InputError(f"--prefix {name} is not a plain name; use --results-dir for another place")
    folder = args.results_dir / naming.evaluation_name(name, args.locale, args.split)
    result = evaluate_folder(args.model, split, args.dataset_name, folder, overwrite=args.overwrite)
    low, high = result.interval
    print(f"{args.locale} {args.split} accuracy {result.accuracy:.4f} [{low:.4f}, {high:.4f}], macro-F1 "
          f"{result.macro_f1:.4f}, {len(result.correct)} items\n{folder / 'results.json'}")


if __name__ == "__main__":
    raise SystemExit(main())
