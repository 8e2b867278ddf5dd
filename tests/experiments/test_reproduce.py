"""The command for a paper: what is missing is run and recorded, once, and its claims are judged."""

import textwrap

import pytest

from agentrl.report import recorded
from agentrl.training import config as config_lib
from agentrl.training import config_values
from agentrl.training import reproduce as runs_of_papers
from agentrl.training.lock import alone_in
from agentrl.training.run_folder import RunFolder
from experiments import reproduce

PAPER = """
  from agentrl.report.claims import Claim
  from agentrl.report.measures import AtEqual

  BASE = {"cold_start": {"steps": 1}, "train": {"steps": 2}}
  ARMS = {"plain": {}, "hot": {"rollout": {"temperature": 1.5}}}
  CLAIMS = (Claim("heat helps", "hot", "plain", AtEqual("eval/success", "mine/cost"), "higher"),)
"""


@pytest.fixture
def paper(tmp_path):
  file = tmp_path / "paper.py"
  file.write_text(textwrap.dedent(PAPER))
  return file


@pytest.fixture
def run(paper, tmp_path, monkeypatch, capsys):
  """`run(*arguments)` is the command with runs that cost nothing; returns its status, what it ran, and what it said."""
  ran = []

  def run_all(runs, *, jobs, finished, shown):
    for one in runs:
      overrides, rest = config_values.split_argv(one.arguments)
      config = config_lib.load(rest[1], overrides)
      with RunFolder.open(one.path, config) as folder:
        for step in range(folder.last_measured_step + 1, one.steps + 1):
          success = config.rollout.temperature / 2 * (1 + config.seed / 100)
          values = {"eval/success": success if step > 1 else 0.1} if step in (0, 1, one.steps) else {}
          folder.write_metrics(step, {**values, "mine/cost": 5.0, "mine/gain": 1.0, "policy/entropy": 2.0})
      ran.append(f"{one.path.parent.name}{one.seed}" + " cold" * one.is_cold_start)
      shown([])
      finished(one)

  monkeypatch.setattr(runs_of_papers, "run_all", run_all)

  def command(*arguments):
    ran.clear()
    where = ["--workdir", str(tmp_path / "runs"), "--out", str(tmp_path / "kept"), "--jobs", "1"]
    status = reproduce.main([str(paper), *where, *arguments])
    return status, list(ran), "".join(capsys.readouterr())

  return command


def test_it_runs_records_draws_and_judges(run, tmp_path):
  status, ran, said = run("--seeds", "2")
  assert status == 0 and ran == ["plain0 cold", "plain0", "hot0", "plain1 cold", "plain1", "hot1"]
  kept = [path.parent.relative_to(tmp_path).as_posix() for path in tmp_path.glob("kept/*/*/run.json")]
  assert sorted(kept) == ["kept/hot/seed0", "kept/hot/seed1", "kept/plain/seed0", "kept/plain/seed1"]
  assert (tmp_path / "kept" / "success.png").is_file() and "**holds**" in (tmp_path / "kept" / "README.md").read_text()
  assert "holds  (heat helps)" in said and recorded.size_of(tmp_path / "kept" / "hot" / "seed0") < 20_000


def test_seeds_that_are_recorded_are_not_run_again(run):
  run("--seeds", "1")
  assert run("--seeds", "1")[:2] == (0, [])
  assert run("--seeds", "2", "--arms", "hot")[1] == ["plain1 cold", "hot1"]


@pytest.mark.parametrize("folder", ["runs", "kept"])
def test_what_another_process_is_at_work_in_is_left_to_it(run, tmp_path, folder):
  with alone_in(tmp_path / folder, otherwise=""):
    status, ran, said = run("--seeds", "1")
  option = {"runs": "--workdir", "kept": "--out"}[folder]
  assert (status, ran) == (1, []) and f"{folder} is in use by another process" in said and f"another {option}" in said


def test_recorded_runs_of_other_settings_end_it(run):
  run("--seeds", "1")
  status, ran, said = run("--seeds", "1", "--config.rollout.groups=3")
  assert (status, ran) == (1, []) and "rollout.groups: there 8, now 3" in said


@pytest.mark.parametrize(
  "asked", [("--seeds", "1", "--arms", "hot"), ("--seeds", "1", "--arms", "plain"), ("--seeds", "1")]
)
def test_a_claim_is_judged_by_runs_of_the_same_settings_alone(run, tmp_path, asked):
  """Also where the command runs some arms, or fewer seeds, and the others are recorded."""
  run("--seeds", "2")
  status, ran, said = run(*asked, "--config.rollout.groups=3", "--out", str(tmp_path / "kept"))
  assert (status, ran) == (1, []) and "rollout.groups: there 8, now 3" in said
  (tmp_path / "kept" / "plain" / "seed0").rename(tmp_path / "elsewhere")
  (tmp_path / "kept" / "hot" / "seed0").rename(tmp_path / "elsewhere" / "hot")
  status, ran, said = run(*asked, "--config.rollout.groups=3")
  assert (status, ran) == (1, []) and "seed1 was recorded with other settings" in said


def test_an_override_that_does_not_fit_a_recorded_arm_is_told(run, paper):
  run("--seeds", "1", "--arms", "plain")
  text = paper.read_text().replace('"hot": {', '"hot": {"algorithm": "ppo", ')
  paper.write_text(text)
  status, ran, said = run("--seeds", "1", "--arms", "hot", "--config.algo.value_coef=0.3")
  assert (status, ran) == (1, []) and "plain/seed0 was recorded with other settings: these do not fit it" in said


