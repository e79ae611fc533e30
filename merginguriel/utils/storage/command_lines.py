"""What the commands are called: `merginguriel merge`, or the script that each is too, as this process was called."""

import re
import shlex
import sys
from pathlib import Path
from typing import Any

PROGRAM = "merginguriel"
# Name -> its script and what it does, in the order of the work.
COMMANDS = {
    "demo": ("demo", "the whole job on the shipped mini corpus, in minutes"),
    "doctor": ("doctor", "what is installed here, what is missing and what for"),
    "similarity": ("generate_sparse_similarity_unified", "build the language similarity matrices"),
    "train": ("training_bert", "fine-tune a source model"),
    "train-missing": ("train_missing_models", "fine-tune every source model that is missing"),
    "train-multilang": ("run_multilang_training", "fine-tune one model on all languages, or on all but one"),
    "copy-models": ("copy_models_to_haryos", "copy finished training runs to where merging finds them"),
    "train-iterative": ("run_iterative_training", "train in turn, merge every few epochs, go on from the merge"),
    "iterative-sweep": ("run_large_scale_iterative_training", "the same for many targets"),
    "merge": ("run_merging_pipeline_refactored", "merge sources for a target language and evaluate"),
    "merge-manual": ("run_merging_pipeline", "the same with your own weights"),
    "adapt": ("adapt_to_target", "adapt any model to a language by its unlabelled texts"),
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
NAMES = {f"{module}.py": name for name, (module, _) in COMMANDS.items()}
# Not within a path, and not what `shell_line` has said already.
_NAMED = re.compile(
    rf"(?<![-/.\w])(?:python {PROGRAM}/(?P<line>\w+\.py)|(?P<script>\w+\.py)"
    rf"|(?<!-m )(?<!python ){PROGRAM} (?P<name>{'|'.join(sorted(COMMANDS, reverse=True))}))(?![-/\w])"
)


def recorded_line(script: str, *tokens: Any) -> str:
    """The line of a command as files keep it: the same however the command was called."""
    return shlex.join([*_short(script), *map(str, tokens)])


def shell_line(script: str, *tokens: Any) -> str:
    """What a shell runs to call one of our scripts, in the form in which this process was called."""
    return shlex.join([*_words(script), *map(str, tokens)])


def as_called(text: str) -> str:
    """A text with commands in it, a line of a file or a message, that names them as this process was called."""

    def said(found: re.Match) -> str:
        script = found["line"] or found["script"] or f"{COMMANDS[found['name']][0]}.py"
        if script not in NAMES:
            return found[0]
        return title(script) if found["script"] else shlex.join(_words(script))

    return _NAMED.sub(said, text)


def title(script: str) -> str:
    """How help and messages name it: `merginguriel merge`, or the script where this process is a script."""
    words = _words(script)
    return script if words[-1].endswith(script) else " ".join(words)


def _short(script: str) -> list[str]:
    return [PROGRAM, NAMES[script]] if script in NAMES else ["python", f"{PROGRAM}/{script}"]


def _words(script: str) -> list[str]:
    if script not in NAMES:
        return _short(script)
    called = Path(sys.argv[0])
    if called.name in NAMES:
        # plot_results.py and quick_plot.py stand at the top of a checkout, too.
        package = called.parent if (called.parent / "_checkout.py").is_file() else called.parent / PROGRAM
        return ["python", str(package / script)]
    if called.name == "__main__.py":
        return ["python", "-m", PROGRAM, NAMES[script]]
    if called.is_dir():  # python merginguriel merge
        return ["python", str(called), NAMES[script]]
    return _short(script)
