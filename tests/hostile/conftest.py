"""How the tests of this folder draw inputs, and the world that every input damages a copy of."""

import os

import edits
import pytest
import verdicts
import worlds
from hypothesis import HealthCheck, Phase, configuration, given, settings
from hypothesis import strategies as st

# How many times as many inputs as the tests draw by themselves; more than once, other ones every time.
TIMES = int(os.environ.get("HOSTILE", "1"))


@pytest.fixture(scope="session", autouse=True)
def _no_example_database(tmp_path_factory):
    configuration.set_hypothesis_home_dir(tmp_path_factory.mktemp("hypothesis"))


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """See tests/hostile/worlds.py."""
    return worlds.make_world(tmp_path_factory.mktemp("hostile") / "world")


@pytest.fixture(scope="session")
def world_of_results(tmp_path_factory, world):
    """The same after a sweep and an N×N."""
    return worlds.with_results(world, tmp_path_factory.mktemp("results") / "world")


@pytest.fixture
def hold(tmp_path):
    """hold(world, number, strategy, check, known): check(a damaged copy of the world) -> Verdict.

    The damage is none, or `start`, that of each of `known`, then `number` draws of one or two edits.
    """

    def call(world, number, strategy, check, known=(), start=()):
        seen = []

        def holds(damaged):
            with verdicts.copy_of(world, tmp_path) as root:
                edits.damage(root, damaged)
                seen.append(check(root))

        holds(start)
        assert seen[0].code == 0, seen[0].err
        for damaged in known:
            holds(damaged)
        drawn = settings(
            max_examples=number * TIMES,
            derandomize=TIMES == 1,
            database=None,
            deadline=None,
            print_blob=False,
            report_multiple_bugs=False,
            # One or two edits are small as they are, and shrinking them takes minutes.
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        drawn(given(st.lists(strategy, min_size=1, max_size=2))(holds))()
        assert len(seen) >= number
        codes = [verdict.code for verdict in seen[1:]]
        # A generator of which everything is refused, or nothing, shows little.
        assert 2 in codes or 1 in codes
        assert 0 in codes
        print(f"{len(seen)} inputs, {codes.count(2)} refused, {codes.count(1)} in part")

    return call
