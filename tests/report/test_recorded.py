"""A recorded run: a run folder still, small, with exact totals and exact numbers where a run was evaluated."""

import json
import pathlib

import pytest

from agentrl.report import arms, recorded, source, write_report
from tests.report.test_tree_page import RECORD, node

RESULTS = pathlib.Path(__file__).parents[2] / "results"


def lines(steps, cold=0, **more):
  """A line for each step, evaluated at every tenth after the cold start."""
  found = []
  for step in range(steps + 1):
    line = {"step": step, "wall_s": step / 3, "policy/loss": step / 7}
    if step > cold:
      line |= {"rollout/trajectories": 8.0, "rollout/tool_timeout": float(step % 2), "nobody/reads": 1.0} | more
    if step >= cold and not (step - cold) % 10:
      line["eval/success"] = step / 997
    found.append(line)
  return found


def test_totals_and_evaluations_are_exact_and_the_rest_is_thinned(monkeypatch):
  monkeypatch.setattr(recorded, "METRICS_BYTES", 9000)
  whole = lines(400)
  thin = recorded.thinned(whole, first=0)
  assert len(json.dumps(thin)) < 9100 and len(thin) < 100
  for name in ("rollout/trajectories", "rollout/tool_timeout"):
    assert sum(source.series(thin, name)[1]) == sum(source.series(whole, name)[1])
  assert source.series(thin, "eval/success") == source.series(whole, "eval/success")
  assert thin[-1]["policy/loss"] == 400 / 7 and not any("nobody/reads" in line for line in thin)


def test_a_curve_costs_what_it_cost(monkeypatch, tmp_path):
  monkeypatch.setattr(recorded, "METRICS_BYTES", 5000)
  curves = []
  for name, written in (("whole", lines(300, cold=100)), ("thin", recorded.thinned(lines(300, cold=100), first=100))):
    (tmp_path / name).mkdir()
    (tmp_path / name / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in written))
    (tmp_path / name / "config.json").write_text(json.dumps({"cold_start": {"steps": 100}}))
    curves.append(arms.curve(tmp_path / name, cost="rollout/trajectories", value="eval/success"))
  assert curves[0].cost.tolist() == curves[1].cost.tolist() and curves[0].value.tolist() == curves[1].value.tolist()


def test_what_was_not_summed_when_it_was_recorded_has_no_total(run_path, tmp_path, monkeypatch):
  with open(run_path / "metrics.jsonl", "a") as file:
    for line in lines(60, **{"mine/cost": 2.0, "policy/entropy": 0.5})[6:]:
      file.write(json.dumps(line) + "\n")
  monkeypatch.setattr(recorded, "METRICS_BYTES", 1)
  kept = recorded.record(run_path, tmp_path / "seed0", costs=["mine/cost"])
  assert arms.curve(kept, cost="mine/cost", value="eval/success").cost[-1] == 110
  for cost in ("policy/entropy", "rollout/length"):
    with pytest.raises(ValueError, match=rf"{cost}.*remove this folder and run experiments/reproduce.py again"):
      arms.curve(kept, cost=cost, value="eval/success")
  (kept / "recorded.json").unlink()  # as of a run that was recorded before this was written down
  assert arms.curve(kept, cost="rollout/trajectories", value="eval/success").cost[-1] == 55 * 8
  with pytest.raises(ValueError, match="'mine/cost' was not summed"):
    arms.curve(kept, cost="mine/cost", value="eval/success")


def test_of_a_cold_start_some_losses_are_kept():
  thin = recorded.thinned(lines(300, cold=200), first=200)
  begun = [line for line in thin if line["step"] < 200]
  assert len(begun) == recorded.COLD_START_LINES and all(
    line.keys() == {"step", "wall_s", "policy/loss"} for line in begun
  )


def test_other_numbers_have_four_digits_and_short_runs_are_whole():
  thin = recorded.thinned(lines(25), first=0)
  assert [line["step"] for line in thin] == list(range(26))
  assert thin[3]["policy/loss"] == 0.4286 and thin[10]["policy/loss"] == 10 / 7


def test_what_claims_read_is_kept():
  given = lines(25, **{"mine/cost": 2.0, "probe/known": 0.5})
  thin = recorded.thinned(given, first=0, metrics=["nobody/reads"], costs=["mine/cost"])
  assert thin[5]["nobody/reads"] == 1.0 and thin[5]["probe/known"] == 0.5
  assert sum(line.get("mine/cost", 0) for line in thin) == 50


