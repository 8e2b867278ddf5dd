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
    ({"train": {"source": "rolouts"}}, "no train.source is called 'rolouts'"),
    ({"cold_start": {"steps": 1, "algo": {"reduction": "man"}}}, "cold_start.algo: no reduction is called 'man'"),
  ],
)
def test_a_wrong_choice_is_told(settings, told):
  check_choices(run_config({"reward": {"correct": 1.0}}, where="test"))
  with pytest.raises(ValueError, match=told):
    check_choices(run_config({"reward": {"correct": 1.0}, **settings}, where="test"))
