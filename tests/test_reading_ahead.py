"""Splits that are read side by side: the same as one after the other, errors and warnings too."""

import json
import logging
import os
import shutil
import signal
from dataclasses import replace

import forked
import pytest
from auto_merge_llm.errors import InputError

from merginguriel.utils.data.massive import MINI_TASK
from merginguriel.utils.data.task import Wanted
from merginguriel.utils.jobs import reading_ahead

CODES = ["af-ZA", "nl-NL", "de-DE", "en-US", "es-ES", "id-ID", "sw-KE"]
WANTED = [Wanted(code, split, labelled) for code in CODES for split, labelled in (("test", True), ("train", False))]


@pytest.fixture
def task(tmp_path, monkeypatch):
    """The mini corpus as files, of which one has a label that is none, one repeats a text, and one is not there."""
    monkeypatch.setattr(reading_ahead, "cores", lambda: 4)
    monkeypatch.setattr(reading_ahead, "FEWEST", 3)
    for code in CODES[:-1]:
        with open(tmp_path / f"{code}.jsonl", "w", encoding="utf-8") as file:
            for split in ("train", "test"):
                items = MINI_TASK.load(code, split)
                for id_, text, label in zip(items.ids, items.texts, items.labels):
                    name = "nothing" if code == "de-DE" and split == "test" else items.label_names[label]
                    text = "the same" if code == "en-US" and split == "train" else text
                    row = {"id": f"{split}{id_}", "partition": split, "utt": text, "intent": name}
                    print(json.dumps(row), file=file)
    return replace(MINI_TASK, data=str(tmp_path), text=("utt",), label="intent", languages=())


def given(task, wanted):
    try:
        return wanted.read(task)
    except InputError as error:
        return str(error)


def test_all_is_as_when_it_is_asked_for(task, caplog):
    caplog.set_level(logging.WARNING)
    expected = [given(task, wanted) for wanted in WANTED]
    warnings = [(record.msg, record.args) for record in caplog.records]
    assert len(warnings) == 1 and sum(isinstance(one, str) for one in expected) == 3
    caplog.clear()
    with reading_ahead.reading_ahead(task, WANTED):
        shutil.rmtree(task.data)  # nothing is left to be read
        assert not caplog.records
        assert [given(task, wanted) for wanted in WANTED] == expected
    assert [(record.msg, record.args) for record in caplog.records] == warnings
    with pytest.raises(InputError):
        task.load("af-ZA", "test")
    assert replace(task, name="other").ahead == task.ahead == {}


@pytest.mark.parametrize("few", [WANTED[:6], []])
def test_few_splits_are_read_when_they_are_asked_for(task, few, monkeypatch):
    monkeypatch.setattr(reading_ahead, "in_processes", lambda *given: pytest.fail("a process was started"))
    with reading_ahead.reading_ahead(task, few):
        assert task.ahead == {}
    with reading_ahead.reading_ahead(MINI_TASK, WANTED):  # no files of ours
        assert MINI_TASK.ahead == {}


def test_what_is_held_goes_where_planning_fails(task):
    with pytest.raises(ZeroDivisionError), reading_ahead.reading_ahead(task, WANTED):
        assert len(task.ahead) == len(WANTED)
        raise ZeroDivisionError
    assert task.ahead == {}


@pytest.fixture
def damaged(monkeypatch):
    """`damaged(does)`: what is done in a process in place of reading Dutch, and how often."""
    forked.replace(monkeypatch.setattr)
    ours, read = os.getpid(), Wanted.read

    def replace(does):
        def reads(wanted, task):
            return does() if wanted.code == "nl-NL" and os.getpid() != ours else read(wanted, task)

        monkeypatch.setattr(Wanted, "read", reads)

    return replace


def test_what_a_process_that_was_killed_should_have_read_is_read_here(task, damaged):
    damaged(lambda: os.kill(os.getpid(), signal.SIGKILL))
    with reading_ahead.reading_ahead(task, WANTED):
        assert set(WANTED) - task.ahead.keys() == {wanted for wanted in WANTED if wanted.code == "nl-NL"}
        assert task.load("nl-NL", "test").texts == MINI_TASK.load("nl-NL", "test").texts


def test_a_file_that_cannot_be_opened_is_an_error_where_it_is_asked_for(task, damaged):
    damaged(lambda: open("/dev/null/nothing"))
    with reading_ahead.reading_ahead(task, WANTED):
        assert len(task.load("af-ZA", "test")) > 0
        with pytest.raises(NotADirectoryError, match="nothing"):
            task.load("nl-NL", "test")
