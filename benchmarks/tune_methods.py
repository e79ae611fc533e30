"""Every method under several settings, on the targets' dev split; test accuracy only of the defaults and the winners.

The sources of a target are loaded once; every setting is merged in memory and scored there. A setting wins by its mean
dev accuracy over the targets. Run benchmarks/merge_accuracy.py first: it trains the sources.

    python benchmarks/tune_methods.py --base-model DIR/me5-small-xlmr --dataset-name DIR/massive \
        --models-root merge_accuracy/haryos_model --similarity-matrix merge_accuracy/dense.csv --output tuning.json
"""

import argparse
import json
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from auto_merge_llm.methods import create
from auto_merge_llm.methods.fisher_dataset import shared_dataloader
from auto_merge_llm.stream import merge_state_dicts
from tqdm import tqdm

from merginguriel.utils import arguments, calculators, massive, measuring, models, naming, scoring
from merginguriel.utils.statistics import wilson_interval

# Method -> settings, the first its defaults. "scope" and "num_examples" are of the text, the rest the method's own.
GRID = {
    "linear": [{}],
    "slerp": [{}], "karcher": [{}], "fisher_simple": [{}], "widen": [{}], "stock": [{}],
    "task_arithmetic": [{}, {"scaling": 0.2}, {"scaling": 0.25}, {"scaling": 0.4}],
    "ties": [{}, {"density": 0.5}, {"density": 1.0}, {"scaling": 0.7}],
    "dare": [{}, {"drop_rate": 0.1}],
    "dare_ties": [{}, {"density": 1.0}, {"drop_rate": 0.1, "density": 1.0}, {"density": 1.0, "scaling": 0.5}],
    "breadcrumbs": [{}, {"scaling": 0.5}, {"beta": 0.5}, {"beta": 0.994, "scaling": 0.3}, {"beta": 1.0, "gamma": 0.0}],
    "fisher_dataset": [{}, {"floor": 0.1}, {"floor": 1.0}, {"normalize": False}, {"scope": "sources"}],
    "regmean": [{}, {"alpha": 0.5}, {"alpha": 1.0}, {"ridge": 0.1}, {"scope": "sources"}],
    "adamerging": [{}, {"learning_rate": 1e-2}, {"per": "model", "learning_rate": 1e-2}],
}


def build_parser():
    parser = arguments.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_base_model(parser)
    arguments.add_models_root(parser)
    arguments.add_data(parser, text_column=False)
    parser.add_argument("--targets", type=arguments.locale_list, default=["af-ZA", "id-ID", "de-DE"])
    parser.add_argument("--methods", nargs="+", choices=GRID, default=list(GRID))
    parser.add_argument("--num-languages", type=arguments.positive_int, default=5)
    parser.add_argument("--similarity-matrix", type=Path, help="CSV of cosines, where lang2vec is not installed")
    parser.add_argument("--seed", type=arguments.seed, default=42)
    parser.add_argument("--output", type=Path, default=Path("tuning.json"), help="written after each target")
    return parser