def test_a_recorded_run_is_drawn_like_any(run_path, tmp_path):
  (run_path / "trees").mkdir()
  larger = RECORD | {"nodes": [*RECORD["nodes"], node(9, 1, "more")]}
  for name, found in (("train_000002_1", RECORD), ("train_000003_1", larger), ("train_000005_7", RECORD)):
    (run_path / "trees" / f"{name}.json").write_text(json.dumps(found))
  (run_path / "compare_search_000005.json").write_text("{}")
  (run_path / "checkpoints" / "x").write_bytes(b"0" * recorded.MAX_BYTES)
  kept = tmp_path / "results" / "seed0"
  assert recorded.record(run_path, kept) == kept
  run = source.load(kept)
  assert (run.before.step, run.after.step) == (2, 5) and len(run.after.rows) == 3
  assert [tree.name for tree in run.trees] == ["train_000003_1.json", "train_000005_7.json"]
  assert {file.name for file in kept.iterdir()} == {
    "config.json", "run.json", "metrics.jsonl", "recorded.json", "trajectories", "trees", "compare_search_000005.json",
  }  # fmt: skip
  assert recorded.size_of(kept) < recorded.MAX_BYTES and write_report(kept).is_file()


def test_recorded_again_it_takes_the_place_of_the_old_one(run_path, tmp_path):
  kept = tmp_path / "seed0"
  kept.mkdir()
  recorded.record(run_path, kept)
  before = {file.name: file.read_bytes() for file in kept.rglob("*") if file.is_file()}
  write_report(kept)
  (kept / "compare_search_000005.json").touch()
  recorded.record(run_path, kept)
  assert before == {file.name: file.read_bytes() for file in kept.rglob("*") if file.is_file()}


@pytest.mark.parametrize("at", ["kept", ".kept.tmp"])
@pytest.mark.parametrize(
  "name", ["thesis.tex", "checkpoints/main/3/state", "trajectories/train_000003.jsonl.gz", "figures/x/y.png"]
)
def test_what_is_no_recorded_run_is_not_replaced(run_path, tmp_path, at, name):
  file = tmp_path / at / name
  file.parent.mkdir(parents=True)
  file.write_text("mine")
  with pytest.raises(FileExistsError, match=r"so it is no recorded run: only a recorded run is replaced"):
    recorded.record(run_path, tmp_path / "kept")
  assert file.read_text() == "mine"


def test_a_run_in_the_place_of_the_destination_is_not_replaced(run_path, tmp_path):
  kept = recorded.record(run_path, tmp_path / "kept")
  for source_of_it in (kept, run_path):
    with pytest.raises(FileExistsError, match=r"holds .*, so it is no recorded run"):
      recorded.record(source_of_it, run_path)
  assert (run_path / "checkpoints").is_dir()


def test_a_file_or_a_link_in_the_place_of_the_destination_stays(run_path, tmp_path):
  (tmp_path / "file").write_text("mine")
  (tmp_path / "link").symlink_to(recorded.record(run_path, tmp_path / "kept"))
  for name in ("file", "link"):
    with pytest.raises(FileExistsError, match=f"{name} is no folder: it stays as it is"):
      recorded.record(run_path, tmp_path / name)
  assert (tmp_path / "file").read_text() == "mine" and (tmp_path / "link").is_symlink()


def test_what_is_too_large_is_refused_and_leaves_the_old_one(run_path, tmp_path, monkeypatch):
  monkeypatch.setattr(recorded, "MAX_BYTES", 100)
  (tmp_path / "seed0").mkdir()
  with pytest.raises(ValueError, match=r"its recorded form has .* bytes, more than 100"):
    recorded.record(run_path, tmp_path / "seed0")
  assert list((tmp_path / "seed0").iterdir()) == []


def test_a_run_that_is_not_done_is_not_recorded(run_path, tmp_path):
  file = run_path / "metrics.jsonl"
  whole = file.read_text().splitlines(keepends=True)
  for kept, told in (
    (whole[:4], "run has metrics up to step 3 of 5: a recorded run counts as done"),
    (whole[:3] + whole[4:], "run lacks the metrics of step 3: put its metrics.jsonl back"),
    (whole[3:], "run lacks the metrics of step 2: put its metrics.jsonl back"),
  ):
    file.write_text("".join(kept))
    with pytest.raises(ValueError, match=told):
      recorded.record(run_path, tmp_path / "seed0")
    assert not (tmp_path / "seed0").exists()
  file.write_text("".join(whole[2:]))  # it took over a cold start
  assert recorded.record(run_path, tmp_path / "seed0").is_dir()


def test_the_recorded_runs_are_small():
  runs = [file.parent for file in RESULTS.rglob("config.json")]
  assert len(runs) > 50 and max(map(recorded.size_of, runs)) <= recorded.MAX_BYTES
