"""What a run did not write into metrics.jsonl is told by its line."""

import pytest

from agentrl.metrics_file import joined, read_metrics

GOOD = b'{"step": 1, "wall_s": 0.5, "a/b": null, "nonfinite": ["a/b"]}\n'


def test_lines_are_read_and_a_torn_last_one_is_left_out(tmp_path):
  (tmp_path / "m").write_bytes(GOOD + b'{"step": 2, "wal')
  assert read_metrics(tmp_path / "m") == [{"step": 1, "wall_s": 0.5, "a/b": None, "nonfinite": ["a/b"]}]
  with pytest.raises(FileNotFoundError):
    read_metrics(tmp_path / "absent")


@pytest.mark.parametrize(
  ("line", "told"),
  [
    (b'{"step', r"is not JSON: b'\{\"step'"),
    (b"\xff", "is not JSON"),
    (b"[" * 100_000, "is not JSON"),
    (b"[1]", r"holds no step and time: b'\[1\]'"),
    (b'{"step": "1", "wall_s": 0}', "holds no step and time"),
    (b'{"step": true, "wall_s": 0}', "holds no step and time"),
    (b'{"step": 1}', "holds no step and time"),
    (b'{"step": 1, "wall_s": "x"}', "'wall_s' is no number"),
    (b'{"step": 1, "wall_s": 0, "a/b": "x"}', "'a/b' is no number"),
    (b'{"step": 1, "wall_s": 0, "a/b": 1e999}', "'a/b' is no number"),
  ],
)
def test_any_other_line_is_an_error_that_names_it(tmp_path, line, told):
  (tmp_path / "m").write_bytes(GOOD + line + b"\n" + GOOD)
  with pytest.raises(ValueError, match=rf"m is damaged, line 2:? {told}.*; put the file back from a copy"):
    read_metrics(tmp_path / "m")


def test_what_credit_and_objective_both_report_is_told():
  assert joined({"value/error": 1.0}, {"policy/loss": 2.0}) == {"value/error": 1.0, "policy/loss": 2.0}
  with pytest.raises(ValueError, match="both report a metric called 'policy/loss'"):
    joined({"policy/loss": 1.0}, {"policy/loss": 2.0})
