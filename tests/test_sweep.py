"""Sweeps: the same results as one merge after the other, whatever kills them, splits them or runs beside them."""

import json
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from auto_merge_llm.checkpoint import Checkpoint
from running import ROOT, environment

from merginguriel import run_large_scale_experiment as script
from merginguriel import run_merging_pipeline_refactored as pipeline
from merginguriel.utils.data import mini
from merginguriel.utils.data.massive_languages import DEFAULT_LOCALES
from merginguriel.utils.flags import config, flag_groups, merge_command, merge_flags, sweep_flags
from merginguriel.utils.flags.command import InputError
from merginguriel.utils.merging import measuring
from merginguriel.utils.merging.merge_job import MergeOutput
from merginguriel.utils.merging.selection import SourceSettings
from merginguriel.utils.merging.settings import MergeSettings
from merginguriel.utils.merging.sweep import Planner
from merginguriel.utils.similarity import matrix
from merginguriel.utils.storage import atomic, naming

SCRIPT = "merginguriel/run_large_scale_experiment.py"
MODES = ("ties", "regmean", "fisher", "adamerging")


@pytest.fixture
def flags(models_root):
    return ["--base-model", "tiny", "--models-root", str(models_root), "--dataset-name", "mini"]


@pytest.fixture
def sweep(flags, tmp_path, monkeypatch, capsys):
    """sweep(*flags) -> (exit code, stdout) of a sweep in this process."""
    monkeypatch.chdir(tmp_path)

    def call(*more, given=flags):
        code = script.main([*given, "--workers", "1", *map(str, more)])
        return code, capsys.readouterr().out

    return call


def without_times(content):
    """A JSON without what differs between two runs that did the same."""
    if isinstance(content, dict):
        return {
            name: without_times(part)
            for name, part in content.items()
            if name not in ("timestamp", "environment", "job")
        }
    return content


def results_of(folder):
    # A kill may leave a folder that had not got its name yet.
    return {file.parent.name: file for file in folder.glob("results/[!.]*/results.json")}


def assert_same_results(one, other):
    assert one.keys() == other.keys() != set()
    for name, file in one.items():
        assert without_times(atomic.read_json(file)) == without_times(atomic.read_json(other[name])), name
        assert without_times(atomic.read_json(file))["experiment"] == atomic.read_json(file)["experiment"]
        left, right = (np.load(found.parent / "predictions.npz") for found in (file, other[name]))
        for part in left.files:
            np.testing.assert_array_equal(left[part], right[part], f"{name}: {part}")


def test_results_are_those_of_single_merges(sweep, flags, tmp_path, monkeypatch, capsys):
    code, shown = sweep("--locales", "af-ZA", "--modes", *MODES, "--num-languages", 2, 3, "--keep-merged")
    assert code == 0 and "11 done, 0 done before, 0 failed" in shown
    (tmp_path / "single").mkdir()
    monkeypatch.chdir(tmp_path / "single")
    for mode, number in [*((mode, 3) for mode in MODES), ("ties", 2)]:
        assert pipeline.main([*flags, "--mode", mode, "--num-languages", str(number), "--target-lang", "af-ZA"]) == 0
    single, swept = results_of(tmp_path / "single"), results_of(tmp_path)
    assert len(single) == 8
    assert_same_results(single, {name: file for name, file in swept.items() if name in single})
    for name in [name for name in single if "merge" in name]:
        texts = [(root / f"results/{name}/merge_details.json").read_text() for root in (tmp_path, tmp_path / "single")]
        assert without_times(json.loads(texts[0])) == without_times(json.loads(texts[1]))
        assert (tmp_path / f"results/{name}/merge_details.txt").is_file()
        models = [root / "merged_models" / name for root in (tmp_path, tmp_path / "single")]
        assert {file.name for file in models[0].iterdir()} == {file.name for file in models[1].iterdir()}
        for file in ("model.safetensors", "config.json", "tokenizer.json", "README.md"):
            assert (models[0] / file).read_bytes() == (models[1] / file).read_bytes()
        kept = atomic.read_json(swept[name])
        assert kept["settings"]["model"] == Checkpoint(models[0]).weights_fingerprint
    # Each knows the other's merges as its own.
    capsys.readouterr()
    code, shown = sweep("--locales", "af-ZA", "--modes", "ties", "--num-languages", 3, 2)
    assert code == 0 and "5 done before" in shown  # both merges, and the sources alone
    shutil.rmtree(tmp_path / "single/merged_models")
    monkeypatch.chdir(tmp_path)
    assert pipeline.main([*flags, "--mode", "regmean", "--num-languages", "3", "--target-lang", "af-ZA"]) == 0


