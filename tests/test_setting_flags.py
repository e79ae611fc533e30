"""A flag without effect is a warning, and everything else is as if it had not been given."""

import json
import logging

import pytest

from merginguriel import (
    adapt_to_target,
    aggregate_results,
    plot_results,
    run_iterative_training,
    run_large_scale_ensemble_experiments,
    run_large_scale_experiment,
    run_large_scale_iterative_training,
    run_merging_pipeline_refactored,
    run_multilang_training,
    train_missing_models,
    training_bert,
    uriel_ensemble_inference,
)
from merginguriel.utils.ensembles.plan import VotePlan
from merginguriel.utils.flags import config, training_flags
from merginguriel.utils.flags.parser import ArgumentParser
from merginguriel.utils.jobs.job import Job
from merginguriel.utils.merging.plan import MergePlan
from merginguriel.utils.report import plot_command

MERGE, SWEEP, VOTE, VOTES, ADAPT, BATCH, LOLO, TURNS, MANY_TURNS, TRAIN, TABLE, PLOT = (
    run_merging_pipeline_refactored,
    run_large_scale_experiment,
    uriel_ensemble_inference,
    run_large_scale_ensemble_experiments,
    adapt_to_target,
    train_missing_models,
    run_multilang_training,
    run_iterative_training,
    run_large_scale_iterative_training,
    training_bert,
    aggregate_results,
    plot_results,
)
SCRIPT = "merginguriel/run_merging_pipeline_refactored.py"
# By command: flags that it always gets here; of many targets two are enough.
ALWAYS = {
    MERGE: "--target-lang af-ZA --dry-run",
    SWEEP: "--locales af-ZA --dry-run --workers 1",
    VOTE: "--target-lang af-ZA --dry-run",
    VOTES: "--target-languages af-ZA",
    ADAPT: "--target-lang af-ZA --dry-run --model {models}/tiny_massive_k_id-ID",
    BATCH: "--locales af-ZA nl-NL --dry-run",
    LOLO: "--locales af-ZA nl-NL de-DE --dry-run",
    TURNS: "--target-lang af-ZA",
    MANY_TURNS: "--target-languages af-ZA --dry-run",
    TRAIN: "--dataset-config-name af-ZA --output-dir m",
    TABLE: "",
    PLOT: "--plot-types accuracy",
}
STORE = "--base-model tiny --models-root {models} --task mini"
OF = {TURNS: "--model-name-or-path {base} --task mini", TABLE: "", PLOT: "", ADAPT: "--task mini"}
OF |= {TRAIN: OF[TURNS], MANY_TURNS: OF[TURNS] + " --models-root {models}"}

