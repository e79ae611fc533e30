"""The world that every input of tests/hostile damages a copy of."""

import os

import pytest
import worlds
from hypothesis import HealthCheck, configuration, settings

# How many times as many inputs as the tests draw by themselves; more than once, other ones every time.
TIMES = int(os.environ.get("HOSTILE", "1"))


@pytest.fixture(scope="session", autouse=True)
def _no_example_database(tmp_path_factory):
    configuration.set_hypothesis_home_dir(tmp_path_factory.mktemp("hypothesis"))


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """See tests/hostile/worlds.py."""
    return worlds.make_world(tmp_path_factory.mktemp("hostile") / "world")


@pytest.fixture
def inputs():
    """inputs(number): of how many inputs a test is, as settings of hypothesis."""

    def call(number):
        return settings(
            max_examples=number * TIMES,
            derandomize=TIMES == 1,
            database=None,
            deadline=None,
            print_blob=False,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        )

    return call
