"""Typed tools and every way to call them."""

import itertools

import pytest

from agentrl.envs.tasks.data import tool_pool
from agentrl.envs.tasks.data.tool_pool import COUNT, LARGEST, TYPES, Call, Definition, derivations, joined, pool, result

SETTINGS = {"types": 6, "least": 0, "most": 3, "seed": 0}


@pytest.mark.parametrize("size", [1, 8, 26, 27, 300, LARGEST])
def test_a_pool_has_so_many_tools_of_different_names(size):
  made = pool(size, **SETTINGS)
  assert len({tool.name for tool in made}) == size
  assert {len(tool.name) for tool in made} == {1 + next(n for n in (1, 2, 3) if 26**n >= size)}
  assert made == pool(size, **SETTINGS) != pool(size, **{**SETTINGS, "seed": 1})


def test_tools_take_what_comes_before_what_they_give():
  for tool in pool(200, **SETTINGS):
    typed = [kind for kind in tool.inputs if kind != COUNT]
    assert all(TYPES.index(kind) < TYPES.index(tool.output) for kind in typed)
    assert len(set(tool.inputs)) == len(tool.inputs) <= 3
    assert (COUNT in tool.inputs) == (len(tool.inputs) >= 2)
  assert {len(tool.inputs) for tool in pool(8, **SETTINGS)} == {0, 1, 2, 3}
  assert {len(tool.inputs) for tool in pool(8, **{**SETTINGS, "least": 1, "most": 1})} == {1}


@pytest.mark.parametrize("changes", [{"types": 2}, {"types": 99}, {"least": 2, "most": 1}, {"most": 4}])
def test_numbers_that_make_no_pool_are_refused(changes):
  with pytest.raises(ValueError, match=r"must be between|0 to 3 parameters"):
    pool(8, **{**SETTINGS, **changes})
  with pytest.raises(ValueError, match="between 1 and 2000"):
    pool(2001, **SETTINGS)


def test_a_result_depends_on_all_that_was_said():
  asked = [("fA", {"c": "123"}, "s"), ("fB", {"c": "123"}, "s"), ("fA", {"c": "124"}, "s"), ("fA", {"c": "123"}, "t")]
  assert len({result(*one) for one in asked}) == 4
  assert all(100 <= int(result(*one)) < 1000 for one in asked)
  assert result("fA", {"c": "1", "n": 2}, "s") == result("fA", {"n": 2, "c": "1"}, "s")


C, D, F, G = (
  Definition("cA", ()),
  Definition("dB", ("c",)),
  Definition("fD", ("c", "d", COUNT)),
  Definition("dE", ("b",)),
)


def test_the_ways_to_a_value_are_all_found():
  # c comes of cA, d of dB(c) or dE(b), f of either d with the one c: two ways, of 3 and of 3 calls.
  ways = derivations([F, D, C, G], {"b": "111"}, 7, "s")
  c = result("cA", {}, "s")
  d = [result("dB", {"c": c}, "s"), result("dE", {"b": "111"}, "s")]
  assert [way.value for way in ways["b"]] == ["111"] and [way.value for way in ways["c"]] == [c]
  assert [way.value for way in ways["d"]] == d
  assert [way.value for way in ways["f"]] == [result("fD", {"c": c, "d": each, "n": 7}, "s") for each in d]
  assert [call.name for call in ways["f"][0].calls] == ["cA", "dB", "fD"]
  assert [call.name for call in ways["f"][1].calls] == ["cA", "dE", "fD"]
  assert ways["f"][0].calls[2] == Call("fD", (("c", c), ("d", d[0]), ("n", 7)))


def test_what_cannot_be_called_leads_nowhere():
  ways = derivations([D, F], {"b": "111"}, 7, "s")
  assert [kind for kind in TYPES if ways[kind]] == ["b"]


def every_value(tools, given, count, salt):
  """Calls whatever can be called until nothing new comes."""
  found = {(kind, value) for kind, value in given.items()}
  while True:
    new = set(found)
    for tool in tools:
      pools = [[count] if kind == COUNT else [v for k, v in found if k == kind] for kind in tool.inputs]
      for values in itertools.product(*pools):
        new.add((tool.output, result(tool.name, dict(zip(tool.inputs, values, strict=True)), salt)))
    if new == found:
      return found
    found = new


@pytest.mark.parametrize("seed", range(4))
def test_they_are_those_of_calling_until_nothing_new_comes(seed):
  tools = pool(10, **{**SETTINGS, "seed": seed})
  given = {"b": "111", "d": "222"}
  ways = derivations(tools, given, 5, "s")
  assert {(kind, way.value) for kind in TYPES for way in ways[kind]} == every_value(tools, given, 5, "s")
  for way in itertools.chain(*ways.values()):  # a way can be followed: what its calls take is there before them
    there = set(given.values()) | {5}
    for call in way.calls:
      assert {value for _, value in call.arguments} <= there
      there.add(result(call.name, dict(call.arguments), "s"))
    assert way.value in there


def test_shared_calls_are_made_once():
  ways = derivations([C, D], {}, 1, "s")
  assert joined([ways["c"][0], ways["d"][0]]) == ways["d"][0].calls
  assert tool_pool.joined([]) == ()
