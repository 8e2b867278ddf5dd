"""The settings of hosting, and what a pool believes of what a worker sends."""

import pytest

from agentrl.envs.hosting.host import Reply
from agentrl.envs.hosting.worker import Hosting, WorkerLost, as_reply, lost_before


def test_what_is_no_reply_loses_the_worker():
  reply = Reply("hello")
  assert as_reply(reply) is reply
  with pytest.raises(WorkerLost, match="it sent a dict where a reply was due"):
    as_reply({"value": "hello"})


def test_a_worker_that_is_gone_keeps_its_reason():
  assert str(lost_before("it was killed")) == "its worker had been lost before: it was killed"


@pytest.mark.parametrize(("name", "value"), [("processes", -1), ("retries", -1), ("call_seconds", 0.0)])
def test_settings_that_cannot_be_are_refused(name, value):
  with pytest.raises(ValueError, match=rf"hosting.*{name}={value} must be"):
    Hosting(**{"processes": 1, name: value})
