"""Gold, its mutations, upstream's own checks beside ours, and episodes beside each other."""

import json
import random
import subprocess
import sys
import threading
import types

import jsonschema_rs
import pytest

pytest.importorskip("inspect_ai", reason="needs agentrl[tau2]")
pytest.importorskip("inspect_evals", reason="needs inspect-evals: pip install --no-deps inspect-evals")

from inspect_ai.model import ChatMessageAssistant, ChatMessageUser
from inspect_ai.tool import ToolCall as UpstreamCall
from inspect_evals.tau2.common.scorer import find_unused_actions, get_messages_from_agent
from inspect_evals.tau2.data_model.tasks import Task as UpstreamTask

from agentrl import envs
from agentrl.envs.adapters import tau2
from agentrl.envs.adapters.tau2 import records
from agentrl.envs.adapters.tau2.desk import Desk
from agentrl.envs.adapters.tau2.service import UTTERANCES
from agentrl.envs.adapters.tau2.solo import _is_action
from agentrl.envs.base import Setting
from agentrl.types import Action, Task, ToolCall, ToolFailure, TurnKind

LISTS = [("telecom", "base"), ("telecom", "full"), ("airline", "base"), ("retail", "base")]
SIZES = {("telecom", "base"): 114, ("telecom", "full"): 2285, ("airline", "base"): 50, ("retail", "base"): 114}
# Of the base lists; in these the customer asks for what the policy must refuse, or for what is no change.
SOLVED_BY_NOTHING = {"telecom": 0, "airline": 19, "retail": 7}


def task_of(domain, record):
  return Task(record["id"], "tau2", "", data={"domain": domain, "record": record})


def start(task):
  environment = tau2.environment(Setting())
  return environment, environment.reset(task, 0)


def play(task, actions):
  environment, _ = start(task)
  observations = [environment.step(action) for action in actions]
  environment.close()
  return observations


def say(text):
  return Action(TurnKind.ANSWER, text, answer=text)


def calling(name, **arguments):
  return Action(TurnKind.TOOL_CALL, "", calls=[ToolCall(name, arguments)])


def base(domain, every=1):
  named = set(json.loads(records._read(domain, "split_tasks.json"))["base"])
  return [record for record in records.records(domain) if record["id"] in named][::every]


def replay_gold(domain, chosen):
  refused = []
  for record in chosen:
    task = task_of(domain, record)
    observations = play(task, tau2.oracle(task))
    assert observations[-1].done
    assert set(observations[-1].parts.values()) == {1.0}, (record["id"], observations[-1].parts)
    assert not any(o.parts.get("correct") for o in observations[:-1])
    refused += [(record["id"], r.call.name) for o in observations for r in o.results if not r.ok]
  return refused


@pytest.mark.parametrize("domain", ["airline", "telecom"])
def test_gold_is_right(domain):
  assert replay_gold(domain, base(domain, every=5)) == []


def test_gold_is_right_also_where_the_shop_refuses_some_of_it():
  before = records.database("retail").get_hash()
  refused = replay_gold("retail", base("retail"))
  assert records.database("retail").get_hash() == before
  writes = [(number, name) for number, name in refused if not name.startswith(("get_", "find_"))]
  assert (len({number for number, _ in refused}), len(refused), len(writes)) == (18, 23, 4)


@pytest.mark.slow
def test_all_gold_is_right_and_the_shared_databases_stay_as_they_were():
  before = {domain: records.database(domain).get_hash() for domain in ("airline", "retail")}
  assert replay_gold("airline", base("airline")) == []
  assert replay_gold("telecom", records.records("telecom")) == []
  replay_gold("retail", base("retail"))
  assert before == {domain: records.database(domain).get_hash() for domain in before}