def test_what_is_measured_serves_all_numbers_and_is_written_if_asked(sweep, tmp_path, monkeypatch):
    calls, measure = [], measuring.measure
    monkeypatch.setattr(measuring, "measure", lambda *given: calls.append(given[-1]) or measure(*given))
    several = ("--locales", "af-ZA", "--num-languages", 2, 3, "--num-fisher-examples", 20)
    assert sweep(*several, "--modes", "fisher", "regmean")[0] == 0
    assert sorted(calls) == sorted(["id-ID", "nl-NL", "en-US"] * 2)
    assert not list(tmp_path.glob("results/measurements/*.safetensors"))
    shutil.rmtree(tmp_path / "results")
    assert sweep(*several, "--modes", "fisher", "--keep-measurements")[0] == 0
    assert len(list(tmp_path.glob("results/measurements/*_fisher_*.safetensors"))) == 3
    shutil.rmtree(tmp_path / "results/fisher_dataset_merge_af-ZA_2merged_text-num_examples-20")
    assert sweep(*several, "--modes", "fisher")[0] == 0
    assert len(calls) == 9


def test_a_damaged_source_fails_its_jobs_alone(sweep, tmp_path, flags, source_copies):
    given = ["--base-model", "tiny", "--models-root", str(source_copies), "--dataset-name", "mini"]
    model = source_copies / "tiny_massive_k_en-US/model.safetensors"
    whole = model.read_bytes()
    model.write_bytes(whole[:-4])
    command = (
        "--locales",
        "de-DE",
        "af-ZA",
        "--modes",
        "baseline",
        "average",
        "--num-languages",
        2,
        3,
        "--selection",
        "cosine",
    )
    code, shown = sweep(*command, given=given)
    final = atomic.read_json(tmp_path / "results/experiment_final_results.json")
    assert code == 1 and "model.safetensors is damaged" in final["failures"]["average_merge_af-ZA_3merged_cosine"]
    # The two nearest of Afrikaans are whole.
    assert final["detailed_results"]["af-ZA"]["average"] is False
    assert "average_merge_af-ZA_2merged_cosine" in final["accuracies"]
    assert final["detailed_results"]["de-DE"]["baseline"] is True
    done = {name: file.stat().st_mtime_ns for name, file in results_of(tmp_path).items()}
    model.write_bytes(whole)
    code, shown = sweep(*command, given=given)
    assert f"{len(done)} done before" in shown
    now = results_of(tmp_path)
    assert all(now[name].stat().st_mtime_ns == then for name, then in done.items()) and len(now) > len(done)


# What is asked for


@pytest.fixture
def options(flags):
    """options(*flags) -> the arguments and the Grid, after presets and all checks."""

    def call(*more):
        args = config.parse_with_config(script.build_parser(), [*flags, *map(str, more)])
        return args, sweep_flags.read_grid(args)

    return call


@pytest.mark.parametrize(
    "more, scope, preweight",
    [
        ([], "target", "equal"),
        (["--preset", "fairness"], "sources", "equal"),
        (["--preset", "target"], "target", "uriel"),
        (["--preset=target", "--preweight=equal"], "target", "equal"),
        (["--preset", "fairness", "--fisher_data_mode", "both"], "both", "equal"),
    ],
)
def test_presets_and_what_wins_over_them(options, more, scope, preweight):
    _, grid = options("--modes", "fisher", *more)
    assert (grid.common.texts.scope, grid.common.preweight) == (scope, preweight)


