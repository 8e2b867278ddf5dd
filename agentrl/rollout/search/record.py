"""What is kept of a search: its tree for people, and its visits as targets for the policy."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from agentrl.models.tokenizer import Tokenizer
from agentrl.rollout.search import tree
from agentrl.rollout.search.planner import Planner, step_uid
from agentrl.rollout.search.tree import Node
from agentrl.types import StopReason, Trajectory, Turn, VisitShares


def describe(planner: Planner, tokenizer: Tokenizer) -> dict[str, Any]:
  """A finished search as JSON: its task, and its nodes depth first.

  Every node has id, parent, text (of the step; of the prompt at the root), answer (the environment's), tokens
  (sampled), given (tokens of the answer or the prompt), prior, visits, q, value, terminal, barred, and chosen.
  """
  ids: dict[Node, int] = {}
  chosen = {id(node) for node in planner.chosen}
  nodes = []
  for node in planner.prompt_node.walk():
    ids[node] = len(ids)
    step = node.step
    nodes.append({
      "id": ids[node],
      "parent": None if node.parent is None else ids[node.parent],
      "text": tokenizer.decode(step.prefix.read() if node.parent is None else step.tokens),
      "answer": tokenizer.decode(step.feed),
      "tokens": len(step.tokens),
      "given": step.prefix.end if node.parent is None else len(step.feed),
      "prior": node.prior,
      "visits": node.visits,
      "q": node.q,
      "value": node.value,
      "terminal": node.terminal,
      "barred": node.barred,
      "chosen": id(node) in chosen,
    })  # fmt: skip
  task, trajectory = planner.request.task, planner.trajectory
  return {
    "task": task.id,
    "question": task.question,
    "uid": planner.request.uid,
    "reward": trajectory.reward,
    "nodes": nodes,
  }


def unique_tokens(record: dict[str, Any]) -> int:
  """Tokens in a tree, each counted once."""
  return sum(node["tokens"] + node["given"] for node in record["nodes"])


def branches(planner: Planner) -> list[Trajectory]:
  """The visited siblings of the chosen path as branches of its trajectory, one step each.

  Their reward is Q(s, a), and `visits.branch` is N(s, a) / sum_b N(s, b): the target that the search gives for the
  step. Their uids are those of the steps. There are none where the environment failed.
  """
  if planner.trajectory.failed:
    return []
  found = []
  for node in planner.chosen:
    shares = dict(tree.visit_shares(node.parent))
    own, length = shares[node], len(node.step.tokens)
    found += [_branch(planner, n, VisitShares(share, own, length)) for n, share in shares.items() if n is not node]
  return found


def _branch(planner: Planner, node: Node, visits: VisitShares) -> Trajectory:
  path, step = planner.trajectory, node.step
  start = node.parent.step.prefix.end
  count = len(step.tokens)
  return dataclasses.replace(
    path,
    tokens=np.asarray([*path.tokens[:start], *step.tokens], np.int32),
    action_mask=np.append(path.action_mask[:start], np.ones(count, bool)),
    sampler_logp=np.append(path.sampler_logp[:start], np.asarray(step.logp, np.float32)),
    entropy=np.append(path.entropy[:start], np.asarray(step.entropy, np.float32)),
    turn=np.append(path.turn[:start], np.full(count, path.turn[start], np.int32)),
    policy_version=np.append(path.policy_version[:start], np.full(count, path.policy_version[start], np.int32)),
    turns=_earning([turn for turn in path.turns if turn.end <= start], node.q),
    uid=step_uid(path.uid, [n.index for n in node.path()]),
    stop=StopReason.LENGTH_LIMIT,
    reward_parts={},
    reward=node.q,
    parent=path.uid,
    fork_at=start,
    visits=visits,
  )


def _earning(turns: Sequence[Turn], reward: float) -> tuple[Turn, ...]:
  """The turns, of which the last one earned it all."""
  earned = [0.0] * (len(turns) - 1) + [reward] * bool(turns)
  return tuple(dataclasses.replace(turn, reward=r) for turn, r in zip(turns, earned, strict=True))