@pytest.mark.parametrize("domain", records.DOMAINS)
def test_doing_nothing_solves_what_is_to_be_left_alone(domain):
  solved = 0
  for record in base(domain, every=6 if domain == "telecom" else 1):
    environment, _ = start(task_of(domain, record))
    while not (observation := environment.step(say("No."))).done:
      pass
    solved += observation.parts["correct"]
  assert solved == SOLVED_BY_NOTHING[domain]


@pytest.mark.parametrize("domain", ["airline", "retail"])
def test_a_call_left_out_or_changed_is_judged_as_by_upstreams_hash(domain):
  rng = random.Random(domain)
  writing = [r for r in base(domain) if any(a["name"].startswith(CHANGES) for a in r["evaluation_criteria"]["actions"])]
  verdicts = []
  for record in rng.sample(writing, 2):
    gold = record["evaluation_criteria"]["actions"]
    left_out = [action for action in gold if not action["name"].startswith(CHANGES)]
    for actions in (gold, left_out, [a for a in gold if a is not rng.choice(gold)]):
      desks = Desk(domain), Desk(domain)
      desks[0].replay(gold)
      desks[1].replay(actions)
      ours = desks[0].same_database(desks[1])
      assert ours == (desks[0]._toolkit.db.get_hash() == desks[1]._toolkit.db.get_hash())
      verdicts.append(ours)
  assert verdicts[0::3] == [True] * 2
  assert verdicts[1::3] == [False] * 2


CHANGES = ("cancel", "book", "update", "exchange", "modify", "return", "send_certificate")


def test_a_wrong_argument_spoils_the_database():
  record = next(r for r in base("airline") if r["evaluation_criteria"]["actions"][-1:]
                and r["evaluation_criteria"]["actions"][-1]["name"] == "cancel_reservation")  # fmt: skip
  task = task_of("airline", record)
  *before, last, closing = tau2.oracle(task)
  other = next(
    key for key in records.database("airline").reservations if key != last.calls[0].arguments["reservation_id"]
  )
  assert play(task, [*before, last, closing])[-1].parts["correct"] == 1.0
  parts = play(task, [*before, calling("cancel_reservation", reservation_id=other), closing])[-1].parts
  assert (parts["correct"], parts["database"]) == (0.0, 0.0)


def test_what_is_to_be_told_must_be_told():
  record = next(r for r in base("retail") if r["evaluation_criteria"]["communicate_info"])
  task = task_of("retail", record)
  *before, closing = tau2.oracle(task)
  assert play(task, [*before, closing])[-1].parts["correct"] == 1.0
  parts = play(task, [*before, say("That is all done.")])[-1].parts
  assert (parts["correct"], parts["database"]) == (0.0, 1.0)
  assert parts["communicated"] < 1.0


def test_what_was_told_is_read_as_upstream_reads_it():
  said = ["The total is $1,628.", "It has 4 SUITCASES."]
  state = types.SimpleNamespace(messages=[ChatMessageUser(content=text) for text in said])
  assert get_messages_from_agent(state) == "\n".join(said).lower().replace(",", "")


def test_actions_are_compared_as_upstream_compares_them():
  rng, verdicts = random.Random(0), []
  for record in [*base("telecom", every=4), *base("airline", every=4)]:
    upstream = UpstreamTask.model_validate(record)
    for action in record["evaluation_criteria"]["actions"]:
      for arguments in changed(action["arguments"], rng):
        for compared in (None, [], list(action["arguments"])[:1]):
          wanted = {**action, "compare_args": compared, "requestor": "assistant"}
          one = with_action(upstream, wanted)
          message = ChatMessageAssistant(
            content="", tool_calls=[UpstreamCall(id="1", function=action["name"], arguments=arguments)]
          )
          state = types.SimpleNamespace(messages=[message])
          verdicts.append(_is_action((action["name"], arguments), wanted))
          assert verdicts[-1] == (not find_unused_actions(state, state, one)), (wanted, arguments)
  assert 0.2 < sum(verdicts) / len(verdicts) < 0.95


