"""Lists of jobs: what is done is skipped, what fails is named, kills and other runs harm nothing."""

import contextlib
import random
import signal
import time
from pathlib import Path

import forked
import pytest
import toy_jobs

from merginguriel.utils.flags.parser import ArgumentTypeError
from merginguriel.utils.jobs import engine, ledger
from merginguriel.utils.jobs import outcome as outcomes
from merginguriel.utils.jobs.job import Job, shard
from merginguriel.utils.storage import argument_types, atomic


def log_of(folder):
    return (folder / "log").read_text().splitlines()


@pytest.fixture
def toy_run(begin):
    return lambda folder: begin("tests/toy_jobs.py", folder)


def test_jobs_that_fail_for_one_reason_are_one_line(capsys):
    outcome = outcomes.Outcome(done={"a": "0.5"}, failures={"b": "no model", "c": "damaged", "d": "no model"})
    assert outcomes.conclude(outcome, "table") == 1
    said = capsys.readouterr()
    assert said.out == "table\n1 done, 0 done before, 3 failed\n"
    assert said.err == "failed: b, d: no model\nfailed: c: damaged\n"
    assert outcomes.conclude(outcomes.Outcome(done={"a": "0.5"}), "table") == 0


def test_failures_are_named_and_the_others_go_on(tmp_path):
    listed, seen = toy_jobs.make_jobs(tmp_path, job1={"refuses": True}, job3={"breaks": True}), []
    outcome = engine.work_off(listed, toy_jobs.Here(), lambda outcome: seen.append(str(outcome)))
    assert outcome.failures == {"job1": "no such model", "job3": "ValueError: a bug"}
    # Group by group, and what jobs share lives as long as their group.
    assert list(outcome.done) == ["job0", "job6", "job4", "job7", "job2", "job5", "job8"]
    assert outcome.done["job6"] == "number 2 of its group" and outcome.done["job2"] == "number 1 of its group"
    assert len(seen) == 9 and seen[-1] == str(outcome) == "7 done, 0 done before, 2 failed"
    again = engine.work_off(toy_jobs.make_jobs(tmp_path), toy_jobs.Here())
    assert len(again.kept) == 7 and set(again.done) == {"job1", "job3"} and not again.failures


def test_other_settings_are_another_job(tmp_path):
    listed = toy_jobs.make_jobs(tmp_path)
    engine.work_off(listed[:1], toy_jobs.Here())
    changed = Job("toy", "job0", "group0", tmp_path / "job0", {"number": 77})
    assert listed[0].is_done() and not changed.is_done()
    assert not Job(
        "toy", "job0", "group0", tmp_path / "job0", {"number": 0}, products=((str(tmp_path / "merged.json"), {}),)
    ).is_done()
    (tmp_path / "job0/results.json").write_text('{"job"')
    assert not listed[0].is_done()


def test_a_job_that_loses_its_process_is_tried_once_more(tmp_path, monkeypatch):
    forked.replace(monkeypatch.setattr)
    for name in ("dies job0", "dies job4"):
        (tmp_path / name).touch()
    outcome = engine.work_off(toy_jobs.make_jobs(tmp_path, job4={"once": True}), toy_jobs.InProcesses())
    assert list(outcome.failures) == ["job0"] and "exit code 9" in outcome.failures["job0"]
    assert outcome.is_whole("job4") and len(outcome.done) == 8
    log = log_of(tmp_path)
    assert log.count("began job0") == log.count("began job4") == 2
    assert len([line for line in log if line.startswith("ended")]) == 8


def test_shards_are_all_the_jobs_once(tmp_path):
    listed = toy_jobs.make_jobs(tmp_path)
    for count in (1, 2, 3, 5):
        parts = [shard(listed, (number, count)) for number in range(1, count + 1)]
        assert sorted(job.name for part in parts for job in part) == [job.name for job in listed]
    assert {job.group for job in shard(listed, (2, 2))} == {"group1"}
    for wrong in ("0/3", "4/3", "1", "a/b"):
        with pytest.raises(ArgumentTypeError):
            argument_types.shard(wrong)


