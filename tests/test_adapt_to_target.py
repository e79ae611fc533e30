"""The command that adapts, as a user runs it: one target, several as jobs, kills, interrupts, wrong flags."""

import logging
import re
import shutil
import signal
import time

import numpy as np
import pytest
from auto_merge_llm.errors import InputError
from scipy.special import softmax
from tables import whole_rows

from merginguriel import adapt_to_target, run_merging_pipeline_refactored
from merginguriel.utils.adaptation.adapt_job import AdaptOutput, adaptation_job
from merginguriel.utils.adaptation.run import AdaptRun
from merginguriel.utils.adaptation.settings import AdaptSettings
from merginguriel.utils.data.massive import MINI_TASK
from merginguriel.utils.evaluation.evaluation_job import precision_on
from merginguriel.utils.evaluation.predictions import read_predictions
from merginguriel.utils.storage import atomic

SCRIPT = "merginguriel/adapt_to_target.py"
WORDS = "_adapt-vote_examples32_epochs1_lr0.01_batch8"
QUICK = ["--task", "mini", "--adapt-examples", 32, "--adapt-epochs", 1, "--adapt-lr", 1e-2, "--adapt-batch-size", 8]


@pytest.fixture
def said(said_by):
    """said(*flags) -> (exit code, stdout, stderr), in this process."""
    return lambda *flags, main=adapt_to_target.main: said_by(main, *flags)


@pytest.fixture
def merged(said, models_root):
    """merged(target): the folder of an average of two sources."""

    def make(target):
        flags = ["--mode", "average", "--target-lang", target, "--sources", "nl-NL,de-DE", "--task", "mini"]
        where = ["--base-model", "tiny", "--models-root", models_root, "--output-dir", f"average_{target}"]
        code, _, err = said(*flags, *where, "--no-eval", main=run_merging_pipeline_refactored.main)
        assert code == 0, err
        return f"average_{target}"

    return make


def result(tmp_path, name):
    return atomic.read_json(tmp_path / "results" / name / "results.json")


def test_one_target(said, merged, tmp_path, models_root):
    model = merged("af-ZA")
    code, out, err = said("--model", model, "--target-lang", "af-ZA", *QUICK)
    assert code == 0, err
    name = f"average_af-ZA{WORDS}"
    told = result(tmp_path, name)
    rows = {line.split("  ")[0]: line for line in whole_rows(out)}
    assert f"{told['performance']['accuracy']:8.4f}" in rows[name] and f"adapted model: merged_models/{name}" in out
    assert "(the model before)" in rows[f"{model}, before"]
    # The merge's own sources have taught, and the merge is what results tell of it.
    experiment = told["experiment"]
    assert experiment["mode"] == "average" and [one["locale"] for one in experiment["sources"]] == ["nl-NL", "de-DE"]
    assert [one["locale"] for one in experiment["adapt"]["teachers"]] == ["de-DE", "nl-NL"]
    run = atomic.read_json(tmp_path / "merged_models" / name / "adaptation.json")["run"]
    assert experiment["adapt"] == run | {"examples": 32}
    # The vote, from what each teacher alone has kept.
    kept = [
        read_predictions(tmp_path / "results" / f"tiny_massive_k_{code}_af-ZA/predictions.npz")
        for code in ("de-DE", "nl-NL")
    ]
    voted = sum(softmax(one["logits"].astype(np.float64), -1) for one in kept).argmax(-1)
    assert f"{(voted == kept[0]['labels']).mean():8.4f}" in rows["vote of 2 teachers"]
    card = (tmp_path / "merged_models" / name / "README.md").read_text()
    assert f"Test accuracy on af-ZA, mini: {told['performance']['accuracy']:.4f}" in card
    # The same again does nothing; other settings do not take its place.
    weights = tmp_path / "merged_models" / name / "model.safetensors"
    written = weights.stat().st_mtime_ns
    assert said("--model", model, "--target-lang", "af-ZA", *QUICK)[:2] == (0, out)
    assert weights.stat().st_mtime_ns == written
    code, _, err = said(
        "--model", model, "--target-lang", "af-ZA", *QUICK, "--sharpen", 3, "--output-dir", weights.parent
    )
    assert code == 2 and "is not this adaptation; use --overwrite" in err


