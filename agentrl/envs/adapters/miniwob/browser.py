"""One headless Chromium per process, and a window in it for each open episode.

The driver is started through `guard`, so that it ends with this process, and everything under it. Whatever goes
wrong between here and a page (no answer, a crashed tab, a driver that is gone) ends the browser and raises
`EnvironmentFailed` in every episode that has a window in it; the next window comes from a fresh browser.
"""

from __future__ import annotations

import base64
import dataclasses
import os
import pathlib
import re
import select
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import urllib3
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.chromium.remote_connection import ChromiumRemoteConnection
from selenium.webdriver.remote.client_config import ClientConfig

from agentrl.envs import output, supervisor
from agentrl.envs.adapters.miniwob import clock, guard, page
from agentrl.types import EnvironmentFailed

COMMAND_SECONDS = 60.0  # after that the browser counts as broken
_WIDTH, _HEIGHT = 420, 720  # px of a window: the pages are 160 x 210, those of the airlines 375 x 667
_APT = "apt-get install chromium chromium-driver"
_BROKEN = (WebDriverException, urllib3.exceptions.HTTPError, OSError, TimeoutError)


class Browser:
  """A running Chromium.

  Its methods may be called from any thread: each holds a lock for as long as the browser works on it.

  Raises:
    EnvironmentFailed: Chromium did not start, or later, does not answer. The browser is ended then.
    FileNotFoundError: Chromium or its driver is not installed; names the packages.
  """

  def __init__(self):
    self._lock = threading.RLock()
    self._free: list[str] = []
    self.process_id = os.getpid()
    self.alive = True
    chromium, driver = _installed("chromium", "google-chrome"), _installed("chromedriver")
    self._folder = tempfile.mkdtemp(prefix="agentrl-miniwob-")
    self._guard = self._start_guard(driver)
    try:
      self._driver = self._connect(self._port(), chromium)
      self._current = first = self._driver.current_window_handle
      self._prepare()
    except _BROKEN as error:
      raise self._broken("Chromium did not start", error) from error
    self._free.append(first)

  def take(self) -> Window:
    """A window that no other episode has."""
    with self._lock:
      if self._free:
        return Window(self, self._free.pop())
      self._check()
      try:
        self._driver.switch_to.new_window("window")
        self._current = handle = self._driver.current_window_handle
        self._prepare()
      except _BROKEN as error:
        raise self._broken("no new window", error) from error
      return Window(self, handle)

  def give_back(self, handle: str) -> None:
    """The episode is over; the next one gets its window, and loads a page of its own into it."""
    with self._lock:
      self._free.append(handle)

  def ask(self, handle: str, command: Callable[[webdriver.Remote], Any]) -> Any:
    """What the command returns, with the driver turned to this window."""
    with self._lock:
      self._check()
      try:
        if handle != self._current:
          self._driver.switch_to.window(handle)
          self._current = handle
        return command(self._driver)
      except _BROKEN as error:
        raise self._broken("the browser failed", error) from error

  def close(self) -> None:
    """Ends Chromium and its driver, waits until they are gone, and removes their folder."""
    with self._lock:
      self.alive = False
      if self.process_id != os.getpid():
        return  # a fork's copy of the object: the browser is the parent's
      self._guard.stdin.close()
      self._guard.wait(COMMAND_SECONDS)
      self._guard.stdout.close()

  def _check(self) -> None:
    if not self.alive or self.process_id != os.getpid():
      raise EnvironmentFailed("the browser of this episode is gone")

  def _broken(self, what: str, error: Exception) -> EnvironmentFailed:
    self.close()
    return EnvironmentFailed(f"{what}: {output.error_line(error)}")

  def _start_guard(self, driver: str) -> subprocess.Popen:
    """The driver under its guard, in a session of their own; its home and temporary files are in the folder."""
    home = dict.fromkeys(("HOME", "TMPDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"), self._folder)
    place = {"TZ": "UTC", "LANG": "C.UTF-8", "PATH": os.environ.get("PATH", os.defpath)}
    watched = supervisor.supervised(guard.LIFELINE, [driver, "--port=0"])
    return subprocess.Popen(
      [sys.executable, "-I", "-S", guard.__file__, self._folder, *watched],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=subprocess.DEVNULL,
      env=home | place,
      start_new_session=True,
    )

  def _port(self) -> int:
    """Of the driver, as it says by itself."""
    deadline, said = time.monotonic() + COMMAND_SECONDS, b""
    poll = select.poll()
    poll.register(self._guard.stdout, select.POLLIN)
    while not (found := re.search(rb"started successfully on port (\d+)", said)):
      ready = poll.poll(1000 * max(0.0, deadline - time.monotonic()))
      more = os.read(self._guard.stdout.fileno(), 4096) if ready else b""
      if not more:
        raise TimeoutError(f"the driver did not say its port, only {said[-200:].decode(errors='replace')!r}")
      said += more
    return int(found.group(1))

  def _connect(self, port: int, chromium: str) -> webdriver.Remote:
    client = ClientConfig(f"http://127.0.0.1:{port}", timeout=COMMAND_SECONDS)
    connection = ChromiumRemoteConnection(
      client.remote_server_addr, vendor_prefix="goog", browser_name="chrome", ignore_proxy=True, client_config=client
    )
    driver = webdriver.Remote(command_executor=connection, options=_options(chromium, self._folder))
    driver.set_page_load_timeout(COMMAND_SECONDS / 2)
    driver.set_script_timeout(COMMAND_SECONDS / 2)
    return driver

  def _prepare(self) -> None:
    """Makes a window that always has the focus and the same size, and puts the clock into each document."""
    size = {"width": _WIDTH, "height": _HEIGHT, "deviceScaleFactor": 1, "mobile": False}
    _cdp(self._driver, "Emulation.setDeviceMetricsOverride", size)
    _cdp(self._driver, "Emulation.setFocusEmulationEnabled", {"enabled": True})
    _cdp(self._driver, "Page.addScriptToEvaluateOnNewDocument", {"source": clock.CLOCK})


