import pytest

from agentrl.envs.tools.mcp_settings import Server

TOKEN = "tok-5f2d8e91c7"


@pytest.fixture(autouse=True)
def token(monkeypatch):
  monkeypatch.setenv("SERVICE_TOKEN", TOKEN)


def test_variables_are_taken_from_the_environment_by_name():
  server = Server(command="x", env={"LEVEL": "debug"}, env_from=("SERVICE_TOKEN",))
  assert server.variables() == {"LEVEL": "debug", "SERVICE_TOKEN": TOKEN}
  assert TOKEN in server.secrets()


def test_references_in_url_and_headers_are_filled_in():
  server = Server(
    url="https://me:pass-word@x/?key=${SERVICE_TOKEN}", headers={"Authorization": "Bearer ${SERVICE_TOKEN}"}
  )
  assert server.address() == f"https://me:pass-word@x/?key={TOKEN}"
  assert server.sent_headers() == {"Authorization": f"Bearer {TOKEN}"}
  assert {TOKEN, f"Bearer {TOKEN}", "pass-word"} <= set(server.secrets())


@pytest.mark.parametrize(
  ("settings", "words"),
  [
    ({"command": "x", "env": {"T": "<redacted>"}}, r"env\.T was left out .* by env_from, or as \"\$\{NAME\}\""),
    ({"url": "https://x", "headers": {"T": "<redacted>"}}, r"headers\.T was left out"),
    ({"url": "https://x/?key=<redacted>"}, "url was left out"),
    ({"command": "x", "args": ("--token=<redacted>",)}, r"args\[0\] was left out"),
    ({"command": "x", "env_from": ("NO_SUCH",)}, "env_from names 'NO_SUCH', which is not set"),
    ({"url": "https://x/${NO_SUCH}"}, "environment variable 'NO_SUCH', which is not set"),
    ({"command": "x", "env_from": "NAME"}, "env_from is a list of strings"),
    ({"command": "x", "tools": (1,)}, "tools is a list of strings"),
  ],
)
def test_what_cannot_be_handed_over_is_an_early_error(settings, words):
  with pytest.raises(ValueError, match=words):
    Server(**settings)


def test_no_text_of_the_settings_tells_a_credential():
  with pytest.raises(ValueError, match="one of them") as error:
    Server(command="x", url=f"https://x/?key={TOKEN}")
  assert TOKEN not in str(error.value)
  assert TOKEN not in repr(Server(command="x", env={"T": TOKEN}, headers={"T": TOKEN}))
