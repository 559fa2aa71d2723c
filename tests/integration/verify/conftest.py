"""A simulated trial whose exported evidence is verified."""

from tests.scenario.fixtures import *  # noqa: F403