def with_action(upstream, wanted):
  criteria = upstream.evaluation_criteria.model_validate({"actions": [wanted], "reward_basis": ["ACTION"]})
  return upstream.model_copy(update={"evaluation_criteria": criteria})


def changed(arguments, rng):
  yield dict(arguments)
  yield {**arguments, "surplus": 1}
  for name, value in arguments.items():
    yield {other: kept for other, kept in arguments.items() if other != name}
    yield {**arguments, name: value[::-1] if isinstance(value, list) else rng.choice((0, "x", None, [value]))}
    yield {**arguments, name: float(value) if isinstance(value, int) else str(value)}


def test_a_fault_that_is_left_or_made_fails_the_ticket():
  for record in base("telecom", every=10):
    task = task_of("telecom", record)
    *calls, closing = tau2.oracle(task)
    assert play(task, [closing])[-1].parts["correct"] == 0.0
    spoiled = play(task, [*calls, calling("toggle_airplane_mode"), closing])[-1].parts
    if record["evaluation_criteria"]["env_assertions"][0]["func_name"] != "assert_service_status":
      assert spoiled["correct"] == 0.0, record["id"]
    assert not play(task, calls)[-1].done


def test_a_required_action_is_required():
  record = next(r for r in base("telecom") if "ACTION" in r["evaluation_criteria"]["reward_basis"])
  task = task_of("telecom", record)
  *calls, closing = tau2.oracle(task)
  assert play(task, [*calls, closing])[-1].parts["correct"] == 1.0
  assert play(task, [*calls[:-1], closing])[-1].parts["correct"] == 0.0


def test_splits_are_upstreams():
  for domain, listed in LISTS:
    ids = {split: {r["id"] for r in records.listed(domain, listed, split, 0)} for split in ("train", "held_out")}
    named = json.loads(records._read(domain, "split_tasks.json"))
    assert ids["held_out"] == set(named["test"])
    assert not ids["train"] & ids["held_out"]
    assert len(ids["train"] | ids["held_out"]) == SIZES[domain, listed]


def test_tasks_are_pure_json_and_start_over_behind_the_end():
  for domain, listed in LISTS:
    options = {"domain": domain, "tasks": listed}
    count = len(records.listed(domain, listed, "held_out", 0))
    task = tau2.generate(0, split="held_out", **options)
    assert task == tau2.generate(count, split="held_out", **options)
    assert task != tau2.generate(1, split="held_out", **options)
    assert json.loads(json.dumps(task.data)) == task.data
    assert task.question
    tau2.generate(2**31 - 1, split="train", **options)
  orders = [[tau2.generate(i, split="train", seed=seed).id for i in range(9)] for seed in (0, 1)]
  assert orders[0] != orders[1]


@pytest.mark.parametrize(("domain", "count"), [("telecom", 43), ("airline", 14), ("retail", 15)])
def test_tools_have_standard_schemas(domain, count):
  specs = [spec for spec, _ in records.tools(domain)]
  assert len({spec.name for spec in specs}) == count
  for spec in specs:
    jsonschema_rs.meta.validate(spec.schema)
    assert spec.description
    assert "/" not in spec.name


def test_the_policy_text_is_the_system_message_unless_the_config_has_one():
  task = tau2.generate(0, split="train", domain="airline")
  system, first = tau2.environment(Setting()).reset(task, 0)
  assert (system.role, first.role, first.content) == ("system", "user", task.question)
  assert "# Airline Agent Policy" in system.content
  system, _ = tau2.environment(Setting("Be brief.")).reset(task, 0)
  assert system.content == "Be brief."


