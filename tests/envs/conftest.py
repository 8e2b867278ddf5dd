"""Fixtures of the tests of environments."""

import contextlib

import pytest

from agentrl import envs
from agentrl.envs.hosting import Hosting


@pytest.fixture
def make_hosted():
  """`envs.make` with a worker process, for families that ask for one; ends it."""
  with contextlib.ExitStack() as stack:

    def make(*names, **settings):
      return stack.enter_context(contextlib.closing(envs.make(*names, hosting=Hosting(1), **settings)))

    yield make
