"""Questions of a form, from either source."""

import dataclasses
import random

import pytest

from agentrl.envs.tasks.data import tool_pool
from agentrl.envs.tasks.data.tool_pool import Call, Definition, Derived
from agentrl.envs.tasks.data.tool_questions import SOURCES, Form, Question, content

KNOWN = tool_pool.pool(12, types=8, least=0, most=3, seed=0)
FORM = Form(types=8, offered=6, wanted=1, calls=2, at_once=False)


def asked(source, form=FORM, count=30):
  rng = random.Random(0)
  return [SOURCES[source](KNOWN, rng, form=form, salt=str(n)) for n in range(count)]


def test_the_words_of_a_question():
  tools = (Definition("cX", ("b", "n")), Definition("dI", ("c",)))
  made = Question(tools, {"b": "372"}, (3, 4), ("d",), (Derived("618", (Call("dI", (("c", "1"),)),)),), "1_calls")
  assert made.text == "b372 n3+4 d?" and made.calls == made.derived[0].calls
  without = dataclasses.replace(made, tools=tools[1:])
  assert without.text == "b372 d?"  # no tool takes a number
  assert content(made) != content(without)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("wanted", [1, 2])
def test_a_question_has_its_form(source, wanted):
  form = FORM._replace(wanted=wanted)
  for question in asked(source, form):
    assert len(question.tools) == 6 and set(question.tools) <= set(KNOWN) and len(question.wanted) == wanted
    assert not set(question.wanted) & set(question.given)
    if question.stratum != "unanswerable":
      assert len(question.calls) == 2 and len(question.derived) == wanted


def test_at_once_no_call_takes_what_another_gives():
  for question in asked("trace", FORM._replace(wanted=2, at_once=True)):
    assert all(len(derived.calls) == 1 for derived in question.derived)


def test_an_answer_that_stands_in_the_question_does_not_fit():
  calls = (Call("cX", ()), Call("dI", (("c", "1"),)))
  assert FORM.fits([Derived("618", calls)], {"b": "372"})
  assert not FORM.fits([Derived("372", calls)], {"b": "372"})
  assert not FORM.fits([Derived("618", calls[:1])], {"b": "372"})
  assert not FORM._replace(at_once=True).fits([Derived("618", calls)], {"b": "372"})


def test_a_form_that_the_pool_does_not_allow_is_refused():
  with pytest.raises(ValueError, match="offer fewer tools, or have more types or a larger pool"):
    asked("trace", FORM._replace(calls=4, offered=12), count=1)
