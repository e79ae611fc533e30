"""Progress in lines, where there is no terminal: few, with the time left, and none of what is short or inside."""

import io
import logging
import sys

import pytest

from merginguriel.utils.storage import messages, progress
from merginguriel.utils.storage.progress import Progress, over


class Clock:
    """Seconds that pass when they are told to."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


@pytest.fixture
def lines(caplog, clock):
    """The lines that `work(seconds a step, steps)` says."""

    def work(seconds, steps, **more):
        caplog.clear()
        with caplog.at_level(logging.INFO), Progress("cells", steps, **more) as bar:
            for _ in range(steps - int(more.get("done", 0))):
                clock.now += seconds
                bar.moved()
        return caplog.messages

    return work


def test_every_tenth_with_the_time_left(lines):
    said = lines(6, 20)
    assert said[0] == "cells: 10 %, about 01:48 left" and said[-1] == "cells: 90 %, about 00:12 left"
    assert [line.split()[1] for line in said] == [str(share) for share in range(10, 100, 10)]


def test_what_is_short_says_nothing(lines):
    assert lines(0.04, 100) == []


def test_lines_are_some_twenty_however_long_it_takes(lines):
    for seconds in (1, 60, 3600):
        assert 9 <= len(lines(seconds, 1000)) <= 25


def test_a_first_sign_comes_after_half_a_minute(lines):
    assert lines(10, 1000)[0] == "cells: 0 %"


def test_what_was_done_before_does_not_shorten_the_time_left(lines):
    said = lines(10, 10, done=5)
    assert said[0] == "cells: 60 %, about 00:40 left"


def test_of_fractions_nothing_is_left_in_the_end(clock):
    with Progress("cells", 1) as bar:
        for number in range(10):
            assert bool(bar.left()) == (number > 0)
            clock.now += 1
            bar.moved(0.1)
        assert bar._done < 1 and bar.left() == ""


def test_work_inside_other_work_says_nothing(caplog, clock):
    with caplog.at_level(logging.INFO), Progress("outer", 10):
        for _ in over(range(100), "inner", 100):
            clock.now += 10
    assert caplog.messages == []


def test_a_bar_on_a_terminal_and_none_where_it_is_quiet(monkeypatch, clock):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for level, shown in ((messages.USUAL, True), (messages.QUIET, False)):
        monkeypatch.setattr(sys, "stderr", terminal := Terminal())
        with messages.heard(level), Progress("cells", 4) as bar:
            bar.moved(2)
            bar.say("nl-NL")
        assert ("cells:  50%|" in terminal.getvalue() and "nl-NL" in terminal.getvalue()) == shown


def test_too_many_warnings_of_one_kind_are_counted(caplog):
    log = logging.getLogger("merginguriel.kind")
    with messages.said_once(log):
        for number in range(9):
            log.warning("no model of %d", number)
            log.warning("no model of %d", number)
    assert caplog.messages == [
        *(f"no model of {number}" for number in range(5)),
        "and 4 more warnings like these; -v shows all",
    ]