def test_a_preset_reaches_the_merges(sweep, tmp_path):
    assert (
        sweep(
            "--locales",
            "af-ZA",
            "--modes",
            "fisher_dataset",
            "--num-languages",
            2,
            "--preset",
            "fairness",
            "--num-fisher-examples",
            21,
        )[0]
        == 0
    )
    name = "fisher_dataset_merge_af-ZA_2merged_text-scope-sources_text-num_examples-21"
    details = atomic.read_json(tmp_path / "results" / name / "merge_details.json")
    assert details["measured_on"]["examples"] == {"id-ID": 11, "nl-NL": 10}
    assert [source["weight"] for source in details["plan"]["sources"]] == [0.5, 0.5]


def test_a_file_of_flags_and_the_command_line_on_top(options, tmp_path, flags):
    file = tmp_path / "sweep.yaml"
    file.write_text(
        "modes: [average, ties]\nnum_languages: [3, 5]\nkeep-merged: true\noverwrite: false\n"
        "density: 0.5\nselection: cosine\npreset: target\n"
    )
    chosen, grid = options("--config", file, "--num-languages", 2)
    assert (grid.modes, grid.numbers, chosen.keep_merged, chosen.overwrite) == (("average", "ties"), (2,), True, False)
    assert grid.common.hyperparameters == {"density": 0.5} and grid.common.preweight == "uriel"
    for text, message in (
        ("moods: [average]", "no flag --moods"),
        ("[1, 2]", "does not map"),
        ("modes: {a: 1}", "value"),
        ("modes: true", "switch"),
        ("modes: [", "is no YAML"),
        ("config: x", "no flag --config"),
    ):
        file.write_text(text)
        with pytest.raises(InputError, match=message):
            options("--config", file)


@pytest.mark.parametrize(
    "more, message",
    [
        (["--modes", "average", "--selection", "real"], "needs --nxn-matrix"),
        (["--modes", "fisher", "--dataset-split", "test"], "must not rest on the texts"),
    ],
)
def test_flags_that_lack_something_are_refused(options, more, message):
    with pytest.raises(InputError, match=message):
        options(*more)


def test_names_tell_what_has_not_its_default(sweep, tmp_path):
    code, shown = sweep(
        "--locales",
        "af-ZA",
        "--num-languages",
        2,
        "--modes",
        "average",
        "uriel",
        "ties",
        "linear",
        "--density",
        0.5,
        "--selection",
        "sinkhorn",
        "cosine",
        "--preweight",
        "uriel",
        "--dtype",
        "bfloat16",
        "--dry-run",
    )
    assert code == 0 and not (tmp_path / "results").exists()
    names = [line.split()[0] for line in shown.splitlines() if "_merge_" in line]
    assert sorted(names) == sorted(
        f"{name}_bfloat16"
        for name in (
            "average_merge_af-ZA_2merged",
            "average_merge_af-ZA_2merged_cosine",
            "uriel_merge_af-ZA_2merged",
            "uriel_merge_af-ZA_2merged_sinkhorn",
            "ties_merge_af-ZA_2merged_uriel_density-0.5",
            "ties_merge_af-ZA_2merged_cosine_uriel_density-0.5",
            "linear_merge_af-ZA_2merged_uriel",
            "linear_merge_af-ZA_2merged_cosine_uriel",
        )
    )
    assert shown.splitlines()[-1].startswith("11 jobs, about ") and "GB on disk" in shown


