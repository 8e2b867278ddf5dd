"""The suites are upstream's own, loaded without the clients of model services."""

import subprocess
import sys

import pytest

pytest.importorskip("agentdojo", reason="needs agentrl[agentdojo]")
from agentrl.envs.adapters import agentdojo
from agentrl.envs.adapters.agentdojo.suites import load_suites

REQUESTS = {split: len(agentdojo._pairs(split, 3, "", False, None)) for split in ("train", "held_out")}


def test_the_counts_are_those_of_the_benchmark():
  assert {name: len(suite.user_tasks) for name, suite in load_suites().items()} == {
    "workspace": 40,
    "travel": 20,
    "banking": 16,
    "slack": 21,
  }
  assert sum(len(suite.injection_tasks) for suite in load_suites().values()) == 35
  assert sum(REQUESTS.values()) == 97


def test_no_client_of_a_model_service_is_loaded_and_the_real_modules_can_be():
  code = (
    "import sys; from agentrl.envs.adapters.agentdojo.suites import load_suites; load_suites();"
    "print({'openai', 'anthropic', 'cohere', 'google.genai', 'langchain', 'jax'} & set(sys.modules),"
    "'agentdojo.agent_pipeline' in sys.modules)"
  )
  run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
  assert run.stdout == "set() False\n"
