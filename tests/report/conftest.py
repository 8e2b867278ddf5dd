"""A small recorded run: cold start of 2 steps, then 3 updates."""

import json

import numpy as np
import pytest

from agentrl.training import config_values
from agentrl.training.run_folder import RunFolder
from agentrl.types import StopReason, Task, ToolCall, ToolResult, Trajectory, Turn, TurnKind


class Bytes:
  """Tokens are bytes."""

  def decode(self, ids):
    return bytes(ids).decode(errors="replace")


def _trajectory(group, solved):
  """Prompt `Q?`, a call `C1`, its observation `=7`, an answer `A`."""
  tokens = np.frombuffer(b"Q?C1=7A", np.uint8).astype(np.int32)
  mask = np.array([0, 0, 1, 1, 0, 0, 1], bool)
  result = ToolResult(ToolCall("search", {"q": "<b>&"}), "<script>alert(7)</script>", ok=True, seconds=0.004, cost=1.5)
  return Trajectory(
    tokens=tokens,
    action_mask=mask,
    sampler_logp=np.where(mask, -0.25, 0).astype(np.float32),
    entropy=np.where(mask, 0.5, 0).astype(np.float32),
    turn=np.array([-1, -1, 0, 0, 0, 0, 1], np.int32),
    policy_version=np.where(mask, 3, -1).astype(np.int32),
    turns=[
      Turn(TurnKind.TOOL_CALL, 2, 4, "C1", results=[result], observation="=7", latency=0.005),
      Turn(TurnKind.ANSWER, 6, 7, "A", answer="A"),
    ],
    task_id=f"task-{group}",
    group_id=group,
    uid=group,
    stop=StopReason.ANSWERED,
    reward_parts={"correct": float(solved), "economy": 0.05},
    reward=solved + 0.05,
  )


@pytest.fixture
def run_path(tmp_path):
  config = config_values.resolve(
    {}, {"seed": 0, "cold_start": {"steps": 2}, "train": {"steps": 3}, "name": "<i>x</i>"}, where="test"
  )
  tasks = {g: Task(f"task-{g}", "keys", f"question <{g}>?", "A") for g in range(3)}
  with RunFolder.open(tmp_path / "run", config) as folder:
    for step in range(6):
      values = {} if step == 0 else {"policy/loss": 1 / step}
      if step in (0, 2, 5):
        values |= {
          "eval/success": step / 5,
          "eval/success_low": step / 6,
          "eval/success_high": step / 4,
          "eval/tool_calls": step / 5,
        }
        trajectories = [_trajectory(g, step == 5) for g in tasks]
        folder.save_trajectories(step, trajectories, tasks, Bytes(), evaluation=True)
      if step > 2:
        values |= {"train/reward": step / 10, "reward/correct": 0.5, "rollout/environment_failures": 1.0}
        values |= {"policy/entropy": float("nan") if step == 4 else 0.5}
      folder.write_metrics(step, values)
  return folder.path


def write_curve(path, values, *, cost, cold=0, seed=0, **cold_start):
  """A run folder with config and metrics: evaluated behind the cold start and after every step, which costs `cost`.

  Args:
    cold_start: further settings of it.
  """
  path.mkdir(parents=True)
  lines = [{"step": step, "wall_s": 1.0, "rollout/trajectories": 99} for step in range(1, cold)]
  lines += [
    {"step": cold + step, "wall_s": 1.0, "eval/success": value} | ({"rollout/trajectories": cost} if step else {})
    for step, value in enumerate(values)
  ]
  config = {"seed": seed, "model": {}, "chat": {}, "task": {}, "cold_start": {"steps": cold, **cold_start}}
  (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
  (path / "config.json").write_text(json.dumps(config))
  return path
