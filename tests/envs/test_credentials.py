import json

import pytest

from agentrl.envs import credentials
from agentrl.envs.credentials import HIDDEN


def test_values_of_environments_and_headers_and_what_a_name_gives_away_are_left_out():
  settings = {
    "servers": {
      "weather": {"command": "x", "env": {"WEATHER": "abc", "LEVEL": 3, "T": "${WEATHER_TOKEN}"}, "tools": ["token"]},
      "issues": {"url": "https://x/mcp", "headers": {"Authorization": "Bearer ${T}", "X-Key": "key ${T} abc"}},
    },
    "api_key": "abc",
    "apiKey": "abc",
    "db-password": "abc",
    "max_tokens": 5,
    "end_tokens": "x",
    "tokenizer": "bpe",
    "empty_token": "",
  }
  assert credentials.without(settings) == {
    "servers": {
      "weather": {
        "command": "x",
        "env": {"WEATHER": HIDDEN, "LEVEL": HIDDEN, "T": "${WEATHER_TOKEN}"},
        "tools": ["token"],
      },
      "issues": {"url": "https://x/mcp", "headers": {"Authorization": "Bearer ${T}", "X-Key": HIDDEN}},
    },
    "api_key": HIDDEN,
    "apiKey": HIDDEN,
    "db-password": HIDDEN,
    "max_tokens": 5,
    "end_tokens": "x",
    "tokenizer": "bpe",
    "empty_token": "",
  }


@pytest.mark.parametrize(
  ("arguments", "kept"),
  [
    (("--token", "abc", "--level", "3"), ("--token", HIDDEN, "--level", "3")),
    (("--api-key=abc", "--level=3"), (f"--api-key={HIDDEN}", "--level=3")),
    (("-H", "Authorization: Bearer abc"), ("-H", f"Authorization: {HIDDEN}")),
    (("SERVICE_TOKEN=abc",), (f"SERVICE_TOKEN={HIDDEN}",)),
    (("--url=https://me:abc@host/x",), (f"--url=https://{HIDDEN}@host/x",)),
    ((), ()),
  ],
)
def test_arguments_lose_the_values_of_telling_flags(arguments, kept):
  assert credentials.without({"args": arguments}) == {"args": kept}


@pytest.mark.parametrize(
  ("url", "kept"),
  [
    ("https://host/mcp", "https://host/mcp"),
    ("https://me:abc@host:80/mcp", f"https://{HIDDEN}@host:80/mcp"),
    ("https://host/mcp?key=abc&v=", f"https://host/mcp?key={HIDDEN}&v="),
    ("https://host/mcp?key=${KEY}", "https://host/mcp?key=${KEY}"),
    ("a text with :// in it", "a text with :// in it"),
  ],
)
def test_a_url_loses_user_password_and_the_values_of_its_query(url, kept):
  assert credentials.without(url) == kept
  assert credentials.is_hidden(kept) == (url != kept)


def test_references_are_filled_in_from_variables():
  assert credentials.filled("Bearer ${A} ${B}", {"A": "x", "B": "y"}) == "Bearer x y"
  assert credentials.references("${A}${B} $C") == ["A", "B"]
  with pytest.raises(ValueError, match=r"'Bearer \$\{A\}' refers to the environment variable 'A', which is not set"):
    credentials.filled("Bearer ${A}", {})


def test_values_are_cut_out_of_texts_longest_first_and_short_ones_stay():
  assert credentials.cut_out("a secret-long, a secret, a", ["secret", "secret-long", "a"]) == (
    f"a {HIDDEN}, a {HIDDEN}, a"
  )
  assert credentials.in_url("https://me:ab%20c@host/x?key=abc") == ["me", "ab c", "abc"]


def test_a_value_is_found_as_json_writes_it_too():
  secret = 'S3CRET-"quoted"-é'
  for ascii_only in (True, False):
    written = json.dumps({"token": [secret]}, ensure_ascii=ascii_only)
    assert json.loads(credentials.cut_out(written, [secret])) == {"token": ["<redacted>"]}


def test_of_a_json_value_every_text_is_looked_at():
  whole = {"about tok-123456": ["tok-123456", 5, None, {"deep": "my tok-123456"}]}
  assert credentials.cut_out_of_json(whole, ["tok-123456"]) == {
    "about <redacted>": ["<redacted>", 5, None, {"deep": "my <redacted>"}]
  }
