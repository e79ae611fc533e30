"""Every method under several settings: dev accuracy chooses, test accuracy of the defaults and of the choice is shown.

The sources of a target are loaded once; every setting is merged in memory and scored there. A setting is chosen by its
mean dev accuracy over the targets. What is done is not repeated, so the command also prints the table of finished runs.

    python benchmarks/tune_methods.py --base-model DIR/me5-small-xlmr --dataset-name DIR/massive \
        --models-root haryos_model --targets af-ZA,id-ID,de-DE --output tuning --workers 3
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from commands import call, languages
from tqdm import tqdm

from merginguriel.utils.data import language_arguments
from merginguriel.utils.evaluation.statistics import mcnemar, wilson_interval
from merginguriel.utils.flags import flag_groups
from merginguriel.utils.flags.parser import ArgumentParser
from merginguriel.utils.merging import selection
from merginguriel.utils.merging.examples import TextSettings, draw_examples
from merginguriel.utils.merging.settings import MergeSettings
from merginguriel.utils.models import devices, loading, model_folder, scoring, tokens
from merginguriel.utils.storage import argument_types, atomic

OF_TEXT = ("scope", "num_examples")
# Method -> settings, the first its defaults: those OF_TEXT, the rest the method's own.
GRID = {
    "linear": [{}],
    "slerp": [{}],
    "karcher": [{}],
    "fisher_simple": [{}],
    "widen": [{}],
    "stock": [{}],
    "task_arithmetic": [{}, {"scaling": 0.2}, {"scaling": 0.25}, {"scaling": 0.4}],
    "ties": [{}, {"density": 0.5}, {"density": 1.0}, {"scaling": 0.7}],
    "dare": [{}, {"drop_rate": 0.1}],
    "dare_ties": [{}, {"density": 1.0}, {"drop_rate": 0.1, "density": 1.0}, {"density": 1.0, "scaling": 0.5}],
    "breadcrumbs": [{}, {"scaling": 0.5}, {"beta": 0.5}, {"beta": 0.994, "scaling": 0.2}, {"beta": 1.0, "gamma": 0.0}],
    "fisher_dataset": [
        {},
        {"floor": 0.1},
        {"floor": 1.0},
        {"normalize": False},
        {"scope": "sources"},
        {"scope": "sources", "floor": 1.0},
    ],
    "regmean": [{}, {"alpha": 0.5}, {"alpha": 1.0}, {"ridge": 0.1}, {"scope": "sources"}],
    "adamerging": [{}, {"learning_rate": 1e-2}, {"per": "model", "learning_rate": 1e-2}],
}


def build_parser():
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flag_groups.add_store(parser)
    flag_groups.add_task(parser)
    parser.add_argument("--targets", type=language_arguments.locale_list, help="default: the task's first three")
    parser.add_argument("--methods", nargs="+", choices=GRID, default=list(GRID))
    parser.add_argument("--num-languages", type=argument_types.positive_int, default=5)
    parser.add_argument("--similarity-matrix", type=Path, help="CSV of cosines, where lang2vec is not installed")
    parser.add_argument("--seed", type=argument_types.seed, default=42)
    parser.add_argument("--workers", type=argument_types.positive_int, default=1, help="targets at a time")
    parser.add_argument("--output", type=Path, default=Path("tuning"), help="folder, written after each setting")
    return parser


class Target:
    """The sources of one target on the device, and everything that is made of them."""

    def __init__(self, args, target: str):
        import torch

        store = flag_groups.read_store(args)
        self.target, self.seed, self.task = target, args.seed, store.task
        found = store.available()
        choice = selection.SourceSettings(selection="cosine", matrix=args.similarity_matrix)
        among = selection.Neighbours(target, tuple(self.task.neighbours([target, *found])))
        matrix = selection.similarity_matrix(choice, among)
        scores = selection.select_sources(matrix, target, args.num_languages, found)
        self.device = devices.default_device()
        self.sources = {
            locale: loading.load_classifier(found[locale], self.device, torch.float32)[0] for locale in scores
        }
        self.states = {locale: model.state_dict() for locale, model in self.sources.items()}
        initial = store.initial(args.seed)
        self.model, self.tokenizer = loading.load_classifier(initial, self.device, torch.float32)
        self.base = {name: values.clone() for name, values in self.model.state_dict().items()}
        self.judge = loading.load_classifier(initial, self.device, devices.evaluation_dtype(self.device))[0]
        self.labels = model_folder.read_labels(initial, self.task)
        self.longest = loading.longest_input(self.model, self.task.max_tokens)
        self.autocast = torch.bfloat16 if self.device == "cuda" else None
        self.weights = dict.fromkeys(scores, 1 / len(scores))
        self.measured, self.items = {}, {}

    def batches(self, setting: dict, **options):
        from auto_merge_llm.methods.fisher_dataset import shared_dataloader

        texts = TextSettings(**{key: value for key, value in setting.items() if key in OF_TEXT})
        examples = draw_examples(self.task, texts, texts.locales(self.target, list(self.sources)), self.seed)
        labels = self.outputs(examples.labels)
        return shared_dataloader(self.tokenizer, examples.texts, labels, max_length=self.longest, **options)

    def outputs(self, labels: list[int]) -> list[int]:
        """The models' outputs that stand for labels of the task."""
        return [self.labels.index(self.task.labels[label]) for label in labels]

    def merge(self, name: str, setting: dict) -> dict:
        from auto_merge_llm.merge import merge_state_dicts
        from auto_merge_llm.methods.base import LearningMethod

        own = {key: value for key, value in setting.items() if key not in OF_TEXT}
        method, measurements = MergeSettings(name, self.target, hyperparameters=own, seed=self.seed).method, None
        if isinstance(method, LearningMethod):
            method = method.learn(
                self.model,
                self.states,
                self.base,
                self.batches(setting, shuffle_seed=self.seed),
                self.weights,
                autocast=self.autocast,
            )
        if method.measurement:
            key = (method.measurement, setting.get("estimator"), setting.get("scope"), setting.get("num_examples"))
            if key not in self.measured:
                self.measured[key] = {
                    locale: method.measure(model, self.batches(setting), autocast=self.autocast)
                    for locale, model in self.sources.items()
                }
            measurements = self.measured[key]
        return merge_state_dicts(
            method, self.states, self.weights, base=self.base if method.needs_base else None, measurements=measurements
        )

    def correct(self, state: dict, split_name: str) -> np.ndarray:
        if split_name not in self.items:
            split = self.task.load(self.target, split_name)
            self.items[split_name] = (
                np.array(self.outputs(split.labels)),
                tokens.tokenise(self.tokenizer, split.texts, self.longest),
            )
        labels, ids = self.items[split_name]
        self.judge.load_state_dict(state)
        scores = scoring.logits(self.judge, ids, self.tokenizer.pad_token_id)
        return scores.argmax(-1) == labels


