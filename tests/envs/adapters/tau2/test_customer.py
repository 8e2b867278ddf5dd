"""The scripted customer."""

import pytest

pytest.importorskip("inspect_ai", reason="needs agentrl[tau2]")
pytest.importorskip("inspect_evals", reason="needs inspect-evals: pip install --no-deps inspect-evals")

from agentrl.envs.adapters.tau2.customer import Customer, first_person

SCRIPT = {
  "reason_for_call": "You want to cancel order 7.",
  "known_info": "You are Ann Lee.",
  "unknown_info": "You do not know your email.",
  "task_instructions": "If the agent tells you that it is too late, accept that.",
}


def test_parts_come_one_after_the_other_with_a_yes_to_questions():
  customer = Customer(SCRIPT)
  assert customer.opens() == "I want to cancel order 7."
  assert customer.replies("Who are you?") == "Yes. I am Ann Lee. I do not know my email."
  assert customer.replies("I see.") == "If the agent tells me that it is too late, accept that."
  assert customer.replies("Shall I cancel it?") == "Yes, please go ahead."
  assert customer.replies("It is cancelled.") is None


def test_empty_parts_are_left_out():
  customer = Customer({**SCRIPT, "known_info": None, "unknown_info": None, "task_instructions": " .\n"})
  customer.opens()
  assert (customer.parts_left, customer.replies("It is cancelled.")) == (0, None)


@pytest.mark.parametrize(
  ("script", "spoken"),
  [
    ("You're sure.\n\nYour bag is yours.", "I am sure. My bag is mine."),
    ("you were told to book yourself", "I was told to book myself"),
    ("Let the agent give you a refund", "Let the agent give me a refund"),
    ("Youth fares, if you like.", "Youth fares, if I like."),
  ],
)
def test_scripts_are_said_in_the_first_person(script, spoken):
  assert first_person(script) == spoken
