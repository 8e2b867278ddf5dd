import pytest

from agentrl.envs.tool import ToolLimits, ToolRunner, tools_of
from agentrl.envs.tools.experts import Experts
from agentrl.types import Task, ToolCall, ToolFailure

DATA = {"experts": {"ann": {"price": 1.0, "says": {"kxqv": "417"}}, "dan": {"price": 8.0, "says": {"kxqv": "?"}}}}


def asked(question):
  toolset = Experts()
  toolset.reset(Task("t", "tests", "?", data=DATA), 0)
  (result,) = ToolRunner(tools_of(toolset), ToolLimits()).run([ToolCall("ask", {"question": question})]).results
  return result


@pytest.mark.parametrize(
  ("question", "says", "cost"),
  [("ann:kxqv", "417", 1.0), (" Ann : kxqv ", "417", 1.0), ("dan:kxqv", "?", 8.0), ("ann:other", "?", 1.0)],
)
def test_a_reply_has_the_price_of_the_expert_whatever_it_is_worth(question, says, cost):
  result = asked(question)
  assert (result.ok, result.text, result.cost) == (True, says, cost)


@pytest.mark.parametrize(
  ("question", "words"),
  [
    ("kxqv", "write whom and what you ask, as in ann:what"),
    ("ann:", "write whom and what you ask"),
    ("eve:kxqv", "nobody is called 'eve'; you can ask ann, dan"),
  ],
)
def test_a_question_to_nobody_or_about_nothing_is_the_policys_failure_and_costs_nothing(question, words):
  result = asked(question)
  assert result.failure is ToolFailure.ARGUMENTS and words in result.text and result.cost == 0.0


def test_a_task_without_experts_is_no_task_for_the_tool():
  with pytest.raises(ValueError, match="needs a task that has some, such as experts' own; task t has none"):
    Experts().reset(Task("t", "tests", "?"), 0)
