"""Names and numbers of a config become parts; what is wrong is named."""

import jax
import pytest

from agentrl.training import cold_start, config_values
from agentrl.training.build import experiment
from agentrl.training.build.experiment import build_experiment

OWN = {"source": "rollouts", "algorithm": "ppo"}  # a cold start on what the policy itself samples


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"model": {"source": "rndom"}}, "model.source is called 'rndom': did you mean 'random'"),
    ({"model": {"source": "hf"}}, "model.path is empty"),
    ({"chat": {"style": "tag"}}, "chat.style is called 'tag': did you mean 'tags'"),
    ({"chat": {"template": "chatm"}}, "chat.template is called 'chatm': did you mean 'chatml'"),
    ({"chat": {"close": ""}}, "chat.open and chat.close"),
    ({"task": {"tool": "none"}}, "tool"),
    ({"optimizer": {"schedule": "linaer"}}, "optimizer.schedule is called 'linaer': did you mean 'linear'"),
    ({"filters": ("flat_group",)}, "no entry of filters is called 'flat_group': did you mean 'flat_groups'"),
    ({"engine": {"prefill_rows": 5}}, "engine.prefill_rows=5 exceeds engine.slots=4"),
    ({"rollout": {"workers": 0}}, "rollout.workers=0"),
    ({"rollout": {"strategy": "branchin"}}, "rollout.strategy is called 'branchin': did you mean 'branching'"),
    (
      {"rollout": {"strategy": "branching"}, "strategy": {"rule": "randm"}},
      "strategy.rule is called 'randm': did you mean 'random'",
    ),
    ({"rollout": {"entropy_window": 0}}, "rollout.entropy_window=0"),
    ({"rollout": {"end_on": ("vod",)}}, "rollout.end_on: .* is called 'vod': did you mean 'void'"),
    ({"rollout": {"seeds": "sampl"}}, "rollout.seeds: .* is called 'sampl': did you mean 'sample'"),
    ({"algo": {"masked": ("lost_turn",)}}, "no entry of algo.masked is called 'lost_turn'"),
    ({"rollout": {"strategy": "branching"}}, "strategy.initial=4 exceeds rollout.group_size=2"),
    ({"rollout": {"strategy": "branching", "group_size": 4}}, "strategy.initial=4 is all of rollout.group_size"),
    ({"strategy": {"initial": 3}}, "strategy.initial: independent takes no settings"),
    ({"rollout": {"group_size": 1}}, "algorithm='grpo' compares the samples of a prompt"),
    ({"rollout": {"strategy": "branching", "group_size": 5}}, "rollout.group_size=5 exceeds engine.slots=4"),
    (
      {"rollout": {"strategy": "branching", "group_size": 3}, "strategy": {"initial": 1}, "cold_start": OWN},
      "the credit of cold_start.algorithm='ppo' goes from token to token, and takes no branches",
    ),
    ({"algo": {"loss": {"clip_hi": 0.3}}}, "algo.loss.clip_hi: .*clip_high"),
    ({"algo": {"reduction": "token_man"}}, "token_mean"),
    ({"algo": {"kl": "k4"}}, "KL estimator"),
  ],
)
def test_errors_name_the_key(tiny_config, settings, message):
  with pytest.raises(ValueError, match=message):
    build_experiment(config_values.resolve(tiny_config, settings, where="test"))


def test_a_vocabulary_is_trained_on_what_the_traces_say(tiny_config):
  def in_words(vocabulary):
    settings = {"model": {"vocabulary": vocabulary}, "task": {"family": "word_problems"}}
    return build_experiment(config_values.resolve(tiny_config, settings, where="test"))

  parts = in_words(300)
  assert parts.model.vocab_size == parts.tokenizer.vocab_size == 303
  index = 10_000  # far from the traces that the tokenizer has seen
  count = {
    name: len(cold_start.authored_traces(p.tasks, p.chat, [index], mix={}, seed=0)[0][0].tokens)
    for name, p in {"bytes": in_words(0), "trained": parts}.items()
  }
  assert count["trained"] < 0.9 * count["bytes"]
  with pytest.raises(ValueError, match="a vocabulary of 100 tokens has no room"):
    in_words(100)


def test_parts_of_one_config_belong_together(tiny_experiment, tiny_config):
  parts = tiny_experiment()
  assert parts.model.vocab_size == parts.tokenizer.vocab_size
  assert (parts.model.layers, parts.model.width) == (1, 32)
  assert parts.surroundings.engine.positions == tiny_config.rollout.max_tokens
  data = [jax.random.key_data(key).tolist() for key in parts.keys.values()]
  assert len({tuple(d) for d in data}) == len(parts.keys) == 4


def test_algorithms_compute_log_probs_where_the_mesh_has_them(tiny_config, monkeypatch):
  chosen, policies, make = object(), [], experiment.make_algorithm
  monkeypatch.setattr(experiment.sharding, "linear_logprob_on", lambda mesh, model: chosen)

  def made(stage, policy, *settings, **others):
    policies.append(policy)
    return make(stage, policy, *settings, **others)

  monkeypatch.setattr(experiment, "make_algorithm", made)
  build_experiment(tiny_config).tasks.close()
  assert [policy.linear_logprob for policy in policies] == [chosen]


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"rollout": {"temperature": 0.0}}, "rollout.temperature=0.0 must be above 0: .*only eval.temperature may be 0"),
    ({"optimizer": {"max_grad_norm": 0.0}}, "optimizer.max_grad_norm=0.0 must be above 0: .*a large number"),
    (
      {"algo": {"loss": {"clip_low": -0.1}}},
      "algo.loss.clip_low=-0.1 must be at least 0 and at most 1: it is",
    ),
    ({"algo": {"minibatches": 0}}, "algo.minibatches=0 must be at least 1"),
  ],
)
def test_a_run_refuses_them_before_it_builds_anything(tiny_config, monkeypatch, settings, message):
  monkeypatch.setattr(experiment, "open_tasks", None)
  with pytest.raises(ValueError, match=message):
    build_experiment(config_values.resolve(tiny_config, settings, where="test"))
