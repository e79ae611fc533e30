"""Train each tiny model of tests/encoder_kinds.py on a GPU with --cuda-graphs and without, and compare the losses.

    PYTHONPATH=.:submodules/auto_merge_llm python tests/try_cuda_graphs.py      # writes docs/results/cuda_graphs.csv
    PYTHONPATH=.:submodules/auto_merge_llm python tests/test_encoders.py        # then writes the table of the page

Every kind is tried in a process of its own: a capture that fails may leave the GPU's context unusable.
"""

import argparse
import csv
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "docs/results/cuda_graphs.csv"
TOLERANCE = 0.02  # of the mean loss; batches are padded to other lengths, and sums are taken in another order


def try_kind(name: str, folder: Path) -> tuple[str, float | None, float]:
    """(outcome, mean loss with graphs, without)"""
    from auto_merge_llm.errors import InputError
    from encoder_kinds import KINDS, LOCALES, make_base

    from merginguriel.utils.data.massive import MINI_TASK
    from merginguriel.utils.models.store import ModelStore
    from merginguriel.utils.training.settings import TrainingRun, TrainingSettings, TrainingSteps
    from merginguriel.utils.training.train import train

    store = ModelStore(str(make_base(KINDS[name], folder / "base", dropout=False)), MINI_TASK, folder)

    def mean_loss(graphs: bool) -> float:
        settings = TrainingSettings(
            per_device_train_batch_size=32,
            learning_rate=1e-3,
            num_train_epochs=2,
            save_strategy="no",
            eval_strategy="no",
            load_best_model_at_end=False,
            cuda_graphs=graphs,
        )
        run = TrainingRun(MINI_TASK, store, (LOCALES[0],), folder / f"graphs-{graphs}", settings)
        return train(run, TrainingSteps(do_train=True))["train_loss"]

    plain = mean_loss(False)
    try:
        graphed = mean_loss(True)
    except InputError as error:
        reason = re.search(r"\((.*)\)", str(error))
        return f"no: {reason[1] if reason else error}", None, plain
    near = abs(graphed - plain) <= TOLERANCE * plain
    return "yes" if near else f"no: the loss is {graphed:.3f} in place of {plain:.3f}", graphed, plain


def main() -> None:
    from encoder_kinds import KINDS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=KINDS, help="only this one, and print what was seen")
    parser.add_argument("--output", type=Path, default=RESULT)
    args = parser.parse_args()
    if args.kind:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(try_kind(args.kind, Path(folder))))
        return
    rows = []
    for name in KINDS:
        done = subprocess.run([sys.executable, __file__, "--kind", name], capture_output=True, text=True)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
            outcome, graphed, plain = f"no: {last}", None, None
        else:
            outcome, graphed, plain = json.loads(done.stdout.strip().splitlines()[-1])
        rows.append({"kind": name, "outcome": outcome, "loss with graphs": graphed, "loss without": plain})
        print(f"{name}: {outcome} ({graphed}, {plain})", flush=True)
    with open(args.output, "w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
