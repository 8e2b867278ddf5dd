"""What is kept of a search: every node once, and siblings as branches."""

import json

import numpy as np
import pytest

from agentrl.rollout.search.record import branches, describe, unique_tokens
from agentrl.types import EnvironmentFailed, VisitShares
from tests.rollout.search.test_planner import TOKENIZER, grow


@pytest.fixture(scope="module")
def planner():
  return grow(uid=11)


def test_a_record_is_json_and_has_every_node_once(planner):
  record = json.loads(json.dumps(describe(planner, TOKENIZER)))
  nodes = record["nodes"]
  walked = list(planner.prompt_node.walk())
  assert [n["visits"] for n in nodes] == [n.visits for n in walked]
  assert [n["id"] for n in nodes] == list(range(len(nodes)))
  assert all(n["parent"] < n["id"] for n in nodes[1:]) and nodes[0]["parent"] is None
  assert nodes[0]["text"].startswith("why?") and record["reward"] == planner.trajectory.reward
  chosen = "".join(n["text"] for n in nodes if n["chosen"])
  t = planner.trajectory
  assert chosen == TOKENIZER.decode(t.tokens[t.action_mask])


def test_unique_tokens_are_those_of_all_prefixes(planner):
  prefixes = set()
  for node in planner.prompt_node.walk():
    tokens = node.step.prefix.read()
    prefixes |= {tuple(tokens[: n + 1]) for n in range(len(tokens))}
  assert unique_tokens(describe(planner, TOKENIZER)) >= len(prefixes)  # siblings may begin alike
  assert unique_tokens(describe(planner, TOKENIZER)) < 1.6 * len(prefixes)


def test_branches_carry_visits_and_values(planner):
  found = branches(planner)
  assert found
  by_fork = {}
  for branch in found:
    by_fork.setdefault(branch.fork_at, []).append(branch)
  for node in planner.chosen:
    start = node.parent.step.prefix.end
    siblings = [child for child in node.parent.children if child.visits and child is not node]
    assert len(by_fork.get(start, [])) == len(siblings)
    total = node.visits + sum(child.visits for child in siblings)
    for branch, child in zip(by_fork.get(start, []), siblings, strict=True):
      assert branch.reward == child.q and branch.reward_parts == {}
      assert branch.visits == VisitShares(child.visits / total, node.visits / total, len(node.step.tokens))
      np.testing.assert_array_equal(branch.tokens[start:], child.step.tokens)


def test_a_tree_whose_environment_gave_no_prompt_is_one_empty_node():
  def broken():
    raise EnvironmentFailed("gone")

  planner = grow(environment=broken)
  record = describe(planner, TOKENIZER)
  assert record["reward"] is None and [node["text"] for node in record["nodes"]] == [""]
