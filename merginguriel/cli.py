"""`merginguriel <command> …` runs any of the scripts of this folder; a script's file name is a command, too."""

import importlib
import sys

from merginguriel.utils.flags.command import write_whatever_the_encoding

COMMANDS = {
    "demo": ("demo", "the whole job on the shipped mini corpus, in minutes"),
    "similarity": ("generate_sparse_similarity_unified", "build the language similarity matrices"),
    "train": ("training_bert", "fine-tune a source model"),
    "train-missing": ("train_missing_models", "fine-tune every source model that is missing"),
    "train-multilang": ("run_multilang_training", "fine-tune one model on all languages, or on all but one"),
    "copy-models": ("copy_models_to_haryos", "copy finished training runs to where merging finds them"),
    "train-iterative": ("run_iterative_training", "train in turn, merge every few epochs, go on from the merge"),
    "iterative-sweep": ("run_large_scale_iterative_training", "the same for many targets"),
    "merge": ("run_merging_pipeline_refactored", "merge sources for a target language and evaluate"),
    "merge-manual": ("run_merging_pipeline", "the same with your own weights"),
    "adapt": ("adapt_to_target", "adapt any model to a language by its unlabelled texts, and evaluate"),
    "sweep": ("run_large_scale_experiment", "merge for many targets, by many modes and numbers of sources"),
    "nxn": ("run_nxn_evaluation", "evaluate every source model on every locale"),
    "ensemble": ("uriel_ensemble_inference", "let sources vote on a target language, without merging"),
    "ensemble-sweep": ("run_large_scale_ensemble_experiments", "the same for many targets, with statistics"),
    "evaluate": ("evaluate_specific_model", "evaluate one model on one or more locales"),
    "aggregate": ("aggregate_results", "put every result into tables, beside fair baselines"),
    "plot": ("plot_results", "draw results, transfer and similarity"),
    "quick-plot": ("quick_plot", "the same, by a menu"),
    "report": ("report", "write one HTML page about all results"),
}


def main(argv=None) -> int:
    write_whatever_the_encoding()
    arguments = sys.argv[1:] if argv is None else list(argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        lines = [f"  {name:<16}{text}" for name, (_, text) in COMMANDS.items()]
        print("usage: merginguriel COMMAND [--help] …\n\ncommands:", *lines, sep="\n")
        return 0
    by_name = {word: module for name, (module, _) in COMMANDS.items() for word in (name, f"{module}.py")}
    if arguments[0] not in by_name:
        print(f"error: unknown command {arguments[0]!r}; one of {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    module = importlib.import_module(f"merginguriel.{by_name[arguments[0]]}")
    return module.main(arguments[1:])


if __name__ == "__main__":
    raise SystemExit(main())