class Target:
    """The sources of one target on the device, and everything that is made of them."""

    def __init__(self, args, target: str):
        self.args, self.target = args, target
        base_model = arguments.base_model_of(args.base_model, args.dataset_name)
        found = models.available_models(args.models_root, base_model)
        options = calculators.SimilarityOptions("cosine", matrix=args.similarity_matrix)
        scores = calculators.select_sources(calculators.similarity_matrix(options), target, args.num_languages, found)
        self.device = scoring.default_device()
        self.sources = {locale: models.load_classifier(found[locale], self.device, torch.float32)[0]
                        for locale in scores}
        self.states = {locale: model.state_dict() for locale, model in self.sources.items()}
        initial = args.models_root / naming.initial_name(base_model, args.seed)
        self.model, self.tokenizer = models.load_classifier(initial, self.device, torch.float32)
        self.base = {name: values.clone() for name, values in self.model.state_dict().items()}
        self.judge = models.load_classifier(initial, self.device, scoring.evaluation_dtype(self.device))[0]
        self.intents = np.array([massive.LABEL_OF[label] for label in models.read_labels(initial)])
        self.autocast = torch.bfloat16 if self.device == "cuda" else None
        self.weights = dict.fromkeys(scores, 1 / len(scores))
        self.measured = {}

    def batches(self, setting: dict, **options):
        examples = measuring.draw_examples(measuring.MeasuringOptions(
            self.args.dataset_name, scope=setting.get("scope", "target"),
            num_examples=setting.get("num_examples", 1000)), self.target, list(self.sources), self.args.seed)
        return shared_dataloader(self.tokenizer, examples.texts, examples.labels, **options)

    def merge(self, name: str, setting: dict) -> dict:
        hyperparameters = {key: value for key, value in setting.items() if key not in ("scope", "num_examples")}
        method, measurements = create(name, **hyperparameters), None
        if "seed" in {field.name for field in fields(method)}:
            method = create(name, **hyperparameters, seed=self.args.seed)
        if method.learns:
            method = method.learn(self.model, self.states, self.base,
                                  self.batches(setting, shuffle_seed=self.args.seed), self.weights,
                                  autocast=self.autocast)
        if method.measurement:
            key = (method.measurement, setting.get("estimator"), setting.get("scope"), setting.get("num_examples"))
            if key not in self.measured:
                self.measured[key] = {locale: method.measure(model, self.batches(setting), autocast=self.autocast)
                                      for locale, model in self.sources.items()}
            measurements = self.measured[key]
        return merge_state_dicts(method, self.states, self.weights, base=self.base if method.needs_base else None,
                                 measurements=measurements)

    def correct(self, state: dict, split_name: str) -> np.ndarray:
        split = massive.load_split(self.args.dataset_name, self.target, split_name)
        self.judge.load_state_dict(state)
        ids = scoring.tokenise(self.tokenizer, split.texts, models.longest_input(self.judge, scoring.MAX_TOKENS))
        scores = scoring.logits(self.judge, ids, self.tokenizer.pad_token_id)
        return self.intents[scores.argmax(-1)] == np.array(split.labels)


def main(argv=None):
    args = build_parser().parse_args(argv)
    jobs = [(name, setting) for name in args.methods for setting in GRID[name]]
    dev, test, labels = {}, {}, [label(*job) for job in jobs]
    for name in args.targets:
        target = Target(args, name)
        dev[name], test[name] = {}, {}
        for job in tqdm(jobs, desc=name):
            state = target.merge(*job)
            dev[name][label(*job)] = float(target.correct(state, "dev").mean())
            # Read now because the merge is gone later; shown only for defaults and winners.
            correct = target.correct(state, "test")
            test[name][label(*job)] = [int(correct.sum()), len(correct)]
            args.output.write_text(json.dumps({"dev": dev, "test": test}, indent=1) + "\n")
        del target
    mean = {job: float(np.mean([dev[name][job] for name in args.targets])) for job in labels}
    print("| setting | " + " | ".join(f"dev {name}" for name in args.targets) + " | dev mean | "
          + " | ".join(f"test {name}" for name in args.targets) + " |\n|" + "---|" * (2 * len(args.targets) + 2))
    for name in args.methods:
        own = [label(name, setting) for setting in GRID[name]]
        shown = {own[0], max(own, key=mean.get)}
        for job in own:
            tests = [f"{hits / total:.4f} ({wilson_interval(hits, total)[0]:.3f} to {wilson_interval(hits, total)[1]:.3f})"
                     if job in shown else "" for hits, total in (test[target][job] for target in args.targets)]
            print(f"| {job} | " + " | ".join(f"{dev[target][job]:.4f}" for target in args.targets)
                  + f" | {mean[job]:.4f} | " + " | ".join(tests) + " |")
    print(f"written: {args.output}", file=sys.stderr)


def label(name: str, setting: dict) -> str:
    return " ".join([name, *(f"{key} {value}" for key, value in setting.items())])


if __name__ == "__main__":
    main()