IDLE = [
    # What a mode does not read.
    (MERGE, "--mode average --num-languages 2", "--weights nl-NL=1", "--weights", "in mode average"),
    (MERGE, "--mode average --num-languages 2", "--weights-file absent.json", "--weights-file", "in mode average"),
    (MERGE, "--mode average --num-languages 2", "--density 0.5", "--density", "in mode average"),
    (MERGE, "--mode ties --num-languages 2", "--fisher-floor 0.1", "--fisher-floor", "in mode ties"),
    (MERGE, "--mode regmean --num-languages 2", "--clamp", "--clamp", "in mode regmean"),
    (MERGE, "--mode slerp --num-languages 2", "--base-checkpoint x", "--base-checkpoint", "in mode slerp"),
    (MERGE, "--mode breadcrumbs --num-languages 2", "--preweight uriel", "--preweight", "in mode breadcrumbs"),
    (MERGE, "--mode similarity --num-languages 2", "--preweight uriel", "--preweight", "in mode similarity"),
    (MERGE, "--mode average --num-languages 2", "--num-fisher-examples 10", "--num-fisher-examples", "in mode average"),
    (MERGE, "--mode average --num-languages 2", "--consensus-examples 5", "--consensus-examples", "in mode average"),
    (MERGE, "--mode average --num-languages 2", "--adapt-rounds 3", "--adapt-rounds", "in mode average"),
    (
        MERGE,
        "--mode adamerging --num-languages 2",
        "--fisher-data-mode sources",
        "--fisher-data-mode",
        "in mode adamerging",
    ),
    (
        MERGE,
        "--mode adamerging --num-languages 2 --start 0.3",
        "--preweight uriel",
        "--preweight",
        "in mode adamerging",
    ),
    # What the sources that are named leave without effect.
    (MERGE, "--mode manual", "--num-languages 2", "--num-languages", "in mode manual"),
    (MERGE, "--mode manual", "--sources de-DE,nl-NL", "--sources", "in mode manual"),
    (MERGE, "--mode average --sources nl-NL,de-DE", "--num-languages 2", "--num-languages", "in mode average"),
    (MERGE, "--mode average --sources nl-NL,de-DE", "--similarity-matrix x", "--similarity-matrix", "in mode average"),
    (MERGE, "--mode average --sources nl-NL,de-DE", "--selection real", "--selection", "in mode average"),
    (
        MERGE,
        "--mode similarity --sources nl-NL,de-DE",
        "--similarity-source dense",
        "--similarity-source",
        "in mode similarity",
    ),
    (MERGE, "--mode similarity --sources nl-NL,de-DE", "--top-k 3", "--top-k", "in mode similarity"),
    (MERGE, "--mode uriel --num-languages 2", "--similarity-source dense", "--similarity-source", "in mode uriel"),
    (MERGE, "--mode average --num-languages 2", "--top-k 3", "--top-k", "without --similarity-source dense"),
    # What nothing but an evaluation reads.
    (MERGE, "--mode average --num-languages 2 --no-eval", "--results-dir x", "--results-dir", "with --no-eval"),
    (MERGE, "--mode average --num-languages 2 --no-eval", "--no-baselines", "--no-baselines", "with --no-eval"),
    (MERGE, "--mode average --num-languages 2 --no-eval", "--label-column x", "--label-column", "with --no-eval"),
    # Sweeps
    (SWEEP, "--modes average --num-languages 2", "--ties-density 0.5", "--ties-density", "in these modes"),
    (SWEEP, "--modes average similarity --num-languages 2", "--preset fairness", "--preset", "in these modes"),
    (SWEEP, "--modes average --num-languages 2", "--num-fisher-examples 5", "--num-fisher-examples", "in these modes"),
    (SWEEP, "--modes average --num-languages 2", "--merged-models-dir x", "--merged-models-dir", "without --keep-mer"),
    (SWEEP, "--modes ties --num-languages 2", "--keep-measurements", "--keep-measurements", "in these modes"),
    (SWEEP, "--modes baseline --locales nl-NL", "--num-languages 3", "--num-languages", "in these modes"),
    (SWEEP, "--modes consensus --num-languages 2", "--similarity-source dense", "--similarity-source", "in these"),
    (SWEEP, "--modes average --num-languages 2", "--address x:1", "--address", "with --backend local"),
    (SWEEP, "--modes regmean --num-languages 2", "--adapt-rounds 3", "--adapt-rounds", "in these modes"),
    (SWEEP, "--modes regmean --num-languages 2", "--sharpen 1", "--sharpen", "in these modes"),
    # Votes
    (VOTE, "--num-languages 2", "--seed 3", "--seed", "with the other flags given"),
    (VOTE, "--sources nl-NL,de-DE", "--num-languages 2", "--num-languages", "with the other flags given"),
    (VOTE, "--sources nl-NL,de-DE --preweight equal", "--similarity-matrix x", "--similarity-matrix", "with the other"),
    (VOTES, "--num-languages 2", "--address x:1", "--address", "with --backend local"),
    # Adaptation
    (ADAPT, "--adapt self", "--teachers nl-NL", "--teachers", "where the model teaches itself"),
    (ADAPT, "--adapt self", "--source nl-NL=x", "--source", "where the model teaches itself"),
    (ADAPT, "--adapt self", "--models-root x", "--models-root", "where the model teaches itself"),
    (ADAPT, "--source nl-NL={models}/tiny_massive_k_nl-NL", "--base-model x", "--base-model", "beside --source"),
    (ADAPT, "--adapt self", "--workers 2", "--workers", "for one target"),
    (ADAPT, "--adapt self --no-eval", "--results-dir x", "--results-dir", "without evaluation"),
    # Trainings
    (BATCH, "--additional-args --seed 3", "--wandb-project x", "--wandb-project", "without --wandb"),
    (BATCH, "", "--address x:1", "--address", "with --backend local"),
    (BATCH, "--backend ray", "--workers 2", "--workers", "with --backend ray"),
    (LOLO, "--super-model", "--workers 2", "--workers", "for one model"),
    (LOLO, "--super-model", "--results-dir x", "--results-dir", "with --super-model"),
    (LOLO, "--exclude de-DE", "--shard 1/2", "--shard", "for one model"),
    (TRAIN, "", "--wandb_project x", "--wandb-project", "without --wandb"),
    (TRAIN, "--save-strategy no", "--early_stopping_patience 2", "--early-stopping-patience", "without --do-train"),
    (TRAIN, "--do-eval", "--wandb", "--wandb", "without --do-train"),
    # In turns
    (
        TURNS,
        "--mode average --locales nl-NL,de-DE",
        "--convergence-threshold 0.1",
        "--convergence-threshold",
        "with 15",
    ),
    (TURNS, "--mode average --locales nl-NL,de-DE", "--performance-merge-trigger", "--performance-merge-trigger", "wi"),
    (TURNS, "--mode average --locales nl-NL,de-DE", "--wandb-project x", "--wandb-project", "without --enable-wandb"),
    (TURNS, "--mode average --locales nl-NL,de-DE", "--num-languages 2", "--num-languages", "in mode average"),
    (TURNS, "--mode average --locales nl-NL,de-DE", "--fisher-batch-size 8", "--fisher-batch-size", "in mode average"),
    (TURNS, "--mode average --locales nl-NL,de-DE", "--top-k 3", "--top-k", "in mode average"),
    (TURNS, "--mode ties --locales nl-NL,de-DE", "--drop-rate 0.5", "--drop-rate", "in mode ties"),
    (
        TURNS,
        "--mode average --locales nl-NL,de-DE --max-epochs 3 --merge-frequency 3",
        "--retain-merge-checkpoints 1",
        "--retain-merge-checkpoints",
        "with 3 epochs",
    ),
    (MANY_TURNS, "--sources nl-NL,de-DE", "--wandb-project x", "--wandb-project", "without --enable-wandb"),
    # Tables and pictures
    (TABLE, "--no-baselines", "--no-tests", "--no-tests", "beside --no-baselines"),
    (TABLE, "--no-baselines", "--evaluation-matrix x.csv", "--evaluation-matrix", "beside --no-baselines"),
    (TABLE, "--evaluation-matrix there.csv", "--nxn-results-dir x", "--nxn-results-dir", "beside --evaluation-matrix"),
    (PLOT, "--csv-file good.csv", "--results-dir x", "--results-dir", "beside a table"),
]


