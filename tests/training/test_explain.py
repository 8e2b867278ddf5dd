"""`agentrl config`: a config with every key, and what its keys mean."""

import json

import pytest

from agentrl.__main__ import main
from agentrl.training import config as config_lib
from agentrl.training import config_values
from agentrl.training.defaults import base_config, run_config
from agentrl.training.explain import settings_of_run


def test_a_config_is_printed_with_every_key(capsys):
  assert main(["config", "configs/quickstart.py", "--config.seed=3", "--smoke"]) == 0
  wanted = config_lib.load("configs/quickstart.py", ["--config.seed=3"], smoke=True)
  assert config_values.from_json(capsys.readouterr().out) == wanted


def test_without_a_file_it_is_the_defaults(capsys):
  assert main(["config"]) == 0
  assert json.loads(capsys.readouterr().out) == json.loads(config_values.to_json(base_config()))


@pytest.mark.parametrize(
  "named",
  [{"algorithm": name} for name in ("ppo", "archer", "sft", "tree_distill")]
  + [{"rollout.strategy": name} for name in ("branching", "reranked", "tree_search")]
  + [{}],
)
def test_every_key_is_explained_with_its_default(named):
  config = run_config(named, where="test")
  told = {s.key: s.default for s in settings_of_run(config)}
  leaves = config_values.flatten(config)
  assert told.keys() == leaves.keys()
  assert {key for key, value in told.items() if value != leaves[key]} == set(named)
  assert [s.key for s in settings_of_run(config) if not s.told and "algo." not in s.key] == []


@pytest.mark.parametrize(
  ("argv", "lines"),
  [
    (["--explain", "cold_start.batch"], ["cold_start.batch = 64   at least 1", "    traces per step"]),
    (
      ["configs/quickstart.py", "--explain", "train.steps"],
      ["train.steps = 200   at least 0; default 100", "    updates by the algorithm"],
    ),
    (
      ["--explain", "algo.actor.batch", "--config.algorithm=archer"],
      ["algo.actor.batch = 64   at least 1", "    fresh utterances per actor step"],
    ),
    (
      ["--explain", "cold_start.algo.value_coef", "--config.cold_start.algorithm=ppo"],
      ["cold_start.algo.value_coef = 0.5   at least 0"],
    ),
    (
      ["--explain", "strategy", "--config.rollout.strategy=reranked"],
      ["strategy.candidates = 5   at least 1", "    utterances to choose from at every state."],
    ),
  ],
)
def test_a_key_is_explained(argv, lines, capsys):
  assert main(["config", *argv]) == 0
  assert capsys.readouterr().out.splitlines() == lines


def test_a_section_is_explained_whole(capsys):
  assert main(["config", "--explain", "eval"]) == 0
  keys = [line.split(" = ")[0] for line in capsys.readouterr().out.splitlines() if not line.startswith(" ")]
  assert keys == ["eval.tasks", "eval.samples", "eval.temperature", "eval.pool", "eval.search"]


@pytest.mark.parametrize(
  ("argv", "status", "told"),
  [
    (
      ["config", "--explain", "rolout"],
      1,
      "--explain: unknown config key 'rolout'; the nearest valid one is 'rollout'",
    ),
    (["config", "configs/quickstar.py"], 1, "did you mean configs/quickstart.py?"),
    (["confg"], 2, "no command is called 'confg': did you mean 'config'?"),
  ],
)
def test_what_is_not_there_is_named(argv, status, told, capsys):
  assert main(argv) == status
  assert told in capsys.readouterr().err


def test_the_command_lists_its_commands(capsys):
  assert main([]) == 0 and "Commands: config" in capsys.readouterr().out


def test_a_config_is_checked_before_it_is_printed(capsys):
  assert main(["config", "configs/quickstart.py", "--config.algo.policy_loss=nope"]) == 1
  assert "configs/quickstart.py: algo: no policy loss is called 'nope'" in capsys.readouterr().err


def test_a_section_of_a_chosen_function_says_what_the_function_takes(capsys):
  assert main(["config", "--explain", "curriculum.options", "--config.curriculum.name=pool"]) == 0
  assert "curriculum.name='pool' takes size=64" in capsys.readouterr().out
  assert main(["config", "--explain", "algo.loss"]) == 0
  assert "algo.policy_loss='ppo' takes clip_low=0.2, clip_high=0.2" in capsys.readouterr().out


def test_what_a_source_must_be_given_is_said(capsys):
  section = ["config", "--explain", "train.source_options"]
  assert main([*section, "--config.train.source=stored_prefixes"]) == 0
  assert "takes run (required), turns=1" in " ".join(capsys.readouterr().out.split())
  assert main([*section, "--config.train.source=authored_prefixes"]) == 0
  assert "mix={}" in capsys.readouterr().out
