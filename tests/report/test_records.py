"""Every field that the report reads is checked where its file is read."""

import copy

import pytest

from agentrl.report import records, source
from tests.report.test_tree_page import RECORD, node


@pytest.mark.parametrize(
  ("value", "shape", "told"),
  [
    (3, str, "it is '3', and no str"),
    (True, int, "it is 'True', and no int"),
    (True, float, "it is 'True', and no float"),
    (float("nan"), float, "it is 'nan', and no float"),
    ([1, "2"], [int], r"it\[1\] is '2', and no int"),
    ({}, [int], "it is no list"),
    ([], {"a": int}, "it is no object"),
    ({"b": 1}, {"a": int}, "it has no 'a'"),
    ({"a": None}, {"a": int}, r"it\.a is 'None', and no int"),
    ({"a": "x"}, {"a": records.MayLack(int)}, r"it\.a is 'x', and no int"),
    ({"x": "y"}, records.ValuesOf(float), r"it\['x'\] is 'y', and no float"),
    ("x", records.OrNone(float), "it is 'x', and no float"),
  ],
)
def test_a_value_of_another_shape_is_told_with_its_place(value, shape, told):
  with pytest.raises(ValueError, match=f"^{told}$"):
    records.check(value, shape, "it")


def test_what_has_the_shape_passes():
  records.check({"a": 1, "more": None}, {"a": float, "b": records.MayLack(int)}, "it")
  records.check([None, 1.5, 2], [records.OrNone(float)], "it")
  records.check({"x": [], "y": None}, records.ValuesOf(records.ANY), "it")


@pytest.mark.parametrize(
  ("changes", "told"),
  [
    ({"entropy": [0.5]}, "lists of different lengths: .*'entropy': 1"),
    ({"reward_parts": None}, "a reward without parts"),
    ({"turns": [{"kind": "answer", "latency": 0.0}]}, r"the trajectory\.turns\[0\] has no 'results'"),
  ],
)
def test_the_fields_of_a_trajectory_fit_together(run_path, changes, told):
  row = source.load(run_path).after.rows[0]
  records.check_row(row)
  with pytest.raises(ValueError, match=told):
    records.check_row({**row, **changes})


@pytest.mark.parametrize(
  ("nodes", "told"),
  [
    ([], "has no nodes"),
    ([node(0, 0, "a")], "node 0 has no parent before it"),
    ([node(0, None, "a"), node(1, 2, "b"), node(2, 0, "c")], "node 1 has no parent before it"),
    ([node(0, None, "a"), node(1, None, "b")], "node 1 has no parent before it"),
    ([node(0, None, "a"), node(0, None, "a")], "node 0 stands there twice"),
    ([node(0, None, "a", q=None)], "node 0 was visited and has no q"),
    ([node(0, None, "a", visits=0), node(1, 0, "b")], "node 1 was visited and its parent was not"),
  ],
)
def test_a_search_is_one_tree(nodes, told):
  records.check_search(copy.deepcopy(RECORD))
  with pytest.raises(ValueError, match=told):
    records.check_search(RECORD | {"nodes": nodes})