@pytest.fixture
def planned(monkeypatch, tmp_path, capsys, models_root, tiny_base, caplog):
    """planned(command, flags) -> (what it would do: all that it prints, plans, records and hashes; its warnings)"""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.csv").write_text("locale,ties_3lang,ties_3lang_vs_best_source\naf-ZA,0.5,0.1\n")
    (tmp_path / "there.csv").touch()
    told = []
    make_job, describe_merge, describe_votes = Job.__init__, MergePlan.describe, VotePlan.describe

    def telling_make(job, *given, **more):
        make_job(job, *given, **more)
        told.append([job.kind, job.name, str(job.folder), job.hash])

    monkeypatch.setattr(Job, "__init__", telling_make)
    monkeypatch.setattr(MergePlan, "describe", lambda plan: describe_merge(plan) + json.dumps(plan.record()))
    monkeypatch.setattr(VotePlan, "describe", lambda plan: describe_votes(plan) + json.dumps(plan.merge.record()))

    def call(command, flags):
        told.clear()
        caplog.clear()
        line = [word.format(models=models_root, base=tiny_base) for word in flags.split()]
        with caplog.at_level(logging.WARNING):
            seen = READERS.get(command, _dry_run)(command, line)
        return [seen, list(told), capsys.readouterr().out], [record.getMessage() for record in caplog.records]

    return call


def _dry_run(command, line):
    assert command.main(line) == 0


def _votes(command, line):
    args = config.parse_with_config(command.build_parser(), line)
    command.flag_groups.check_backend(args)
    return command.vote_flags.read_vote_settings(args), config.as_record(args)


def _in_turns(command, line):
    settings, args = command.parse(line)
    return settings.record, settings.words(), settings, settings.command, config.flags_given(args.tokens)


def _training(command, line):
    args = training_flags.build_parser().parse_args(line)
    return training_flags.read_training(args), args.command


def _table(command, line):
    args = command.build_parser().parse_args(line)
    return command.choose_nxn(args), config.as_record(args)


def _pictures(command, line):
    args = command.build_parser().parse_args(line)
    _, origin = plot_command.chosen_data(args)
    return origin, config.as_record(args)


READERS = {VOTES: _votes, TURNS: _in_turns, TRAIN: _training, TABLE: _table, PLOT: _pictures}


