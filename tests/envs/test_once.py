import logging

from agentrl.envs.once import FewWords, warn_once


def test_the_same_warning_is_told_once(caplog):
  for text in ("100 % of it", "100 % of it", "another"):
    warn_once(logging.getLogger("agentrl.test"), text)
  assert caplog.messages == ["100 % of it", "another"]


def test_a_flood_of_another_s_warnings_ends_and_says_so(caplog):
  log, few = logging.getLogger("agentrl.test_flood"), FewWords()
  log.addFilter(few)
  for number in range(10_000):
    try:
      raise ValueError
    except ValueError:
      log.warning("odd message %s", number, exc_info=True)
  log.removeFilter(few)
  assert len(caplog.records) == 20
  assert caplog.messages[0] == "odd message 0"
  assert caplog.messages[-1] == "odd message 19 (the last of 20 that are told)"
  assert "Traceback" not in caplog.text
