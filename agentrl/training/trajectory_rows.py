"""Trajectories as JSON values: the rows of trajectories/ in a run's folder, for people and for `agentrl.report`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from agentrl.types import Task, ToolCall, ToolFailure, ToolResult, Trajectory, Turn, TurnKind

MAX_BYTES_OF_A_CHARACTER = 4  # in UTF-8, and so tokens of a byte-level vocabulary


class Decoder(Protocol):
  """The face of a tokenizer that is needed here."""

  def decode(self, ids: Sequence[int]) -> str:
    """Text of ids, with U+FFFD for incomplete characters."""
    ...


def trajectory_row(trajectory: Trajectory, task: Task, tokenizer: Decoder) -> dict[str, Any]:
  """A trajectory as JSON values. Per-token lists have one entry per token; `text` is "" where a character goes on."""
  t = trajectory
  return {
    "uid": t.uid,
    "group_id": t.group_id,
    "task_id": t.task_id,
    "index": t.index,
    "seed": t.seed,
    "question": task.question,
    "reference": task.answer,
    "difficulty": task.difficulty,
    "stratum": task.stratum,
    "stop": t.stop.value,
    "failure": None if t.failure is None else {"kind": t.failure.kind.value, "reason": t.failure.reason},
    "reward": t.reward,
    "reward_parts": None if t.reward_parts is None else dict(t.reward_parts),
    "temperature": t.temperature,
    "parent": t.parent,
    "fork_at": t.fork_at,
    "visits": None if t.visits is None else dataclasses.asdict(t.visits),
    "tokens": t.tokens.tolist(),
    "text": token_texts(t.tokens.tolist(), tokenizer),
    "action_mask": t.action_mask.astype(int).tolist(),
    "sampler_logp": [round(x, 5) for x in t.sampler_logp.tolist()],
    "entropy": [round(x, 5) for x in t.entropy.tolist()],
    "turn": t.turn.tolist(),
    "policy_version": t.policy_version.tolist(),
    "turns": [_turn_row(turn) for turn in t.turns],
    "prefix": [_turn_row(turn) for turn in t.prefix],
  }


def token_texts(tokens: Sequence[int], tokenizer: Decoder) -> list[str]:
  """Text of each token; a character spread over several tokens stands at the last of them."""
  texts, start = [], 0
  for end in range(1, len(tokens) + 1):
    text = tokenizer.decode(tokens[start:end])
    incomplete = text.endswith("\ufffd") and end - start < MAX_BYTES_OF_A_CHARACTER and end < len(tokens)
    texts.append("" if incomplete else text)
    start = start if incomplete else end
  return texts


def turn_of(row: Mapping[str, Any]) -> Turn:
  """The turn that a row's entry of `turns` was written of."""
  results = [
    ToolResult(
      call=ToolCall(result["name"], result["arguments"]),
      text=result["text"],
      ok=result["ok"],
      failure=None if result["failure"] is None else ToolFailure(result["failure"]),
      seconds=result["seconds"],
      cost=result["cost"],
    )
    for result in row["results"]
  ]
  return Turn(**{**row, "kind": TurnKind(row["kind"]), "results": tuple(results)})


def _turn_row(turn: Turn) -> dict[str, Any]:
  return {
    "kind": turn.kind.value,
    "start": turn.start,
    "end": turn.end,
    "text": turn.text,
    "answer": turn.answer,
    "observation": turn.observation,
    "ok": turn.ok,
    "latency": turn.latency,
    "reward": turn.reward,
    "results": [
      {
        "name": result.call.name,
        "arguments": dict(result.call.arguments),
        "text": result.text,
        "ok": result.ok,
        "failure": None if result.failure is None else result.failure.value,
        "seconds": result.seconds,
        "cost": result.cost,
      }
      for result in turn.results
    ],
  }