def test_listing_is_light(run):
    listed = run(SCRIPT, "--list-locales", "--dataset-name", "mini").stdout.splitlines()
    assert listed[:2] == ["  0. af-ZA", "  1. az-AZ"] and listed[-1].startswith("Total: 12 locales from ")
    sliced = run(SCRIPT, "--list-locales", "--start-from", 47, "--max-locales", 5).stdout.splitlines()
    assert sliced[0] == "  0. vi-VN" and len(sliced) == 3
    modes = re.findall(r"^  (\S+)", run(SCRIPT, "--list-modes").stdout, re.MULTILINE)
    assert modes[:2] == ["baseline", "average"] and modes[-1] == "fisher"


def test_wrong_input_leaves_nothing(refused, flags):
    assert "no models tiny_massive_k" in refused(SCRIPT, *flags[:2], "--models-root", "nowhere", *flags[4:])
    assert "neighbours have a model" in refused(
        SCRIPT, *flags, "--locales", "nl-NL", "--num-languages", 4, "--modes", "average"
    )


def test_what_a_sweep_leaves(sweep, tmp_path):
    code, shown = sweep("--locales", "nl-NL", "af-ZA", "--modes", "baseline", "average", "slerp", "--num-languages", 2)
    assert code == 0
    progress = atomic.read_json(tmp_path / "results/experiment_progress.json")
    final = atomic.read_json(tmp_path / "results/experiment_final_results.json")
    done = {"nl-NL": {"baseline": True, "average": True, "slerp": True}, "af-ZA": {"average": True, "slerp": True}}
    assert progress["results"] == final["detailed_results"] == done
    assert (progress["total_locales"], progress["processed_locales"], progress["current_locale"]) == (2, 2, None)
    assert final["summary"] == {"total_locales": 2, "mode_success_counts": {"baseline": 1, "average": 2, "slerp": 2}}
    assert final["config"]["num_languages"] == [2] and final["failures"] == {}
    own = atomic.read_json(tmp_path / "results/baseline_nl-NL/results.json")
    assert own["evaluation_info"]["model_name"].endswith("tiny_massive_k_nl-NL")
    merged = {target: final["accuracies"][f"average_merge_{target}_2merged"] for target in done}
    best = {
        target: max(
            accuracy
            for name, accuracy in final["accuracies"].items()
            if name.startswith("tiny_") and name.endswith(target)
        )
        for target in done
    }
    line = next(line for line in shown.splitlines() if line.startswith("average_merge_2merged"))
    assert line.split()[1:] == [
        "2",
        f"{np.mean(list(merged.values())):.4f}",
        f"{np.mean([merged[target] - best[target] for target in done]):+.4f}",
    ]


def test_other_text_or_another_tokenizer_is_another_job(options, flags, tmp_path, source_copies):
    data = tmp_path / "massive"
    for locale in ("af-ZA", "nl-NL"):
        atomic.write_text(data / f"{locale}.jsonl", "\n".join(map(json.dumps, mini.records(locale))) + "\n")
    args, grid = options(
        "--models-root", source_copies, "--dataset-name", data, "--modes", "average", "fisher", "--num-languages", 2
    )

    def hashes():
        task, store = flag_groups.read_task(args), flag_groups.read_store(args)
        planner = Planner(grid, task, store, MergeOutput(tmp_path / "results"), tmp_path / "merged")
        return {job.name: job.hash for job in planner.plan(["af-ZA"], "cpu").jobs}

    first, file = hashes(), data / "af-ZA.jsonl"
    file.touch()
    assert hashes() == first
    changed = [{**row, "utt": row["utt"] + "!" * (row["partition"] == "train")} for row in mini.records("af-ZA")]
    atomic.write_text(file, "\n".join(map(json.dumps, changed)) + "\n")
    second = hashes()
    assert [name for name in first if first[name] != second[name]] == ["fisher_dataset_merge_af-ZA_2merged"]
    (source_copies / "tiny_massive_k_id-ID/tokenizer.json").touch()
    third = hashes()
    assert [name for name in first if third[name] == second[name]] == ["tiny_massive_k_nl-NL_af-ZA"]


