"""A fork adds methods by functions, modules and a config of its own, and touches nothing of ours."""

import ast
import pathlib

import numpy as np
import pytest
from ml_collections import ConfigDict
from my_method import rewards, topr_opo

from agentrl import credit
from agentrl.envs import families
from agentrl.envs.tasks import arithmetic
from agentrl.training import config as config_lib
from agentrl.training import metrics
from agentrl.types import StopReason, ToolCall, ToolResult, Trajectory, Turn, TurnKind
from experiments import train

HERE = pathlib.Path(__file__).parent
CONFIG = HERE / "configs" / "my_method.py"
ARMS = vars(config_lib.read_file(CONFIG))["ARMS"]


@pytest.mark.parametrize("arm", ARMS)
def test_its_arm_trains(arm, tmp_path):
  assert train.main(["--config", f"{CONFIG}:{arm}", "--workdir", str(tmp_path / arm), "--config.mesh.data=1"]) == 0
  lines = metrics.read(tmp_path / arm / "metrics.jsonl")
  assert [line["step"] for line in lines] == [0, 1, 2]
  marks = {"toolrl": "reward/structured_calls", "progress": "progress/error"}
  assert arm not in marks or marks[arm] in lines[1]


def code_lines(path):
  """Lines of a file that hold code: no blank ones, comments or docstrings."""
  tree = ast.parse(path.read_text())
  documented = (ast.Module, ast.FunctionDef)
  texts = [node.body[0] for node in ast.walk(tree) if isinstance(node, documented) and ast.get_docstring(node)]
  told = {line for text in texts for line in range(text.lineno, text.end_lineno + 1)}
  lines = enumerate(path.read_text().splitlines(), 1)
  return sum(n not in told and bool(line.strip()) and not line.strip().startswith("#") for n, line in lines)


@pytest.mark.parametrize(
  ("module", "most"), [("topr_opo", 40), ("progress", 80), ("rewards", 40), ("best_of", 40), ("curricula", 20)]
)
def test_a_method_is_a_few_lines(module, most):
  arm = {"rewards": "toolrl", "curricula": "stubborn"}.get(module, module)
  assert code_lines(HERE / "my_method" / f"{module}.py") + len(str(ARMS[arm])) // 100 + 1 <= most


def trajectory(uid, reward, sampled, *, calls=()):
  tokens = np.zeros(sampled + 1, np.int32)
  mask = np.arange(sampled + 1) > 0
  results = [ToolResult(call, "", True) for call in calls]
  turns = [Turn(TurnKind.TOOL_CALL, 1, sampled + 1, "", results=results)]
  zeros = np.zeros(sampled + 1, np.float32)
  return Trajectory(
    tokens, mask, zeros, zeros, np.where(mask, 0, -1), np.where(mask, 0, -1), turns, "t", 0, uid, StopReason.ANSWERED,
    reward=reward,
  )  # fmt: skip


def test_its_baseline_is_that_of_ours():
  group = [trajectory(0, 1.0, 3), trajectory(1, 0.0, 1)]
  own, ours = topr_opo.opo(None, group), credit.make_credit("opo", ConfigDict()).assign(None, group)
  # b = (3 * 1 + 1 * 0) / 4
  np.testing.assert_allclose([a[-1] for a in own.advantages], [0.25, -0.75])
  for one, other in zip(own.advantages, ours.advantages, strict=True):
    np.testing.assert_allclose(one[1:], other[1:], rtol=1e-6)


def test_its_reward_counts_names_arguments_and_values():
  task = arithmetic.generate(0, split="train")
  (wanted,) = [call for action in families.load("arithmetic").oracle(task, "calculator") for call in action.calls]
  (name,) = wanted.arguments
  cases = [
    ((wanted,), 3.0),  # S = S_max = 1 + 1 + 1
    ((ToolCall(wanted.name, {name: "1"}),), 1.0),  # a wrong value: S = 2
    ((ToolCall(wanted.name, {}),), -1.0),  # no argument: S = 1
    ((), -3.0),
    ((wanted, ToolCall("other", {})), 2.0),  # names overlap by half: S = 2.5
  ]
  for calls, reward in cases:
    assert rewards.structured_calls([trajectory(0, None, 1, calls=calls)], task, {}) == [pytest.approx(reward)]