def test_several_targets_are_jobs(said, merged, tmp_path, models_root):
    for target in ("af-ZA", "fi-FI"):
        merged(target)
    flags = ["--model", "average_{target}", "--targets", "af-ZA", "fi-FI", "tr-TR", *QUICK]
    code, out, err = said(*flags)
    assert code == 1 and "failed: tr-TR: no model folder average_tr-TR" in err, err
    lines = [line.split() for line in out.splitlines()]
    for target in ("af-ZA", "fi-FI"):
        name = f"average_{target}{WORDS}"
        adapted, before = (
            result(tmp_path, one)["performance"]["accuracy"] for one in (name, f"average_{target}_{target}")
        )
        row = next(line for line in lines if line[0] == target)
        assert row[1] == f"{before:.4f}" and row[3] == f"{adapted:.4f}"
    assert "over the vote, above it on" in out and "8 done, 0 done before, 1 failed" in out
    assert "0 done, 8 done before" in said(*flags)[1]
    assert said(*flags, "--shard", "2/3", "--no-eval")[1].splitlines()[0].endswith("fi-FI" + WORDS)
    listed = atomic.read_json(tmp_path / "results/adaptation_final_results.json")
    assert listed["detailed_results"] == {"af-ZA": {"adapt_vote": True}, "fi-FI": {"adapt_vote": True}}


def test_a_joint_model_teaches_itself_or_is_taught(said, tmp_path, models_root):
    joint = models_root / "tiny_massive_k_id-ID"
    code, out, err = said(
        "--model", joint, "--targets", "af-ZA", "fi-FI", "--adapt", "self", *QUICK, "--no-eval", "--seed", 7
    )
    assert code == 0 and len(out.splitlines()) == 3, err
    name = f"tiny_massive_k_id-ID_fi-FI{WORDS.replace('vote', 'self')}_seed7"
    told = atomic.read_json(tmp_path / "merged_models" / name / "adaptation.json")
    assert told["run"]["teachers"] == [] and told["run"]["seed"] == 7 and not (tmp_path / "results").exists()
    taught = ["--teachers", "nl-NL,en-US", "--base-model", "tiny", "--models-root", models_root]
    code, out, _ = said("--model", joint, "--target-lang", "af-ZA", "--task", "mini", *taught, "--dry-run")
    assert code == 0 and "  0.500000  en-US  " in out and "_teachers-en-US,nl-NL" in out
    given = ["--source", f"nl-NL={models_root / 'tiny_massive_k_nl-NL'}"]
    code, out, _ = said("--model", joint, "--target-lang", "af-ZA", *QUICK, *given, "--dry-run")
    assert code == 0 and "  1.000000  nl-NL  " in out and out.startswith("target  af-ZA, 32 unlabelled train texts")


def test_wrong_flags(said, tmp_path, models_root):
    model, there = models_root / "tiny_massive_k_id-ID", ["--base-model", "tiny", "--models-root", models_root]
    one = ["--model", model, "--target-lang", "af-ZA", "--task", "mini"]
    for flags, message in (
        (["--model", model, "--task", "mini"], "one of the arguments --target-lang --targets is required"),
        (one, "no teachers for af-ZA: .* tells no sources; name them with --teachers"),
        ([*one, "--teachers", "th-TH", *there], "not in the mini corpus|th-TH"),
        ([*one, "--teachers", "af-ZA", *there], "no model tiny_massive_k_af-ZA"),
        ([*one, "--source", f"af-ZA={model}"], "no teachers for af-ZA"),
        ([*one, "--adapt", "self", "--adapt-tf32"], "--adapt-tf32 needs a GPU"),
        ([*one, "--adapt-rounds", "0"], "at least 1"),
        (["--model", model, "--targets", "af-ZA", "fi-FI", "--output-dir", "x"], "put {target} into it"),
    ):
        code, _, err = said(*flags)
        assert code == 2 and len(err.splitlines()) == 1, err
        assert re.search(message, err), err
    assert list(tmp_path.iterdir()) == []


def test_a_merge_whose_sources_have_gone(said, merged, tmp_path):
    model = tmp_path / merged("af-ZA")
    details = atomic.read_json(model / "merge_details.json")
    details["plan"]["sources"][0]["path"] = "gone"
    atomic.write_json(model / "merge_details.json", details)
    code, _, err = said("--model", model, "--target-lang", "af-ZA", *QUICK)
    assert code == 2 and "names the source gone, which is not there; name teachers with --teachers" in err
    nameless, odd = [{}], [{"locale": 1, "path": 2}]
    for plan in (None, [], *({"sources": sources} for sources in (None, "x", nameless, odd))):
        atomic.write_json(model / "merge_details.json", {"plan": plan})
        code, _, err = said("--model", model, "--target-lang", "af-ZA", *QUICK)
        assert code == 2 and "damaged" in err and len(err.splitlines()) == 1, err