def test_another_result_is_replaced_only_if_asked(sweep, tmp_path, flags, source_copies):
    given = ["--base-model", "tiny", "--models-root", str(source_copies), "--dataset-name", "mini"]
    command = ("--locales", "af-ZA", "--modes", "average", "--num-languages", 2)
    assert sweep(*command, "--keep-merged", given=given)[0] == 0
    shutil.copyfile(
        source_copies / "tiny_massive_k_de-DE/model.safetensors",
        source_copies / "tiny_massive_k_nl-NL/model.safetensors",
    )
    before = atomic.read_json(tmp_path / "results/average_merge_af-ZA_2merged/results.json")
    assert sweep(*command, given=given)[0] == 1
    final = atomic.read_json(tmp_path / "results/experiment_final_results.json")
    assert set(final["failures"]) == {"average_merge_af-ZA_2merged", "tiny_massive_k_nl-NL_af-ZA"}
    assert all("--overwrite" in reason for reason in final["failures"].values())
    assert atomic.read_json(tmp_path / "results/average_merge_af-ZA_2merged/results.json") == before
    assert sweep(*command, "--overwrite", given=given)[0] == 0
    assert atomic.read_json(tmp_path / "results/average_merge_af-ZA_2merged/results.json") != before
    # The merged model is still the first one's.
    assert sweep(*command, "--keep-merged", given=given)[0] == 1
    code, shown = sweep(*command, "--keep-merged", "--overwrite", given=given)
    assert code == 0 and "1 done, 2 done before" in shown
    assert "0 done, 3 done before" in sweep(*command, "--keep-merged", given=given)[1]


# Several processes


COMMAND = (
    "--locales",
    "af-ZA",
    "nl-NL",
    "--modes",
    "baseline",
    *MODES,
    "slerp",
    "--num-languages",
    "2",
    "3",
    "--selection",
    "cosine",
    "--num-fisher-examples",
    "40",
)


@pytest.fixture(scope="module")
def unbroken(models_root, tmp_path_factory, run_anywhere):
    """The results of COMMAND in one go, by one process."""
    folder = tmp_path_factory.mktemp("unbroken")
    data = ("--base-model", "tiny", "--models-root", models_root, "--dataset-name", "mini")
    # In a process of its own: pytest's has been through many tests, and its sums may differ in a bit.
    done = run_anywhere(SCRIPT, *data, *COMMAND, "--workers", 1, folder=folder)
    assert done.returncode == 0, done.stderr
    return results_of(folder)


def test_killed_at_random_points_it_ends_the_same(begin, run, tmp_path, flags, unbroken):
    """The first one alone; the second, of the user's own interpreter, with workers that are interpreters as well."""
    moments, kept = random.Random(7), {}
    for anew in (False, True):
        command = [*flags, *COMMAND, "--workers", 1 + anew]
        process = start_anew(tmp_path, command) if anew else begin(SCRIPT, *command)
        goal = len(results_of(tmp_path)) + moments.randint(2, 5)
        while process.poll() is None and len(results_of(tmp_path)) < goal:
            time.sleep(0.02)
        time.sleep(moments.uniform(0, 0.1))
        process.kill()
        assert (process.wait() if anew else process.end().returncode) == -signal.SIGKILL
        kept |= {name: file.stat().st_mtime_ns for name, file in results_of(tmp_path).items()}
    done = run(SCRIPT, *flags, *COMMAND, "--workers", 1)
    assert done.returncode == 0, done.stderr
    now = results_of(tmp_path)
    assert_same_results(now, unbroken)
    assert 4 <= len(kept) < len(now) and all(now[name].stat().st_mtime_ns == then for name, then in kept.items())