def test_a_claim_about_what_was_not_measured_is_told_behind_the_first_run(run, paper):
  paper.write_text(paper.read_text().replace('"eval/success"', '"eval/succes"'))
  status, ran, said = run("--seeds", "2")
  assert status == 1 and ran == ["plain0 cold", "plain0"]
  assert "the claim 'heat helps': " in said and "no 'eval/succes' or no 'mine/cost' after the cold start; did" in said
  assert "; did you mean 'eval/success'?; its last line has" in said


def test_a_direction_that_there_is_not_names_file_and_claim(run, paper):
  paper.write_text(paper.read_text().replace('"higher"', '"hihger"'))
  status, ran, said = run("--seeds", "1")
  assert (status, ran) == (1, []) and f"{paper}: no direction of the claim 'heat helps' is called 'hihger'" in said
  assert "did you mean 'higher'? known: higher, lower" in said


def test_a_smoke_run_is_of_one_seed_and_made_anew(paper, run, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  for temperature in (1.5, 1.25):  # other settings are no error the second time
    paper.write_text(paper.read_text().replace("1.5", str(temperature)))
    assert reproduce.main([str(paper), "--smoke", "--jobs", "1"]) == 0
  kept = tmp_path / "runs" / "paper_smoke" / "results"
  assert [path.name for path in kept.glob("hot/*")] == ["seed0"]
  assert (kept / "README.md").read_text().startswith(f"# {paper}\n") and not (tmp_path / "results").exists()


def test_results_go_beside_the_configs_of_the_paper(tmp_path, monkeypatch):
  ours, theirs = reproduce.ROOT / "configs" / "otc.py", tmp_path / "configs" / "otc.py"
  assert reproduce.results_of(ours) == reproduce.RESULTS / "otc" and reproduce.is_ours(ours)
  assert reproduce.results_of(theirs) == tmp_path / "results" / "otc" and not reproduce.is_ours(theirs)
  assert reproduce.results_of(tmp_path / "otc.py") == tmp_path / "results" / "otc"
  assert (reproduce.shown(ours), reproduce.shown(theirs)) == ("configs/otc.py", str(theirs))


def test_the_page_of_our_claims_is_written_for_our_papers_alone(run, paper, tmp_path, monkeypatch):
  monkeypatch.setattr(reproduce, "RESULTS", tmp_path)  # that of the paper's results
  assert run("--seeds", "1")[0] == 0 and not (tmp_path / "CLAIMS.md").exists()
  monkeypatch.setattr(reproduce, "ROOT", tmp_path)
  (tmp_path / "configs").mkdir()
  ours = paper.rename(tmp_path / "configs" / "paper.py")
  monkeypatch.setattr(runs_of_papers, "run_all", None)  # all is recorded
  assert (
    reproduce.main([str(ours), "--seeds", "1", "--out", str(tmp_path / "kept"), "--workdir", str(tmp_path / "w")]) == 0
  )
  assert "heat helps" in (tmp_path / "CLAIMS.md").read_text()


@pytest.mark.parametrize(
  ("was", "asks", "told"),
  [
    ("eval/success", "mine/gain", "no 'mine/gain' or no 'mine/cost' after the cold start"),
    ("mine/cost", "policy/entropy", "'policy/entropy' was not summed over the others when it was recorded"),
  ],
)
def test_a_newer_claim_about_what_a_recorded_run_has_dropped_says_so_before_anything_runs(
  run, paper, monkeypatch, was, asks, told
):
  monkeypatch.setattr(recorded, "METRICS_BYTES", 1)
  assert run("--seeds", "1", "--config.train.steps=9")[0] == 0
  paper.write_text(paper.read_text().replace(f'"{was}"', f'"{asks}"'))
  status, ran, said = run("--seeds", "2", "--config.train.steps=9")
  assert (status, ran) == (1, []) and told in said and "remove this folder and run experiments/reproduce.py" in said


def test_a_recorded_run_that_was_cut_short_is_no_seed_that_is_done(run, tmp_path):
  run("--seeds", "1")
  metrics = tmp_path / "kept" / "hot" / "seed0" / "metrics.jsonl"
  metrics.write_text("".join(line + "\n" for line in metrics.read_text().splitlines()[:3]))
  for arms in ("hot", "plain"):
    status, ran, said = run("--seeds", "1", "--arms", arms)
    assert (status, ran) == (1, []) and "hot/seed0 has metrics up to step 2 of 3: it is no run that is done" in said


def test_a_wrong_arm_names_the_nearest(run):
  status, ran, said = run("--arms", "hott")
  assert (status, ran) == (1, []) and "no arm is called 'hott': did you mean 'hot'?" in said


def test_the_page_of_all_claims_is_written(paper, tmp_path, monkeypatch, capsys):
  (tmp_path / "configs").mkdir()
  paper.rename(tmp_path / "configs" / "paper.py")
  monkeypatch.setattr(reproduce, "ROOT", tmp_path)
  monkeypatch.setattr(reproduce, "RESULTS", tmp_path)
  assert reproduce.main(["--claims"]) == 0
  assert (
    "| heat helps |" in (tmp_path / "CLAIMS.md").read_text() and "not yet run" in (tmp_path / "CLAIMS.md").read_text()
  )


@pytest.mark.parametrize("arguments", [[], ["paper.py", "--claims"], ["paper.py", "--seeds", "0"], ["--claims", "x"]])
def test_a_command_line_that_asks_for_nothing(arguments, capsys):
  with pytest.raises(SystemExit):
    reproduce.main(arguments)
