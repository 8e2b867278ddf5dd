import re

from agentrl.report import source, viewer


def load_row(run_path):
  return dict(source.load(run_path).after.rows[0])


def test_every_token_is_shown_with_its_mask(run_path):
  shown = viewer.trajectory(load_row(run_path))
  tokens = re.findall(r'<span class="([sf])"[^>]*data-t="([^"]*)">([^<]*)</span>', shown)
  assert [text for _, _, text in tokens] == list("Q?C1=7A")
  assert "".join(kind for kind, _, _ in tokens) == "ffssffs"
  assert tokens[2][1] == f"token {ord('C')}, logp -0.250, entropy 0.500, weights of update 3"


def test_turns_calls_and_reward_are_readable(run_path):
  shown = viewer.trajectory(load_row(run_path))
  order = [
    "prompt, 2 tokens",
    "turn 1, policy: tool call",
    "tool, 4 ms, cost 1.5, ok",
    "observation, after 5 ms",
    "turn 2, policy: answer",
  ]
  places = [shown.index(text) for text in order]
  assert places == sorted(places)
  assert "search(q=&quot;&lt;b&gt;&amp;&quot;)" in shown
  assert "stopped: answered; reward 1.05 (correct 1, economy 0.05)" in shown


def test_what_the_policy_and_the_world_write_is_escaped(run_path):
  before, after = source.load(run_path).before, source.load(run_path).after
  shown = viewer.comparison(before, after)
  assert "<script" not in shown
  assert "&lt;script&gt;alert(7)" in shown
  assert "question &lt;0&gt;?" in shown


def test_tasks_are_paired_and_judged(run_path):
  run = source.load(run_path)
  shown = viewer.comparison(run.before, run.after, limit=2)
  assert shown.count('<details class="task">') == 2
  assert shown.count('<span class="bad">reward 0.05</span>, 1 call') == 2
  assert shown.count('<span class="good">reward 1.1</span>, 1 call') == 2
  alone = viewer.comparison(run.before, None)
  assert alone.count('<details class="task">') == 3
  assert alone.count('<div class="side">') == 3


def test_strata_are_shown_alike_and_can_be_chosen(run_path):
  after = source.load(run_path).after
  row = after.rows[0]
  rows = [row | {"task_id": f"t{n}", "stratum": "known" if n < 6 else "one <hop>"} for n in range(12)]
  assert [r["task_id"] for r in viewer.first_of_tasks(rows, 4)] == ["t0", "t1", "t6", "t7"]
  assert [r["task_id"] for r in viewer.first_of_tasks([r | {"stratum": ""} for r in rows], 4)] == [
    "t0",
    "t1",
    "t2",
    "t3",
  ]
  shown = viewer.comparison(source.Evaluation(3, rows), None, limit=4)
  assert shown.count('<details class="task s0">') == shown.count('<details class="task s1">') == 2
  assert ".strata:has(#s1:checked) .task:not(.s1)" in shown and '<input type="radio" name="stratum" id="s1">' in shown
  assert "one &lt;hop&gt;</label>" in shown and "all tasks</label>" in shown
  assert 'type="radio"' not in viewer.comparison(after, None)  # its tasks have no strata


def test_a_failed_environment_and_a_failed_tool_are_told(run_path):
  row = load_row(run_path)
  row |= {"reward": None, "reward_parts": None, "stop": "environment_failed"}
  row["turns"][0]["results"][0] |= {"ok": False, "failure": "timeout"}
  shown = viewer.trajectory(row)
  assert "stopped: environment failed; no reward" in shown
  assert "failed: timeout" in shown
  why = viewer.trajectory(row | {"failure": {"kind": "answer", "reason": "step() gave <None>"}})
  assert "stopped: environment failed (answer: step() gave &lt;None&gt;); no reward" in why
