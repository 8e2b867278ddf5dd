"""ToolRL's reward of structured calls: one function."""

import collections

from agentrl.envs import families
from agentrl.rewards.contract import each


@each
def structured_calls(trajectory, task, *, tool="calculator", largest=3.0):
  """From `-largest` to `largest`, by how much of the demonstrated calls was called: names, arguments, their values.

  `largest (2 S / S_max - 1)`, where S is the overlap of the names (multisets, intersection over union) plus, for each
  pair of calls with one name, the overlap of the arguments' names and the number of values that agree, and S_max is
  the S of the demonstrated calls themselves. Qian et al., 2025, "ToolRL" (https://arxiv.org/abs/2504.13958).
  """
  wanted = [call for action in families.load(task.family).oracle(task, tool) for call in action.calls]
  made = [result.call for turn in trajectory.turns for result in turn.results]
  left, right = (collections.Counter(call.name for call in calls) for calls in (wanted, made))
  score = (left & right).total() / max(1, (left | right).total())
  for call in wanted:
    other = next((other for other in made if other.name == call.name), None)
    if other is not None:
      made.remove(other)
      ours, theirs = call.arguments, other.arguments
      score += len(ours.keys() & theirs.keys()) / max(1, len(ours.keys() | theirs.keys()))
      score += sum(key in theirs and theirs[key] == value for key, value in ours.items())
  return largest * (2 * score / (1 + sum(1 + len(call.arguments) for call in wanted)) - 1)
