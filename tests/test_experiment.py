"""The experiment's file names commands that there are, and its runner does each once, in parts, and tells failures."""

import csv
import importlib
import json
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from auto_merge_llm.errors import InputError

from merginguriel.utils.storage import atomic
from merginguriel.utils.storage.command_lines import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "experiments/languages.yaml"
sys.path.insert(0, str(ROOT / "experiments"))
import collect  # noqa: E402
import run as runner  # noqa: E402
from kept import read_array, read_kept  # noqa: E402

SMALL = """
base: {base}
seeds: [42, 43]
corpora:
  mini:
    task: mini
    languages: af-ZA nl-NL de-DE
    training: --epochs 1
    share: 1
usual:
  train-missing: >-
    {{data}} --locales {{languages}} --models-root {{folder}}/models {{training}} {{more}}
    --additional-args --seed {{seed}} --max_train_samples 32 --max_predict_samples 32 --save_strategy no
  nxn: "{{data}} --locales {{languages}} --models-root {{folder}}/models {{more}}"
  ensemble-sweep: "{{data}} --target-languages {{targets}} --nxn-dir {{nxn_test}} {{more}}"
parts:
  sources:
    - run: train-missing
      seeds: first
  transfer:
    - run: nxn --results-dir {{folder}}/nxn_test
      seeds: first
  votes:
    - run: ensemble-sweep --results-dir {{folder}}/votes --num-languages {{number}} --voting-methods soft
      seeds: first
      number: [1, 2]
    - run: ensemble-sweep --results-dir {{folder}}/votes --num-languages 9
      seeds: first
"""


@pytest.fixture
def small(tmp_path, tiny_base):
    """small(*flags) -> exit code of the runner on a little of everything."""
    file = tmp_path / "small.yaml"
    file.write_text(SMALL.format(base=tiny_base))
    return lambda *flags: runner.main([str(file), "--dir", str(tmp_path / "work"), "--workers", "2", *flags])


def listed(capsys) -> dict[str, list[list[str]]]:
    """Part -> its commands, of a dry run."""
    parts: dict[str, list[list[str]]] = {}
    for line in capsys.readouterr().out.splitlines():
        if line.startswith("# "):
            parts[line[2:]] = commands = []
        else:
            commands.append(shlex.split(line)[1:])
    return parts


def test_every_command_of_the_file_can_be_given(capsys):
    assert runner.main([str(FILE), "--dir", "work", "--base", "tiny", "--data", "massive=M", "--dry-run"]) == 0
    parts = listed(capsys)
    assert list(parts) == "sources transfer five votes choices methods numbers".split()
    for command, *flags in [line for lines in parts.values() for line in lines]:
        module = importlib.import_module(f"merginguriel.{COMMANDS[command][0]}")
        given = module.build_parser().parse_args(flags)  # which exits where a flag is wrong
        assert "{" not in " ".join(flags) and given.base_model == "tiny"
    # 49 targets of MASSIVE, four ways of choosing, two seeds: the two commands of each seed.
    modes = "--modes average similarity regmean regmean+vote"
    five = [" ".join(line) for line in parts["five"]]
    assert len(five) == 6 and all(modes in line for line in five)
    assert sum("--task massive" in line and "--seed 43" in line for line in five) == 2
    # What a run says itself counts.
    own = [line for line in parts["sources"] if any(word.endswith("/own") for word in line)]
    assert len(own) == 2 and all(
        line.index("--additional-args") > len(line) - 1 - line[::-1].index("--models-root") for line in own
    )


def test_languages_of_the_file_are_those_of_the_tasks():
    import yaml

    from merginguriel.utils.data.massive_languages import DEFAULT_LOCALES

    massive, sib = yaml.safe_load(FILE.read_text())["corpora"].values()
    assert massive["languages"].split() == list(DEFAULT_LOCALES) and "targets" not in massive
    sources, targets = set(sib["languages"].split()), set(sib["targets"].split())
    assert (len(sources), len(targets), sources & targets) == (20, 50, set())