def test_a_merge_adapted_by_its_own_command_is_known(said, tmp_path, models_root):
    merge = ["--mode", "average", "--target-lang", "af-ZA", "--sources", "nl-NL,de-DE", *QUICK, "--adapt-rounds", 1]
    merge += ["--adapt", "vote", "--base-model", "tiny", "--models-root", models_root, "--no-baselines"]
    assert said(*merge, main=run_merging_pipeline_refactored.main)[0] == 0
    (result,) = (tmp_path / "results").glob("average*adapt-vote*/results.json")
    written = result.read_bytes()
    (model,) = (path for path in (tmp_path / "merged_models").iterdir() if "adapt" not in path.name)
    adapt = ["--model", model.relative_to(tmp_path), "--target-lang", "af-ZA", *QUICK, "--adapt-rounds", 1]
    for call, main in ((adapt, adapt_to_target.main), (merge, run_merging_pipeline_refactored.main)):
        code, _, err = said(*call, main=main)
        assert code == 0, err
        assert result.read_bytes() == written


def test_a_merge_is_refused_that_cannot_be_adapted(said, tmp_path, models_root):
    merge = ["--mode", "average", "--target-lang", "af-ZA", "--num-languages", 2, *QUICK, "--adapt", "vote"]
    merge += ["--base-model", "tiny", "--models-root", models_root]
    for flags, message in (
        (["--output-dir", "average_merge_af-ZA_2merged"], "is where the merge goes that is adapted"),
        (["--no-eval", "--adapt-tf32"], "--adapt-tf32 needs a GPU"),
    ):
        code, _, err = said(*merge, *flags, main=run_merging_pipeline_refactored.main)
        assert code == 2 and message in err and list(tmp_path.iterdir()) == []


def test_a_single_step_is_refused_that_would_teach_nothing(said, models_root, caplog):
    line = ["--model", models_root / "tiny_massive_k_nl-NL", "--target-lang", "af-ZA", "--adapt", "self"]
    few = [*line, "--task", "mini", "--adapt-epochs", 1, "--adapt-examples", 8, "--adapt-batch-size"]
    code, _, err = said(*few, 8)
    assert code == 2 and "one step over 8 texts teaches nothing" in err
    code, out, _ = said(*few, 4, "--dry-run")
    assert code == 0 and "8 unlabelled train texts" in out
    assert caplog.text.count("only 8 texts to adapt on") == 1


def test_few_texts_are_warned_of_once_for_all_targets(said, models_root, caplog):
    line = ["--model", models_root / "tiny_massive_k_nl-NL", "--adapt", "self", "--task", "mini", "--dry-run"]
    assert said(*line, "--targets", "af-ZA", "id-ID", "--adapt-examples", 40)[0] == 0
    assert caplog.text.count("only 40 texts to adapt on") == 1
    caplog.clear()
    assert said(*line, "--targets", "af-ZA")[0] == 0 and "to adapt on" not in caplog.text


def test_results_of_something_else_are_told_before_anything_is_computed(models_root, tmp_path):
    teacher = ("nl-NL", models_root / "tiny_massive_k_nl-NL", 1.0)
    asked = AdaptRun(
        MINI_TASK,
        "af-ZA",
        models_root / "tiny_massive_k_de-DE",
        (teacher,),
        AdaptSettings("vote"),
        42,
        tmp_path / "adapted",
    )
    (tmp_path / "results/adapted").mkdir(parents=True)
    (tmp_path / "results/adapted/diary").touch()
    split = MINI_TASK.load("af-ZA", "test")
    job = adaptation_job(asked, split, precision_on("cpu"), AdaptOutput(tmp_path / "results", overwrite=True))
    assert not job.is_done()
    with pytest.raises(InputError, match="nothing that this toolkit made"):
        job.run({})
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