@dataclasses.dataclass(frozen=True)
class Pointer:
  """One event of the mouse.

  Attributes:
    kind: "mouseMoved", "mousePressed" or "mouseReleased".
    x: pixels from the left of the page.
    y: pixels from its top.
    held: the left button is down while it moves.
  """

  kind: str
  x: float
  y: float
  held: bool = False


class Window:
  """One window of a browser.

  Args:
    browser: which has it.
    handle: WebDriver's name of it.
  """

  def __init__(self, browser: Browser, handle: str):
    self._browser = browser
    self._handle = handle

  def open(self, url: str) -> None:
    """Loads a page, with the pointer out of its way."""
    self.point([Pointer("mouseMoved", _WIDTH - 1, _HEIGHT - 1)])
    self._browser.ask(self._handle, lambda driver: driver.get(url))
    self._browser.ask(self._handle, lambda driver: driver.execute_script(page.TOOLS))

  def call(self, function: str, *arguments: Any) -> Any:
    """What a function of `page.TOOLS` returns; None where the page was left, and with it the functions."""
    script = f"return window.agentrlPage ? window.agentrlPage.{function}(...arguments) : null"
    return self._browser.ask(self._handle, lambda driver: driver.execute_script(script, *arguments))

  def point(self, events: Sequence[Pointer]) -> None:
    """Mouse events, in order."""
    self._browser.ask(self._handle, lambda driver: [_point(driver, event) for event in events])

  def press(self, chords: Sequence[Sequence[str]]) -> None:
    """Key presses, in order; a chord is its modifiers and then its key, as WebDriver's codes or characters."""
    self._browser.ask(self._handle, lambda driver: _press(driver, chords))

  def screenshot(self, width: int, height: int) -> bytes:
    """PNG of the upper left corner, in pixels."""
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    shot = {"format": "png", "clip": clip}
    taken = self._browser.ask(self._handle, lambda driver: _cdp(driver, "Page.captureScreenshot", shot))
    return base64.b64decode(taken["data"])

  def give_back(self) -> None:
    """Leaves it to another episode."""
    self._browser.give_back(self._handle)


_shared: list[Browser] = []
_shared_lock = threading.Lock()


def shared() -> Browser:
  """The browser of this process, started where there is none that lives."""
  with _shared_lock:
    if not _shared or not _shared[-1].alive or _shared[-1].process_id != os.getpid():
      _shared[:] = [Browser()]
    return _shared[-1]


def close_shared() -> None:
  """Ends the browser of this process, where one runs. Without this call it ends with the process."""
  with _shared_lock:
    while _shared:
      _shared.pop().close()


def _installed(*names: str) -> str:
  """The first of the programs that is there."""
  for name in names:
    if found := shutil.which(name):
      return found
  raise FileNotFoundError(f"MiniWoB needs the program {names[0]!r}, which is not installed: {_APT}")


def _options(chromium: str, folder: str) -> webdriver.ChromeOptions:
  options = webdriver.ChromeOptions()
  options.binary_location = chromium
  switches = [
    "headless=new",
    f"user-data-dir={pathlib.Path(folder) / 'profile'}",
    "remote-debugging-pipe",  # not a port that others could use; and Chromium ends when the pipe does
    "allow-file-access-from-files",  # the airlines' pages are frames of a file, which must reach their own content
    "lang=en-US",
    "disable-gpu",
    "disable-dev-shm-usage",  # /dev/shm is small in containers, and a tab that fills it crashes
    "disable-background-networking",
    "disable-renderer-backgrounding",
    "disable-backgrounding-occluded-windows",
    "disable-breakpad",
    "no-first-run",
  ]
  if os.geteuid() == 0:
    switches.append("no-sandbox")  # Chromium refuses to start its sandbox as root; any other user keeps it
  for switch in switches:
    options.add_argument(f"--{switch}")
  return options


def _cdp(driver: webdriver.Remote, command: str, arguments: dict[str, Any]) -> Any:
  return driver.execute("executeCdpCommand", {"cmd": command, "params": arguments})["value"]


def _point(driver: webdriver.Remote, event: Pointer) -> None:
  # Through the protocol and not as WebDriver actions: those make a double click of two that are close in real time.
  pressing = event.kind != "mouseMoved"
  down = event.held or event.kind == "mousePressed"
  button = "left" if pressing or down else "none"
  arguments = {"type": event.kind, "x": event.x, "y": event.y, "button": button}
  _cdp(driver, "Input.dispatchMouseEvent", arguments | {"buttons": int(down), "clickCount": int(pressing)})


def _press(driver: webdriver.Remote, chords: Sequence[Sequence[str]]) -> None:
  actions = webdriver.ActionChains(driver, duration=0)
  for *modifiers, key in chords:
    for modifier in modifiers:
      actions.w3c_actions.key_action.key_down(modifier)
    actions.w3c_actions.key_action.key_down(key)
    actions.w3c_actions.key_action.key_up(key)
    for modifier in reversed(modifiers):
      actions.w3c_actions.key_action.key_up(modifier)
  actions.perform()