@pytest.mark.parametrize(
    "command, flags, idle, flag, where", IDLE, ids=[f"{c.__name__[13:]} {i}" for c, _, i, *_ in IDLE]
)
def test_it_is_as_if_it_had_not_been_given(planned, tmp_path, command, flags, idle, flag, where):
    common = f"{ALWAYS[command]} {OF.get(command, STORE)} {flags}"
    there = sorted(tmp_path.iterdir())
    without, said_before = planned(command, common)
    given, said = planned(command, f"{common} {idle}")
    assert given == without
    (warning,) = [line for line in said if line not in said_before]
    assert warning.startswith(f"warning: {flag} has no effect {where}") and warning.endswith(": ignored")
    assert sorted(tmp_path.iterdir()) == there


def test_a_whole_run_says_so_on_stderr(run, models_root, tmp_path):
    """The same results and bytes, and no refusal."""
    line = f"--mode average --sources nl-NL,de-DE --target-lang af-ZA {STORE} --no-eval".format(models=models_root)
    idle, flags = ["--weights_file=absent.json", "--drop-rate", 0.5], ("--weights-file", "--drop-rate")
    made = []
    for more in ([], idle):
        done = run(SCRIPT, *line.split(), *more)
        assert done.returncode == 0, done.stderr
        said = [told for told in done.stderr.splitlines() if "no effect" in told]
        assert said == [f"warning: {flag} has no effect in mode average: ignored" for flag in flags if more]
        made.append({file: (file.stat().st_mtime_ns, file.read_bytes()) for file in tmp_path.rglob("*.*")})
    assert made[0] == made[1]


@pytest.mark.parametrize(
    "command, flags, message",
    [
        (MERGE, "--mode average --sources nl-NL,de-DE --num-languages 3", "--num-languages 3 contradicts the sources"),
        (MERGE, "--mode manual --num-languages 3", "--num-languages 3 contradicts the sources that are named, nl-NL, "),
        (MERGE, "--mode manual --sources nl-NL,en-US", "--sources contradicts the weights, which are of nl-NL, de-DE"),
        (VOTE, "--sources nl-NL,de-DE --num-languages 3", "--num-languages 3 contradicts the sources"),
        (TURNS, "--mode average --locales nl-NL,de-DE --num-languages 3", "--num-languages 3 contradicts the sources"),
        (LOLO, "--all-lolo --output-dir x", "--output-dir is one folder for the many models of --all-lolo"),
        (BATCH, "--workers 2 --workers-per-gpu 2", "exclude each other"),
    ],
)
def test_two_answers_to_one_question_are_refused(said_by, models_root, tiny_base, command, flags, message):
    line = f"{ALWAYS[command]} {OF.get(command, STORE)} {flags}".format(models=models_root, base=tiny_base)
    code, _, error = said_by(command.main, *line.split())
    assert code == 2 and error.count("\n") == 1 and message in error


def test_in_python_it_is_told_in_its_words(models_root, monkeypatch, tmp_path, caplog):
    import merginguriel as mu

    monkeypatch.chdir(tmp_path)
    told = {"task": "mini", "base_model": "tiny", "models_root": models_root, "num_languages": 2, "no_eval": True}
    plain, given = (mu.merge("af-ZA", "average", **told, **idle) for idle in ({}, {"preweight": "uriel", "density": 1}))
    said = [record.getMessage() for record in caplog.records]
    assert [line for line in said if "no effect" in line] == [
        f"warning: {name} has no effect in mode average: ignored" for name in ("density", "preweight")
    ]
    assert given.plan == plain.plan and given.fingerprint == plain.fingerprint


def test_what_is_taken_back_goes_with_its_values_and_leaves_the_rest():
    parser = ArgumentParser("report.py")
    parser.add_argument("--many", "--several", nargs="+", default=[])
    parser.add_argument("--far", type=int, default=-1)
    parser.add_argument("--rest", nargs="...")
    args = parser.parse_args(["--far", "-7", "--several", "a", "b", "--far=3", "--rest", "--many", "c"])
    assert parser.take_back(args, "many") == "--several" and args.many == [] and args.explicit == {"far", "rest"}
    assert args.command == "merginguriel report --far -7 --far=3 --rest --many c"
    assert parser.take_back(args, "far") == "--far" and args.far == -1
    assert args.command == "merginguriel report --rest --many c" and args.rest == ["--many", "c"]