@pytest.fixture
def long_one(models_root):
    """Flags of an adaptation that takes a second."""
    model = models_root / "tiny_massive_k_id-ID"
    few = ["--adapt-examples", 160, "--adapt-batch-size", 32, "--adapt-epochs", 3]
    return ["--model", model, "--adapt", "self", "--task", "mini", "--no-eval", *few]


def wait_for(file):
    deadline = time.monotonic() + 120
    while not file.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_killed_it_goes_on_and_ends_with_the_same_bytes(begin, said, long_one, tmp_path, caplog):
    flags = [*long_one, "--target-lang", "af-ZA", "--output-dir", "adapted"]
    child = begin(SCRIPT, *flags)
    wait_for(tmp_path / "adapted.adapting/round1.npz")
    child.kill()
    assert child.end().returncode == -signal.SIGKILL and not (tmp_path / "adapted").exists()
    with caplog.at_level(logging.DEBUG):
        assert said(*flags, "-v")[0] == 0
    # The first round is not learnt again: no lines of its passes.
    assert "round 2 of 2 done" in caplog.text
    assert caplog.text.count("epoch 1.00: loss") == 1
    caplog.clear()
    with caplog.at_level(logging.INFO):
        assert said(*flags[:-1], "whole")[0] == 0
    assert next(line for line in caplog.messages if "round 1 of 2 done" in line).endswith(" left")
    assert (tmp_path / "adapted/model.safetensors").read_bytes() == (tmp_path / "whole/model.safetensors").read_bytes()
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"adapted", "whole"}, left


# Just before the whole model gets its name.
UNNAMED = """
import os
rename_ = os.rename
def rename(a, b):
    if os.path.basename(b) == "adapted": os._exit(137)
    rename_(a, b)
os.rename = rename
"""


# Just after the result has got its name, by which its job counts as done.
MEASURED = """
import os
rename_ = os.rename
def rename(a, b):
    rename_(a, b)
    if os.path.exists(os.path.join(b, "results.json")) and os.path.basename(b) == "adapted": os._exit(137)
os.rename = rename
"""


def test_a_kill_does_not_keep_the_result_from_the_card(begin, said, long_one, tmp_path):
    flags = [*long_one, "--target-lang", "af-ZA", "--output-dir", "adapted"]
    flags.remove("--no-eval")
    assert begin(SCRIPT, *flags, first=MEASURED).end().returncode == 137
    assert "Test accuracy on af-ZA" in (tmp_path / "adapted/README.md").read_text()
    assert said(*flags)[0] == 0 and "Test accuracy on af-ZA" in (tmp_path / "adapted/README.md").read_text()


def test_what_a_kill_leaves_is_cleaned(begin, said, long_one, tmp_path, caplog):
    flags = [*long_one, "--target-lang", "af-ZA", "--output-dir", "adapted"]
    assert begin(SCRIPT, *flags, first=UNNAMED).end().returncode == 137
    work, (partial,) = tmp_path / "adapted.adapting", tmp_path.glob(".adapted.partial-*")
    assert (partial / "model.safetensors").is_file() and (work / "round1.npz").is_file()
    shutil.copytree(work, tmp_path / "kept")
    with caplog.at_level(logging.INFO):
        assert said(*flags)[0] == 0
        assert caplog.text.count("epoch 1.00: loss") <= 1  # the first round is learnt
        # Killed just after it: the work stays beside the model.
        (tmp_path / "kept").rename(work)
        made = (tmp_path / "adapted/model.safetensors").stat().st_mtime_ns
        assert said(*flags)[0] == 0
    assert (tmp_path / "adapted/model.safetensors").stat().st_mtime_ns == made
    assert [path.name for path in tmp_path.iterdir()] == ["adapted"]
    assert said(*flags[:-1], "whole")[0] == 0
    assert (tmp_path / "adapted/model.safetensors").read_bytes() == (tmp_path / "whole/model.safetensors").read_bytes()


def test_ctrl_c_says_how_to_go_on(begin, tmp_path, long_one):
    child = begin(SCRIPT, *long_one, "--target-lang", "af-ZA", "--adapt-epochs", 500, "--output-dir", "adapted")
    wait_for(tmp_path / "adapted.adapting/settings.json")
    time.sleep(0.5)
    child.kill(signal.SIGINT)
    start = time.monotonic()
    done = child.end(60)
    assert done.returncode == 130 and "run the same command again" in done.stderr
    assert time.monotonic() - start < 10 and "Traceback" not in done.stderr and not (tmp_path / "adapted").exists()