def start_anew(folder, flags):
    usual = "from merginguriel.utils.data.task import USUAL_BASES; USUAL_BASES.add('tiny')"  # as in tests/conftest.py
    run_it = "import runpy, sys; del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')"
    where = f"import sys; sys.path[0] = {str(ROOT / 'merginguriel')!r}"
    command = [sys.executable, "-c", f"{where}; {usual}; {run_it}", str(ROOT / SCRIPT), *map(str, flags)]
    return subprocess.Popen(
        command, cwd=folder, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def test_two_sweeps_and_two_shards_in_one_folder(begin, tmp_path, flags, unbroken):
    command = [SCRIPT, *flags, *COMMAND, "--workers", 1]
    started = [begin(*command, *more) for more in ((), ("--shard", "1/2"), ("--shard", "2/2"))]
    ended = [process.end() for process in started]
    assert [done.returncode for done in ended] == [0] * 3, [done.stderr for done in ended]
    assert_same_results(results_of(tmp_path), unbroken)
    final = [
        atomic.read_json(tmp_path / f"results/experiment_final_results{shard}.json")
        for shard in ("", "_shard1of2", "_shard2of2")
    ]
    assert [list(part["detailed_results"]) for part in final] == [["af-ZA", "nl-NL"], ["af-ZA"], ["nl-NL"]]


def test_same_settings_same_folder_and_job_in_every_command(flags, tmp_path, monkeypatch, capsys):
    """Whether a default was spelt out or not, and whoever asks."""
    monkeypatch.chdir(tmp_path)
    one = [
        *flags,
        "--target-lang",
        "af-ZA",
        "--mode",
        "ties",
        "--num-languages",
        "2",
        "--density",
        "0.5",
        "--no-baselines",
    ]
    assert pipeline.main([*one, "--scope", "tensor"]) == 0
    assert list(results_of(tmp_path)) == ["ties_merge_af-ZA_2merged_density-0.5_scope-tensor"]
    spelt = ["--selection", "sinkhorn", "--similarity-source", "sparse", "--preweight", "equal", "--seed", "42"]
    spelt += ["--scaling", "1", "--similarity-matrix", str(ROOT / matrix.SPARSE_CSV), "--overwrite"]
    many = [
        *flags,
        "--locales",
        "af-ZA",
        "--modes",
        "ties",
        "--num-languages",
        "2",
        "--density",
        ".5",
        "--workers",
        "1",
    ]
    capsys.readouterr()
    assert script.main([*many, "--scope", "tensor", *spelt]) == 0
    assert "2 done, 1 done before" in capsys.readouterr().out  # the sources alone are new
    assert pipeline.main([*one[:-1], "--scope", "tensor", *spelt[:-1]]) == 0
    assert len(results_of(tmp_path)) == 3


@pytest.mark.parametrize(
    "more, name",
    [
        ([], "fisher_dataset_merge_af-ZA_5merged"),
        (
            ["--fisher-data-mode", "target", "--preweight", "equal", "--fisher-floor", "1e-6"],
            "fisher_dataset_merge_af-ZA_5merged",
        ),
        (["--num-fisher-examples", "500"], "fisher_dataset_merge_af-ZA_5merged_text-num_examples-500"),
    ],
)
def test_a_job_with_all_defaults_has_the_bare_name(more, name):
    parser = merge_command.build_parser("x", "")
    args = parser.parse_args(["--target-lang", "af-ZA", *more])
    settings = merge_flags.read_merge_settings(args, "fisher_dataset", "af-ZA").effective()
    assert naming.merge_name("fisher_dataset", "af-ZA", 5, settings.words().values()) == name


def test_names_stay_short():
    sources = tuple(sorted(DEFAULT_LOCALES))
    told = MergeSettings(
        "dare_ties",
        "af-ZA",
        SourceSettings(sources=sources),
        hyperparameters={"density": 0.123456, "drop_rate": 0.7654321},
    )
    names = {
        naming.merge_name(
            "dare_ties", "af-ZA", 49, replace(told, seed=seed, preweight="uriel", dtype="bfloat16").words().values()
        )
        for seed in range(3)
    }
    assert len(names) == 3 and max(map(len, names)) < 100
