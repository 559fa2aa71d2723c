"""The trial's fixtures."""

from tests.scenario.fixtures import *  # noqa: F403