def run_target(args, name: str) -> None:
    """Fill `<output>/<target>.npz`: by setting, or `alone <locale>`, which items of dev and test are right."""
    file = args.output / f"{name}.npz"
    done = dict(np.load(file)) if file.exists() else {}
    jobs = [(method, setting) for method in args.methods for setting in GRID[method]]
    missing = [job for job in jobs if f"test {label(*job)}" not in done]
    if not missing:
        return
    target = Target(args, name)

    def keep(called: str, state: dict) -> None:
        for split in ("dev", "test"):
            done[f"{split} {called}"] = target.correct(state, split)
        with atomic.beside(file) as partial, open(partial, "wb") as out:
            np.savez_compressed(out, **done)

    for locale, state in target.states.items():
        keep(f"alone {locale}", state)
    for job in tqdm(missing, desc=name):
        keep(label(*job), target.merge(*job))


def main(argv=None):
    args = build_parser().parse_args(argv)
    args.targets = languages(args.targets, flag_groups.read_task(args), 3)
    args.methods = list(dict.fromkeys(["linear", *args.methods]))  # the average that all are compared with
    args.output.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(args.workers, mp_context=get_context("spawn")) as pool:
        list(pool.map(run_target, [args] * len(args.targets), args.targets))
    print(table(args, {name: dict(np.load(args.output / f"{name}.npz")) for name in args.targets}))


def table(args, correct: dict[str, dict[str, np.ndarray]]) -> str:
    """Markdown: dev means of all settings, then test accuracies of the defaults and of the best by dev."""
    dev = {
        label(method, setting): np.mean([kept[f"dev {label(method, setting)}"].mean() for kept in correct.values()])
        for method in args.methods
        for setting in GRID[method]
    }
    lines = ["| setting | mean dev accuracy |", "|---|---|", *(f"| {job} | {mean:.4f} |" for job, mean in dev.items())]
    lines += [
        "",
        "| mode | " + " | ".join(f"{target} | against best source | against average" for target in correct) + " |",
        "|---|" + "---|" * (3 * len(correct)),
    ]
    alone = {}
    for target, kept in correct.items():
        sources = {job.removeprefix("test "): right for job, right in kept.items() if job.startswith("test alone")}
        alone[target] = max(sources.items(), key=lambda pair: pair[1].mean())
    shown = ["best source"]
    for method in args.methods:
        own = [label(method, setting) for setting in GRID[method]]
        shown += dict.fromkeys([own[0], max(own, key=dev.get)])
    for job in shown:
        cells = []
        for target, kept in correct.items():
            best_name, best = alone[target]
            right = best if job == "best source" else kept[f"test {job}"]
            low, high = wilson_interval(int(right.sum()), len(right))
            cells.append(
                f"{right.mean():.4f} ({low:.3f} to {high:.3f})"
                + (f" {best_name.removeprefix('alone ')}" if job == "best source" else "")
            )
            cells += [against(right, best), against(right, kept["test linear"])]
        lines.append(f"| {job} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def against(right: np.ndarray, other: np.ndarray) -> str:
    """Points of accuracy, and the exact McNemar p where they differ."""
    if right is other or (right == other).all():
        return ""
    return f"{100 * (right.mean() - other.mean()):+.1f} (p {mcnemar(right, other):.1g})"


def label(method: str, setting: dict) -> str:
    return " ".join([method, *(f"{key} {value}" for key, value in setting.items())])


if __name__ == "__main__":
    call(main)