def test_parts_are_done_once_and_failures_are_named(small, tmp_path, capsys):
    assert small("--parts", "sources") == 0
    models = {file: file.stat().st_mtime_ns for file in tmp_path.glob("work/mini*/models/*/model.safetensors")}
    assert len(models) == 3
    assert small() == 1
    failed = capsys.readouterr().err
    assert failed.count("failed: ") == 1 and "--num-languages 9" in failed
    log = re.search(r"; (\S+) says why", failed)[1]
    assert "--num-languages 9, but" in Path(log).read_text()
    assert {file: file.stat().st_mtime_ns for file in models} == models
    made = sorted(file.parent.name for file in tmp_path.glob("work/mini_42/votes/*/results.json"))
    assert len(made) == 2 * 3 and not list(tmp_path.glob("work/mini_43/votes"))
    told = json.loads((tmp_path / "work/run.json").read_text())
    assert [len(told[part]) for part in ("sources", "transfer", "votes")] == [2, 1, 1]
    assert told["votes"][0]["workers"] == 2 and len(told["votes"][0]["commands"]) == 3

    collect.main([str(tmp_path / "work"), "--output", str(tmp_path / "kept")])
    assert_kept_is_what_was_answered(tmp_path)


def test_settings_of_the_adaptation_are_tried_on_validation_items(source_copies, tmp_path, monkeypatch):
    import tune_adaptation

    from merginguriel import evaluate, run_nxn_evaluation

    work, base = tmp_path / "work/mini_42", ["--task", "mini", "--base-model", "tiny"]
    work.mkdir(parents=True)
    source_copies.rename(work / "models")
    given = [str(work), *base, "--targets", "af-ZA", "--num-languages", "2", "--output", str(tmp_path / "tuned.csv")]
    with pytest.raises(InputError, match="has no finished nxn_train"):
        tune_adaptation.main(given)
    nxn = ["--models-root", str(work / "models"), "--split", "train", "--results-dir", str(work / "nxn_train")]
    assert run_nxn_evaluation.main([*base, *nxn, "--targets", "af-ZA"]) == 0
    monkeypatch.setattr(tune_adaptation, "TRIALS", {"20": ["--adapt-batch-size 4", "--adapt-lr 1e-5"]})
    with pytest.raises(InputError, match="no trial with 20 texts"):
        tune_adaptation.main([*given, "--containing", "rounds"])
    assert tune_adaptation.main([*given, "--containing", "batch"]) == 0
    rows = list(csv.DictReader((tmp_path / "tuned.csv").open()))
    assert [(row["texts"], row["flags"]) for row in rows] == [("", "before adaptation"), ("20", "--adapt-batch-size 4")]
    for row, place in zip(rows, ("merged", "20--adapt-batch-size4")):
        scored = evaluate(work / "tuning" / place / "af-ZA", "af-ZA", task="mini", split="validation").accuracy
        assert float(row["mean"]) == float(row["af-ZA"]) == pytest.approx(scored, abs=1e-4)
    # No test item was read: but for the N×N of train texts nothing was evaluated.
    assert {file.relative_to(work).parts[0] for file in work.rglob("results.json")} == {"nxn_train"}


def assert_kept_is_what_was_answered(folder):
    kept, labels = read_kept(folder / "kept/mini_42"), read_array(folder / "kept/mini_labels.npy.xz")
    assert [(row.part, row.mode, row.number) for row in kept.rows] == [
        ("votes", "ensemble_soft", 1),
        ("votes", "ensemble_soft", 2),
    ] * 3
    for row, answers in zip(kept.rows, kept.answers):
        given = atomic.read_json(folder / "work/mini_42/votes" / row.name / "results.json")
        assert (answers == labels).mean() == pytest.approx(given["performance"]["accuracy"])
        assert row.target == given["experiment"]["target"] and len(row.sources.split()) == row.number
        assert float(row.seconds) >= 0
    right = (kept.transfer_answers == labels).mean(-1)
    assert kept.transfer.values == pytest.approx(right, abs=1e-6)


@pytest.mark.parametrize(
    "flags, says",
    [
        (["--parts", "fiev"], "--parts fiev: "),
        (["--corpora", "masive"], "--corpora masive: "),
        (["--data", "masive=x"], "--data masive: "),
        (["--data", "mini"], "--data mini: give CORPUS=DIR"),
    ],
)
def test_what_the_file_does_not_have_is_refused(flags, says, small, tmp_path, capsys):
    assert small(*flags) == 2
    assert capsys.readouterr().err.startswith(f"error: {says}") and not (tmp_path / "work").exists()


