"""The promises that every command's flags keep."""

import importlib
import logging
import os
import re
import resource
import shutil
import subprocess
import sys

import pytest
from running import ROOT, environment

import merginguriel
from merginguriel import cli
from merginguriel.cli import COMMANDS
from merginguriel.utils.data.massive_languages import DEFAULT_LOCALES, LOCALES
from merginguriel.utils.flags.parser import ArgumentParser
from merginguriel.utils.storage import messages

SCRIPTS = sorted(script for script, _ in COMMANDS.values())


def test_every_script_is_a_command():
    scripts = {path.stem for path in (ROOT / "merginguriel").glob("*.py")} - {
        "__init__",
        "__main__",
        "_checkout",
        "cli",
    }
    assert set(SCRIPTS) == scripts


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_is_light_and_fits_80_columns(script):
    code = (
        f"import sys; sys.argv = ['x', '--help']\nfrom merginguriel import {script}\n"
        f"try: {script}.main()\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'datasets', 'pandas'} & set(sys.modules)\n"
        "sys.exit(f'imports {heavy}' if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment(), "COLUMNS": "80"},
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: ") and max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize("path", [{}, {"PYTHONPATH": environment()["PYTHONPATH"]}])
def test_scripts_run_by_path_from_a_bare_checkout(tmp_path, path):
    """Another folder than the installed one, and than one that would be imported before what is installed."""
    for part in ("merginguriel", "submodules"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    registry = tmp_path / "submodules/auto_merge_llm/auto_merge_llm/methods/__init__.py"
    registry.write_text(registry.read_text().replace('"one source, unchanged"', '"of this very checkout"'))
    script = tmp_path / "merginguriel/run_merging_pipeline_refactored.py"
    bare = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, str(script), "--list-modes"]
    done = subprocess.run(command, cwd="/", env=bare | path, text=True, capture_output=True, check=False)
    assert done.returncode == 0 and "of this very checkout" in done.stdout, done.stderr
    for name in SCRIPTS:
        assert "if not __package__:\n    import _checkout" in (ROOT / f"merginguriel/{name}.py").read_text(), name


def test_help_answers_at_once():
    command = [sys.executable, str(ROOT / "merginguriel/run_merging_pipeline_refactored.py"), "--help"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    subprocess.run(command, env=environment(), capture_output=True, check=True)
    # Under 0.5 s; here only that nothing heavy (seconds) hides in it.
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 1


def parser():
    result = ArgumentParser()
    result.add_argument("--target-lang", default="sq-AL")
    result.add_argument("--num_languages", type=int, default=5)
    result.add_argument("--dry-run", action="store_true")
    return result


@pytest.mark.parametrize(
    "argv",
    [
        ["--target-lang", "a_b", "--num-languages", "3"],
        ["--target_lang", "a_b", "--num_languages", "3"],
        ["--target_lang=a_b", "--num-languages=3"],
    ],
)
def test_both_spellings(argv):
    args = parser().parse_args(argv)
    assert (args.target_lang, args.num_languages, args.dry_run) == ("a_b", 3, False)
    assert args.explicit == {"target_lang", "num_languages"}


def test_a_default_that_is_given_is_explicit():
    args = parser().parse_args(["--num-languages", "5"])
    assert args.explicit == {"num_languages"} and args.target_lang == "sq-AL"


@pytest.mark.parametrize(
    "argv, message",
    [(["--target"], "no flag --target; did you mean --target-lang?"), (["--num-languages", "x"], "invalid int")],
)
def test_errors_are_one_line(argv, message, capsys):
    with pytest.raises(SystemExit) as end:
        parser().parse_args(argv)
    text = capsys.readouterr().err
    assert end.value.code == 2 and re.fullmatch(r"error: .*\n", text) and message in text


def test_how_much_is_said_is_no_setting():
    plain = of_script().parse_args(["--num-languages", "3", "--rest", "--quiet"])
    assert plain.tokens == ["--num-languages", "3", "--rest", "--quiet"]
    for flag, level in (("-v", messages.VERBOSE), ("--verbose", messages.VERBOSE), ("--quiet", messages.QUIET)):
        with messages.heard():
            args = of_script().parse_args(["--num-languages", "3", flag, "--rest", "--quiet"])
            assert logging.getLogger("merginguriel").level == level
        assert {**vars(args), "parser": plain.parser} == vars(plain) and logging.getLogger(
            "merginguriel"
        ).level == logging.NOTSET


def of_script():
    result = ArgumentParser("report.py")
    result.add_argument("--num-languages", type=int, default=5)
    result.add_argument("--rest", nargs="...")
    return result


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_command_takes_both(script, said_by):
    """Beside a flag that is not there, so that nothing is done."""
    main = importlib.import_module(f"merginguriel.{script}").main
    for flag in ("-v", "--quiet"):
        code, _, error = said_by(main, flag, "--no-such-flag")
        assert code == 2 and flag not in error.replace("--no-such-flag", "")


@pytest.mark.parametrize(
    "line, meant",
    [
        ("mrege", "unknown command 'mrege'; did you mean merge?"),
        ("merge --taget-lang af-ZA --mode average", "no flag --taget-lang; did you mean --target-lang?"),
        ("merge --target-lang af-ZA --mode averge", "'averge'; did you mean average?"),
        ("sweep --modes averge", "'averge'; did you mean average?"),
        ("ensemble --target-lang af-ZA --voting-method sofd", "'sofd'; did you mean soft?"),
        ("nxn --splt test", "no flag --splt; did you mean --split?"),
    ],
)
def test_near_misses_are_told_in_one_line(line, meant, said_by):
    code, _, error = said_by(cli.main, *line.split())
    assert code == 2 and meant in error and len(error.splitlines()) == 1


def test_the_version(said_by):
    assert said_by(cli.main, "--version") == (0, f"merginguriel {merginguriel.__version__}\n", "")


@pytest.mark.parametrize(
    "line, wanted",
    [
        ("merginguriel mer", {"merge", "merge-manual"}),
        ("merginguriel merge --target-l", {"--target-lang"}),
        ("merginguriel merge --mode regm", {"regmean"}),
    ],
)
def test_what_a_shell_completes(line, wanted, tmp_path):
    shell = {"_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line))}
    shell |= {"_ARGCOMPLETE_STDOUT_FILENAME": str(tmp_path / "answer"), "_ARGCOMPLETE_IFS": "\n"}
    command = [sys.executable, str(ROOT / "merginguriel")]
    subprocess.run(command, env=environment() | shell, capture_output=True, check=False)
    assert set((tmp_path / "answer").read_text().split()) == wanted


def test_locales():
    assert len(LOCALES) == 52 and len(DEFAULT_LOCALES) == 49
    assert set(LOCALES) - set(DEFAULT_LOCALES) == {"he-IL", "sv-SE", "zh-CN"}


def test_cli_dispatches_and_refuses():
    run = [sys.executable, "-m", "merginguriel"]
    overview = subprocess.run(run, env=environment(), text=True, capture_output=True, check=False)
    assert overview.returncode == 0 and "merge-manual" in overview.stdout
    wrong = [*run, "evaluate", "--base-model", ".", "--locale", "af-ZX"]
    done = subprocess.run(wrong, env=environment(), text=True, capture_output=True, check=False)
    assert done.returncode == 2 and "did you mean af-ZA" in done.stderr
    for name, code in (("nothing", 2), ("plot_results.py", 0)):
        assert (
            subprocess.run([*run, name, "--list-csv"], env=environment(), capture_output=True, check=False).returncode
            == code
        )


def test_scripts_that_are_no_commands_have_their_names(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["benchmarks/own.py"])
    with pytest.raises(SystemExit):
        ArgumentParser().parse_args(["--help"])
    assert capsys.readouterr().out.startswith("usage: own.py [options]\n")
