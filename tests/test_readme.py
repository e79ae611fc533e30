"""Every command that the README shows runs as written, plus flags that put small things in place of large ones.

And the results' means are those of their tables.
"""

import json
import re
import shlex
import shutil

import pytest
from made_results import write_merge
from running import ROOT

from merginguriel import cli
from merginguriel.utils.data import massive, mini
from merginguriel.utils.flags.parser import ArgumentParser
from merginguriel.utils.storage.command_lines import COMMANDS

README = (ROOT / "README.md").read_text(encoding="utf-8")
# The defaults need the Hub; these stand in for it.
SMALL = {
    "train": "--model_name_or_path {base} --dataset_name mini --max_train_samples 32 "
    "--max_eval_samples 16 --max_predict_samples 16 --num_train_epochs 1",
    "train-missing": "--base-model {base} --dataset-name mini --additional-args --max_steps 2",
    "train-multilang": "--base-model {base} --dataset-name mini --locales af-ZA,nl-NL,de-DE "
    "--additional-args --max_steps 2",
    "copy-models": "",
    "merge": "--dataset-name mini --base-model xlm-roberta-base",
    "merge-manual": "--dataset-name mini --base-model xlm-roberta-base",
    "sweep": "--dataset-name mini --base-model xlm-roberta-base --num-fisher-examples 40",
    "evaluate": "--dataset-name mini",
    "doctor": "",
    "nxn": "--dataset-name mini --base-model xlm-roberta-base",
    "ensemble": "--dataset-name mini --base-model xlm-roberta-base",
    "ensemble-sweep": "--dataset-name mini --base-model xlm-roberta-base",
    "adapt": "--task mini --base-model xlm-roberta-base --adapt-examples 64 --adapt-rounds 1",
    "similarity": "",
    "train-iterative": "--dataset-name mini --model-name-or-path {base} --max-epochs 1 --max-train-samples 32",
    "iterative-sweep": "--dataset-name mini --model-name-or-path {base} --max-epochs 1 "
    "--max-train-samples 32 --workers 1",
    "aggregate": "",
    "report": "",
    "plot": "",
    "quick-plot": "",
}


# The mini corpus has no French.
STANDS_FOR = {"fr-FR": "af-ZA"}


def commands(page: str = README) -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [" ".join(line.split()) for line in lines if line.startswith("merginguriel ")]


def test_the_readme_shows_every_command():
    shown = {shlex.split(command)[1] for command in commands()}
    assert shown == set(SMALL) == COMMANDS.keys() - {"demo"}


@pytest.fixture
def workspace(models_root, tmp_path):
    """haryos_model/ with five sources under the names that xlm-roberta-base's have, and a run beside it."""
    for locale, made_from in {
        "nl-NL": "nl-NL",
        "de-DE": "de-DE",
        "en-US": "en-US",
        "id-ID": "id-ID",
        "es-ES": "en-US",
    }.items():
        shutil.copytree(
            models_root / f"tiny_massive_k_{made_from}", tmp_path / f"haryos_model/xlm-roberta-base_massive_k_{locale}"
        )
    run = tmp_path / "checkpoint_results/xlm-roberta-base_massive_af-ZA_lr5e-5_ep15"
    shutil.copytree(models_root / "tiny_massive_k_nl-NL", run)
    (run / "training.json").write_text("{}")
    write_merge(tmp_path / "results", "similarity", "sq-AL", {"nl-NL": 1.0}, "10")
    of_ones_own(models_root, tmp_path)
    return tmp_path


def of_ones_own(models_root, folder):
    """The task and the models of the command that merges one's own: the mini corpus's under other names."""
    sources = {"spanish": "nl-NL", "english": "de-DE", "portuguese": "en-US", "portuguese-float16": "en-US"}
    for name, source in sources.items():
        shutil.copytree(models_root / f"tiny_massive_k_{source}", folder / "models" / name)
    shutil.copytree(models_root / "tiny_massive_k_id-ID", folder / "models/guarani-adapter")
    rows = "".join(f"{json.dumps({**row, 'locale': 'quy_Latn'})}\n" for row in mini.records("af-ZA"))
    (folder / "quy_Latn.jsonl").write_text(rows, encoding="utf-8")
    told = {"name": "topics", "data": ".", "text": "utt", "label": "intent", "labels": list(massive.INTENTS)}
    (folder / "topics.yaml").write_text(json.dumps(told), encoding="utf-8")


@pytest.mark.parametrize("command", commands())
def test_command_runs(run, workspace, tiny_base, command):
    for target, stands_in in STANDS_FOR.items():
        command = command.replace(target, stands_in)
    _, name, *flags = shlex.split(command)
    if name == "train":
        shutil.rmtree(workspace / "haryos_model/xlm-roberta-base_massive_k_nl-NL")
    if "--adapt" in flags:
        flags += ["--adapt-examples", "64", "--adapt-rounds", "1"]
    if "--num-fisher-examples" in flags:
        flags += ["--num-fisher-examples", "40"]
    small = [] if "--task" in flags else shlex.split(SMALL[name].format(base=tiny_base))
    # As where it is not installed: the package's folder stands for the command.
    done = run("merginguriel", name, *flags, *small)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_commands_of_the_docs_have_the_flags_that_they_show(page, said_by, monkeypatch, tmp_path):
    """What they need is not here: they are read, and nothing is done."""

    class ReadError(Exception):
        pass

    def read(parser, argv=None, namespace=None):
        parse(parser, argv, namespace)
        raise ReadError

    (tmp_path / "sweep.yaml").write_text("{}")
    parse = ArgumentParser.parse_args
    monkeypatch.setattr(ArgumentParser, "parse_args", read)
    for command in commands(page.read_text(encoding="utf-8")):
        words = shlex.split(command.replace("$SLURM_ARRAY_TASK_ID", "1"), comments=True)[1:]
        try:
            code, _, error = said_by(cli.main, *words)
        except ReadError:
            continue
        pytest.fail(f"{command}: {code}, {error}")


def test_links_and_paths_exist():
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert link.startswith("https://") or (ROOT / link).exists(), link


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_a_part_of_an_array_has_the_same_shards():
    """SLURM_ARRAY_TASK_COUNT is the number of tasks that were submitted this time."""
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for block in re.findall(r"```bash\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            assert "SLURM_ARRAY_TASK_COUNT" not in block and "SLURM_ARRAY_TASK_MAX" not in block
            if array := re.search(r"#SBATCH --array=1-(\d+)", block):
                assert re.search(r"--shard \$SLURM_ARRAY_TASK_ID/(\d+)", block)[1] == array[1]