def test_killed_at_any_point_it_goes_on(toy_run, tmp_path):
    moments, kills = random.Random(1), 0
    (tmp_path / "log").touch()
    while True:
        begun, process = len(log_of(tmp_path)) + moments.randint(3, 7), toy_run(tmp_path)
        while process.poll() is None and len(log_of(tmp_path)) < begun:
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.02))
        process.kill()
        ended = process.end()
        if ended.returncode == 0:
            break
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        kills += 1
        for folder in tmp_path.glob("job*"):  # whatever there is, is whole
            assert (folder / "part").is_file() and atomic.read_json(folder / "results.json")["job"]
    assert kills >= 2 and all(job.is_done() for job in toy_jobs.make_jobs(tmp_path))
    log = log_of(tmp_path)
    for job in toy_jobs.make_jobs(tmp_path):
        # What has ended is not begun again; a kill may come before the end is noted.
        assert log.count(f"ended {job.name}") <= 1
        assert f"began {job.name}" not in log[(log + [f"ended {job.name}"]).index(f"ended {job.name}") :]
    assert sum(line.startswith("ended") for line in log) >= 9 - kills
    assert not list(tmp_path.glob(".job*"))


@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="reads which processes are in a group")
@pytest.mark.parametrize("seconds", [30, 0.05])  # they wait for the end of a job; they talk of one after the other
def test_workers_end_without_a_word_when_the_command_is_killed(seconds, begin, tmp_path):
    (tmp_path / "log").touch()
    process = begin("tests/toy_jobs.py", tmp_path, seconds, "processes")
    while len(log_of(tmp_path)) < 2 and process.poll() is None:
        time.sleep(0.002)
    process.kill()
    assert process.end().returncode == -signal.SIGKILL
    until = time.monotonic() + 60
    while running(process.pid) and time.monotonic() < until:
        time.sleep(0.02)
    assert not running(process.pid) and not process.end().stderr, process.end().stderr


def running(group: int) -> list[str]:
    """The processes of a group that are no zombies."""
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            state, _, of = file.read_text().rpartition(")")[2].split()[:3]
            found += [file.parent.name] if int(of) == group and state != "Z" else []
    return found


def test_two_runs_share_the_jobs(toy_run, tmp_path):
    both = [process.end() for process in [toy_run(tmp_path), toy_run(tmp_path)]]
    assert [done.returncode for done in both] == [0, 0], both[0].stderr + both[1].stderr
    assert sorted(log_of(tmp_path)) == sorted(
        f"{what} job{number}" for number in range(9) for what in ("began", "ended")
    )


def test_seconds_of_jobs_are_kept_over_a_stop(tmp_path):
    def told(jobs):
        made = ledger.Ledger(tmp_path, "python x.py", jobs, prefix="all")
        engine.carry_out(made, toy_jobs.Here())
        return atomic.read_json(tmp_path / "all_progress.json")["seconds"]

    first = told(toy_jobs.make_jobs(tmp_path, job0={"seconds": 0.2}, job4={"breaks": True}))
    assert first.keys() == {f"job{number}" for number in range(9)} - {"job4"}
    assert first["job0"] >= 0.2
    second = told(toy_jobs.make_jobs(tmp_path))
    assert second.keys() == first.keys() | {"job4"} and {name: second[name] for name in first} == first
    for broken in ("[]", '{"seconds": 7}', "{"):
        for file in tmp_path.glob("all_progress*"):
            file.write_text(broken)
        assert told(toy_jobs.make_jobs(tmp_path)) == {}


def test_two_commands_in_one_folder_keep_their_progress_and_end(tmp_path):
    commands, jobs = [f"python x.py --number {number}" for number in (0, 1)], toy_jobs.make_jobs(tmp_path)
    lists = [ledger.Ledger(tmp_path, command, jobs, prefix="all") for command in commands]
    for one in lists:
        one.begin()
    for number in (1, 0):
        lists[number].end(outcomes.Outcome(failures={f"job{number}": f"reason {number}"}))
    for what in ("progress", "final_results"):
        own = [atomic.read_json(path) for path in tmp_path.glob(f"all_{what}_*.json")]
        told = {one["command"]: one["failures"] for one in own}
        assert told == {command: {f"job{number}": f"reason {number}"} for number, command in enumerate(commands)}
        assert atomic.read_json(tmp_path / f"all_{what}.json")["command"] == commands[0]  # which wrote last
    reasons = [found.missing for found in ledger.undone(tmp_path)[0]]
    assert sorted((missing["job0"], missing["job1"]) for missing in reasons) == [("", "reason 1"), ("reason 0", "")]
