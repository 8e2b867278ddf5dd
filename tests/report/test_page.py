import json
import re

from agentrl.report import source, write_report
from agentrl.report.page import page
from tests.report.test_tree_page import RECORD


def test_the_report_is_one_file_with_the_numbers_that_matter(run_path):
  path = write_report(run_path)
  assert path == run_path / "report.html"
  page = path.read_text()
  assert "40 % → 100 %" in page  # eval/success at steps 2 and 5
  assert "step 2 → 5" in page
  assert "data:image/png;base64," in page
  assert (run_path / "figures" / "curves.png").stat().st_size > 10_000
  assert "cold_start.steps" in page


def test_the_report_needs_no_network_and_runs_no_script(run_path):
  page = write_report(run_path).read_text()
  assert not re.search(r"https?://|<script|<link|@import|url\(", page)
  assert "&lt;i&gt;x&lt;/i&gt;" in page


def test_failures_and_bad_numbers_are_counted(run_path):
  page = write_report(run_path).read_text()
  failed = '<tr><td>environment failed (row left out of the update)</td><td class="n">3</td><td class="n">1</td></tr>'
  assert failed in page
  assert "NaN or infinite: 1." in page


def test_a_run_without_evaluation_still_has_a_report(run_path):
  for file in (run_path / "trajectories").iterdir():
    file.unlink()
  page = write_report(run_path).read_text()
  assert "Trajectories" not in page
  assert "Learning curves" in page


def test_a_run_that_ended_before_its_first_step_still_has_a_report(run_path):
  first, *_ = (run_path / "metrics.jsonl").read_text().splitlines(keepends=True)
  (run_path / "metrics.jsonl").write_text(first)
  page = write_report(run_path).read_text()
  assert "No step has measured anything that they show." in page and "data:image" not in page
  assert "cold_start.steps" in page


def test_a_machine_that_did_not_tell_its_cores_has_a_report(run_path):
  record = json.loads((run_path / "run.json").read_text())
  machine = record["starts"][-1]["machine"]
  assert f"{machine['cores']} cores, {machine['processor']}" in page(source.load(run_path), b"", [])
  machine |= {"cores": None, "processor": "arm"}
  (run_path / "run.json").write_text(json.dumps(record))
  facts = page(source.load(run_path), b"", []).partition('class="facts">')[2].partition("</p>")[0]
  assert facts.endswith(" · arm") and "None" not in facts


def test_tags_are_balanced(run_path):
  page = re.sub(r"<style>.*?</style>", "", write_report(run_path).read_text(), flags=re.DOTALL)
  for tag in ("div", "span", "details", "summary", "table", "tr", "td", "p", "b", "h2"):
    assert len(re.findall(rf"<{tag}[ >]", page)) == page.count(f"</{tag}>"), tag


def test_saved_trees_are_drawn_beside_their_files_and_linked(run_path):
  (run_path / "trees").mkdir()
  assert "This run saved none." in write_report(run_path).read_text()
  for name, reward in (("train_000005_7", 1.0), ("eval_000005_3", None), ("train_000002_12", 0.25)):
    (run_path / "trees" / f"{name}.json").write_text(json.dumps(RECORD | {"reward": reward}))
  page = write_report(run_path).read_text()
  links = re.findall(r'<td class="n">(\d+)</td><td>([^<]*)</td><td><a href="([^"]*)">.*?</a></td>', page)
  assert links == [
    ("2", "train", "trees/train_000002_12.html"),
    ("5", "train", "trees/train_000005_7.html"),
    ("5", "held out", "trees/eval_000005_3.html"),
  ]
  assert all("3*4=12" in (run_path / link).read_text() for *_, link in links)
  assert "3, 4 -&gt; 12 &lt;b&gt;" in page and '<td class="n">5</td><td class="n">none</td>' in page
