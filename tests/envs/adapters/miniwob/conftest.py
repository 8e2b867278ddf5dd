"""One browser for the tests of a file, and a page in it."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def one_browser():
  from agentrl.envs.adapters.miniwob import browser

  yield
  browser.close_shared()


@pytest.fixture
def world():
  from agentrl.envs.adapters import miniwob
  from agentrl.envs.base import Setting
  from agentrl.envs.tool import ToolLimits

  opened = miniwob.environment(Setting(limits=ToolLimits(max_output_chars=20_000)))
  yield opened
  opened.close()
