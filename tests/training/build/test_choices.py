"""What of a config can be checked without building a run."""

import pytest

from agentrl.training.build.choices import check_choices
from agentrl.training.defaults import run_config


@pytest.mark.parametrize(
  ("settings", "told"),
  [
    ({"optimizer": {"learning_rate": -1.0}}, "optimizer.learning_rate=-1.0 must be"),
    ({"algo": {"policy_loss": "nope"}}, "algo: no policy loss is called 'nope'"),
    ({"algo": {"loss": {"clip_hgih": 0.2}}}, r"algo\.loss\.clip_hgih: did you mean 'clip_high'"),
    ({"algo": {"credit": "gpro"}}, "algo: no credit is called 'gpro'"),
    ({"algo": {"reduction": "token_man"}}, "algo: no reduction is called 'token_man'"),
    ({"filters": ("overlng",)}, "no entry of filters is called 'overlng'"),
    ({"curriculum": {"name": "pol"}}, "no curriculum.name is called 'pol'"),
    ({"task": {"options": {"digts": 2}}}, "task: no option of the family 'arithmetic' is called 'digts': .*known: "),
    ({"task": {"tool": "mcp", "tool_options": {"server": {}}}}, "task: no option of the tool 'mcp' is .*did you mean"),
    ({"task": {"tool": "calculater"}}, "task: no tool is called 'calculater': did you mean 'calculator'"),
    ({"task": {"oracle_tool": "calc"}}, "task: no tool is called 'calc'"),
    ({"task": {"family": "toolworld", "tool": "", "options": {"typse": 3}}}, "called 'typse': did you mean 'types'"),
    (
      {"task": {"mixture": {"sums": {"options": {"digts": 2}}, "more": {}}}},
      r"task\.mixture\.sums: no option of the family 'arithmetic' is called 'digts'",
    ),
    (
      {"algo": {"policy_loss": "wrong_arguments:no_mask"}},
      r"algo: the policy loss 'wrong_arguments:no_mask' takes \(logp, old_logp, advantages\), and is called",
    ),
    ({"algo": {"policy_loss": "wrong_arguments:swapped"}}, r"takes \(old_logp, logp, .*called with \(logp, old_logp, "),
    (
      {"algo": {"credit": "wrong_arguments:of_trajectories"}},
      r"credit '.*' takes \(trajectories\), and is called with \(learner, trajectories\)",
    ),
    (
      {"algo": {"correction": "wrong_arguments:term"}},
      r"correction '.*' takes \(weight\), and is called with \(old",
    ),
    (
      {"algo": {"reduction": "wrong_arguments:term"}},
      r"reduction '.*' takes \(weight\), and is called with \(val",
    ),
    (
      {"algo": {"masked": ("wrong_arguments:swapped",)}},
      r"entry of algo.masked '.*is called with \(trajectory\)",
    ),
    ({"filters": ("wrong_arguments:swapped",)}, r"entry of filters '.*, and is called with \(trajectories\)"),
    (
      {"reward": {"wrong_arguments:term": 1.0}},
      r"reward 'w.*' takes \(weight\), and is called with \(episodes",
    ),
    ({"search": {"prior": "wrong_arguments:swapped"}}, r"search.prior '.*, and is called with \(logp\)"),
    ({"curriculum": {"name": "wrong_arguments:term"}}, r"takes \(weight\), and is called with \(settings alone\)"),
    ({"train": {"source": "rolouts"}}, "no train.source is called 'rolouts'"),
    ({"cold_start": {"steps": 1, "algo": {"reduction": "man"}}}, "cold_start.algo: no reduction is called 'man'"),
  ],
)
def test_a_wrong_choice_is_told(settings, told):
  check_choices(run_config({"reward": {"correct": 1.0}}, where="test"))
  with pytest.raises(ValueError, match=told):
    check_choices(run_config({"reward": {"correct": 1.0}, **settings}, where="test"))
