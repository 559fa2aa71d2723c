"""A simulated trial to be exported."""

from tests.scenario.fixtures import *  # noqa: F403