def test_failures_are_told():
  environment, _ = start(tau2.generate(0, split="train", domain="retail"))
  unknown = environment.step(calling("get_order_details", order_id="#W0")).results[0]
  assert (unknown.failure, unknown.text) == (
    ToolFailure.EXCEPTION, "error: get_order_details: ToolError: Order not found")  # fmt: skip
  wrong = environment.step(calling("get_order_details", order="#W0")).results[0]
  assert (wrong.failure, wrong.text) == (
    ToolFailure.ARGUMENTS, "error: unexpected argument 'order'; expected: order_id")  # fmt: skip
  refused = environment.step(Action(TurnKind.MALFORMED, "{", problem="no JSON"))
  assert (refused.ok, refused.done, refused.text) == (False, False, "error: no JSON")


def test_handing_on_and_too_many_questions_end_a_conversation():
  task = tau2.generate(0, split="train", domain="retail")
  last = play(task, [calling("transfer_to_human_agents", summary="x"), say("Please hold on?")])[-1]
  assert last.done
  questions = play(task, [say("What?")] * UTTERANCES)
  assert [o.done for o in questions] == [False] * (UTTERANCES - 1) + [True]
  environment, _ = start(task)
  environment.close()
  with pytest.raises(RuntimeError, match=r"call reset\(task, seed\) first"):
    environment.step(say("Hello."))


@pytest.mark.parametrize("domain", records.DOMAINS)
def test_episodes_at_once_and_in_other_threads_do_not_touch_each_other(domain):
  chosen = base(domain)[:4]
  alone = [[o.text for o in play(task_of(domain, r), tau2.oracle(task_of(domain, r)))] for r in chosen]
  together = [None] * len(chosen)

  def one(number):
    task = task_of(domain, chosen[number])
    together[number] = [o.text for o in play(task, tau2.oracle(task))]

  threads = [threading.Thread(target=one, args=(number,)) for number in range(len(chosen))]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join(60)
  assert together == alone


def test_new_bills_have_the_same_id_each_time():
  def without_draft(desk):
    bills = {bill.bill_id: bill.status.value for bill in desk.tools.db.bills}
    return next(c for c in desk.tools.db.customers if "Draft" not in {bills[number] for number in c.bill_ids})

  customer = Desk("telecom").telecom(without_draft)
  refuel = calling("refuel_data", customer_id=customer.customer_id, line_id=customer.line_ids[0], gb_amount=1)
  bills = calling("get_bills_for_customer", customer_id=customer.customer_id)
  texts = [play(task_of("telecom", base("telecom")[0]), [refuel, bills])[-1].text for _ in range(2)]
  assert texts[0] == texts[1]
  assert "BNEW" in texts[0]


def test_make_serves_the_family():
  source = envs.make("tau2", "", options={"domain": "telecom"}, max_output_chars=5000)
  task = source.task(0, "held_out")
  assert play(task, source.oracle(task))[-1].parts["correct"] == 1.0


def test_what_is_missing_is_named_with_the_line_that_installs_it():
  code = """
import sys
sys.modules["inspect_ai"] = None
from agentrl.envs import families
families.load("tau2")
"""
  got = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
  assert "ImportError: tau2 needs inspect_ai" in got.stderr
  assert "pip install -e '.[tau2]', and then pip install --no-deps inspect-evals" in got.stderr


def test_wrong_options_are_errors():
  for options, message in (
    ({"domain": "airlines"}, "no domain of tau2 is called 'airlines': did you mean 'airline'"),
    ({"domain": "retail", "tasks": "full"}, "retail has no list of tasks called 'full'; known: base"),
    ({"difficulty": 2}, "tau2 has difficulty 1 alone, not 2"),
  ):
    with pytest.raises(ValueError, match=message):
      tau2.generate(0, split="train", **options)
  with pytest.raises(ValueError, match="no split is called 'test'"):
    tau2.generate(0, split="test")
  with pytest.raises(ValueError, match="cannot be solved with the tool 'hammer'"):
    tau2.oracle(tau2.generate(0, split="train"), "hammer")
  with pytest.raises(ValueError, match="is none of tau2"):
    tau2.environment(Setting()).reset(Task("x", "arithmetic", "1 + 1"), 0)