def test_a_language_that_data_or_matrix_lack_is_refused_at_once(small, tmp_path, capsys):
    file, matrix = tmp_path / "small.yaml", tmp_path / "matrix.csv"
    matrix.write_text(",af-ZA,nl-NL\naf-ZA,1,.5\nnl-NL,.5,1\n")
    assert small("--matrix", str(matrix)) == 2
    assert "unknown locale 'de-DE' in" in capsys.readouterr().err
    assert small("--matrix", str(tmp_path)) == 2
    assert capsys.readouterr().err == f"error: cannot read {tmp_path}: Is a directory\n"
    data = tmp_path / "data"  # declared by the task of MASSIVE, of which it has a part
    data.mkdir()
    for code in ("af-ZA", "nl-NL"):
        (data / f"{code}.jsonl").touch()
    small_text = file.read_text()
    file.write_text(small_text.replace("task: mini", "task: massive"))
    assert small("--data", f"mini={data}") == 2
    assert f"unknown locale 'de-DE' in {data}" in capsys.readouterr().err
    file.write_text(small_text.replace("de-DE", "xx-XX"))
    assert small() == 2
    assert "unknown locale 'xx-XX' in" in capsys.readouterr().err and not (tmp_path / "work").exists()


@pytest.mark.parametrize(
    "wrong, says",
    [("corpus: masive", "is on 'masive', which is no corpus"), ("seeds: frist", "are all, or first"),
     ("run: nxn --results-dir {foldr}", "{foldr} stands for nothing")],
)  # fmt: skip
def test_a_file_with_a_typo_is_refused(wrong, says, tmp_path, capsys):
    file = tmp_path / "wrong.yaml"
    run = "" if wrong.startswith("run") else "run: nxn\n      "
    file.write_text(SMALL.format(base="tiny") + f"  typo:\n    - {run}{wrong}\n")
    assert runner.main([str(file), "--dir", str(tmp_path / "work"), "--dry-run"]) == 2
    assert says in capsys.readouterr().err


def test_a_part_that_is_on_other_seeds_has_nothing_to_do(small, tmp_path):
    assert small("--parts", "votes", "--seeds", "43") == 0
    assert json.loads((tmp_path / "work/run.json").read_text())["votes"][0]["commands"] == []


@pytest.mark.parametrize("workers", range(1, 20))
def test_workers_are_shared_out_and_no_more(workers):
    given = runner.shared_out(workers, [5, 5, 1, 1])
    assert sum(given) == max(4, workers) and min(given) >= 1 and given[0] >= given[2]
    if workers == 12:
        assert given == [5, 5, 1, 1]


def test_paths_are_those_of_where_the_command_is_given(tmp_path, monkeypatch, capsys):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    assert runner.main([str(FILE), "--dir", "work", "--base", "here", "--data", "massive=here", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert f"--dataset-name {tmp_path}/here --base-model {tmp_path}/here" in said


def test_a_stop_reaches_the_commands_and_is_told(small, tmp_path):
    paths = [str(ROOT / one) for one in (".", "experiments", "submodules/auto_merge_llm")]
    given = [str(tmp_path / "small.yaml"), "--dir", str(tmp_path / "work")]
    script = f"import sys; sys.path[:0] = {paths}; import run; sys.exit(run.main({given}))"
    process = subprocess.Popen(
        [sys.executable, "-c", script], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    logs = tmp_path / "work/logs"
    while not [log for log in logs.glob("sources_*") if log.stat().st_size > 10]:
        assert process.poll() is None
        time.sleep(0.05)
    time.sleep(1)
    start = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "interrupted; run the same command again" in errors
    assert time.monotonic() - start < 20
    assert json.loads((tmp_path / "work/run.json").read_text())["sources"][0]["state"] == "stopped"


def test_rankings_are_of_all_languages_and_chance_knows_nothing():
    from rankings import HERE

    from merginguriel.utils.similarity.matrix import read_matrix

    chance, english, geography = (read_matrix(HERE / f"{name}.csv") for name in ("chance", "english", "geography"))
    assert chance.targets == english.targets == geography.targets and len(chance.targets) == 49
    assert {next(iter(english.for_target(target))) for target in english.targets if target != "en-US"} == {"en-US"}
    assert list(geography.for_target("jv-ID"))[:2] == ["ms-MY", "id-ID"]
    firsts = {next(iter(chance.for_target(target))) for target in chance.targets}
    assert len(firsts) > 20
