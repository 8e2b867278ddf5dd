"""Every key that a config may set, with its default and its meaning. Config files start from here."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from agentrl import algorithms
from agentrl.training import config as config_lib


def run_config(settings: Mapping[str, Any], *, where: str, base: ConfigDict | None = None) -> ConfigDict:
  """The config of a run: defaults, the algorithm's own defaults under `algo`, and the settings over both.

  Args:
    settings: nested; every key must exist.
    where: the file that says so, for errors.
    base: another run's config to start from instead of the defaults; its `algo` stays unless the algorithm changes.
  """
  start = base_config() if base is None else copy.deepcopy(base).unlock()
  algorithm = settings.get("algorithm", start.algorithm)
  if base is None or algorithm != base.algorithm:
    start.algo = algorithms.load(algorithm).default_config()
  return config_lib.resolve(start, settings, where=where)


def base_config() -> ConfigDict:
  """Defaults of a run; `configs/*.py` override what they need."""
  return ConfigDict({
    "seed": 0,
    "model": {
      "source": "random",  # "random": the sizes below; "hf": a folder with safetensors; "smollm2": the packaged model
      "path": "",  # folder, for "hf"
      # Of weights and activations. "bfloat16": what samples, is evaluated and exported are float32 masters rounded to
      # it; with masters, moments and the sum of gradients a weight takes 18 bytes, and one of "float32" takes 16.
      "dtype": "float32",
      "remat": "none",  # what the backward pass keeps of a layer: "none" all, "dots" matmuls, "full" its input
      "attention": "",  # `implementation` of ops/attention/forest in the update: "triton" on a GPU; empty: automatic
      # Of "random": ids at most of a tokenizer trained on authored traces; 0: the bytes.
      "vocabulary": 0,
      "layers": 2, "width": 64, "heads": 4, "kv_heads": 2, "head_dim": 16, "ffn": 256, "rope_base": 10_000.0,
    },
    "chat": {
      # "tags": <open>code</close> inline; "chatml_json", "llama3_json": JSON calls in ChatML or in Llama 3's messages;
      # "dialogue": utterances, without tools
      "style": "tags",
      "template": "plain",  # "plain", "chatml" or "llama3"; read by "tags" and "dialogue"
      "stop": "\n",  # ends an utterance and its reply; empty: the end-of-turn token; read by "dialogue"
      "open": "<calc>", "close": "</calc>",  # of a tool call; read by "tags"
      "observation_open": "=", "observation_close": "\n",  # around a tool's output; read by "tags"
      "answer_open": "", "answer_close": "",  # around an answer; empty: the whole last turn; read by "tags"
    },
    "task": {
      "family": "arithmetic",  # of envs.tasks.FAMILIES, or the import path of a module of yours
      "tool": "calculator",  # key of envs.TOOLS; "": none, for the families in envs.tasks.WORLDS
      "difficulty": 1,
      "options": {},  # keyword arguments of the family's generate
      "tool_options": {},  # "mcp": servers, see envs/tools/mcp.py; "search": corpus; "sql", "duckdb": path
      "oracle_tool": "",  # the tool whose calls demonstrations make; "": `tool`. See envs.make
      "system": "",  # system message
      "examples": 0,  # oracle traces shown as few-shot examples in the prompt
      "call_seconds": 5.0,  # deadline of one tool call
      "max_output_chars": 2000,  # of a tool's output, the rest is cut and said to be
    },
    "hosting": {  # worker processes for environments; one that is lost costs its episodes a retry
      "processes": 0,  # 0: environments live beside the trainer
      "episodes": 16,  # open in one process at a time, further ones wait; 1 where the family asks for it
      "retries": 1,  # per episode: played again from its seed in another process
      "start_seconds": 60.0,  # until a process must be ready
      "episode_seconds": 3600.0,  # that the environment calls of an episode may take together
      "backend": "local",  # "local": on this machine; "ray": actors of a Ray cluster
    },
    "rollout": {
      "groups": 8,  # prompts per step
      "group_size": 8,  # samples per prompt
      "max_tokens": 128,  # of a trajectory, prompt included
      "max_turns": 4,
      "turn_tokens": 0,  # after which a turn is over as it stands; 0: it may fill the trajectory
      "temperature": 1.0,
      "compiled": True,  # one compiled loop with host callbacks; False: the same loop from Python
      "workers": 8,  # threads for environments and tools
      "environment_seconds": 60.0,  # that one environment call may take; then the environment has failed
      "rounds": 1,  # how often groups that the filters emptied are resampled (dynamic sampling); 1: never
      "max_failed_share": 0.5,  # of a step's trajectories with a failed environment; above it the run stops
      # Of the samples of a prompt: "independent"; "branching": some branch from others, after tool results;
      # "tree_search": each is the visited path of a search, see `search`; "reranked": of several utterances at every
      # state the algorithm's critics choose the one that is said, in the evaluations after a first update too.
      "strategy": "independent",
      "branching": {  # read by "branching" (the window by the metrics of any), see rollout/strategies/branching.py
        "initial": 4,  # samples that start at the prompt; the rest of `group_size` are branches
        "branches": 1,  # started at once where the rule says so
        "rule": "threshold",  # "threshold": the paper's, "code": the released code's, "random": the control
        "window": 20,  # tokens whose entropies are compared
        "alpha": 0.5, "beta": 0.2, "threshold": 0.5,  # read by "threshold"
        "probability": 0.5,  # read by "code" and "random"
        "weight": 0.2,  # read by "code"
      },
      "reranked": {"candidates": 5},  # utterances to choose from; read by "reranked"
    },
    "search": {  # read by rollout.strategy "tree_search" and by eval.search, see rollout/search/planner.py
      "simulations": 32,  # of a search, beside the evaluation of its root
      "width": 4,  # steps sampled where a leaf is expanded
      "depth": 8,  # steps of a path
      "step_tokens": 32,  # sampled tokens of a step
      "step_end": "\n",  # text that ends a step inside a turn; "": a step is a whole turn
      "parallel": 4,  # simulations of a tree in flight
      "c_puct": 0.5,  # weight of the prior
      "unvisited_parent": False,  # Q of a step without visits: its parent's; else 0
      "virtual_value": 0.0,  # of a visit in flight
      "prior": "sum",  # of the log-probs of a step: "sum", "mean" or "uniform" (none)
      "prior_temperature": 1.0,
      "evaluate": "value",  # "value": the critic's value head; "rollout": the reward of a sample to the end
      "commit": "path",  # "path": one search gives the path; "step": a search before every step, on what is known
      "saved_trees": 2,  # written to the run folder whenever trajectories are, the first by uid; 0: none
    },
    "engine": {
      "slots": 32, "decode_rows": 0, "decode_tokens": 8,
      "feed_tokens": 128, "prefill_tokens": 32, "prefill_rows": 1, "live_step": 64,
      "attention": "",  # over the cache: "reference", "xla" or "triton"; "": by device
      "cache_dtype": "",  # "float32", "bfloat16" or "int8", see EngineConfig for what rounding costs; "": `model.dtype`
    },
    "pack": {"row_tokens": 256, "row_actions": 128, "rows": 8, "share_prefixes": True},
    "reward": {},  # weight of each named part, see rewards/parts.py: {"correct": 1.0}
    "reward_options": {},  # keyword arguments of parts: {"soft_overlong": {"max_tokens": 512, "buffer": 64}}
    "filters": (),  # names in batching.filters.FILTERS, in order, before the advantages
    "cold_start": {
      "steps": 0,  # of supervised learning on authored traces before RL
      "batch": 64,  # traces per step
      "direct_share": 0.0,  # of traces that answer at once, without the tool
      "learning_rate": 1e-3,
      "schedule": "",  # of the rate, as in `optimizer`; "": that of `optimizer`
      "run": "",  # folder of a run whose cold start, with the same settings, is taken over in place of these steps
    },
    "algorithm": "grpo",  # module under algorithms/
    "algo": {},  # that module's default_config(), put here by `run_config`; ranges of all numbers: see ranges.py
    "optimizer": {
      "learning_rate": 1e-4,
      "warmup_steps": 0,
      "schedule": "constant",  # after the warm-up: "constant", "linear" or "cosine" to 0 at the last step
      "b1": 0.9, "b2": 0.95, "weight_decay": 0.0,
      "max_grad_norm": 1.0,
      "value_rate": 1.0,  # learning rate of a value head, as a multiple of the others'
      "value_warmup": 0,  # steps, at first, in which only a value head learns
    },
    "train": {
      "steps": 100,
      "eval_every": 50,  # also before the first and after the last step
      "checkpoint_every": 50,  # and at the end
      "trajectories_every": 10,  # how often sampled trajectories are written to the run folder
    },
    "eval": {
      "tasks": 64,
      "samples": 1,  # independent ones of each task
      "temperature": 1.0,
      # Searches of each task beside the samples, at every evaluation, with the settings of `search`; 0: none. A search
      # is told the reward of every end that it reaches: its success is that of a policy with a checker at hand.
      "search": 0,
    },
    "mesh": {"data": 0, "fsdp": 1, "tensor": 1},  # devices per axis; data 0: what the others leave
    "wandb": {"mode": "disabled", "project": "agentrl"},  # "online", "offline" or "disabled"
  })  # fmt: skip
