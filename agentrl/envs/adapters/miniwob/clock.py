"""The clock of a MiniWoB page: it only moves when it is told to.

`CLOCK` is put into every document before its own scripts. Timers, animation frames and dates follow a clock that stands
still while the policy thinks and moves by a fixed amount after each action; so an episode is the same however slow the
machine is. It also takes out what would block a page (dialogs) or carry something over from an earlier one (the
clipboard).
"""

CLOCK = r"""
(() => {
  const NativeDate = Date, nativeFrame = window.requestAnimationFrame.bind(window);
  const START = NativeDate.UTC(2020, 0, 1, 12), FRAME = 16, SHORTEST = 4;
  let now = START, last = 0;
  const timers = new Map();
  const add = (callback, delay, every) => {
    const run = typeof callback === 'function' ? callback : new Function(String(callback));
    timers.set(++last, {at: now + Math.max(1, Number(delay) || 0), run, every});
    return last;
  };
  const remove = id => { timers.delete(Number(id)); };
  window.setTimeout = (callback, delay, ...given) => add(() => callback(...given), delay, 0);
  window.setInterval = (callback, delay, ...given) =>
    add(() => callback(...given), Math.max(SHORTEST, delay || 0), Math.max(SHORTEST, Number(delay) || 0));
  window.requestAnimationFrame = callback => add(() => callback(now - START), FRAME - (now - START) % FRAME, 0);
  window.clearTimeout = window.clearInterval = window.cancelAnimationFrame = remove;
  performance.now = () => now - START;

  function PageDate(...given) {
    if (!new.target) return new NativeDate(now).toString();
    return given.length ? new NativeDate(...given) : new NativeDate(now);
  }
  PageDate.prototype = NativeDate.prototype;
  PageDate.prototype.constructor = PageDate;
  Object.assign(PageDate, {now: () => now, parse: NativeDate.parse, UTC: NativeDate.UTC});
  window.Date = PageDate;

  // A dialog would block the browser, and a second window would never be seen.
  window.alert = window.print = () => {};
  window.confirm = () => true;
  window.prompt = window.open = () => null;

  // Nothing was copied in this document: what an earlier episode left in the clipboard must not come out.
  let copied = false;
  for (const kind of ['copy', 'cut']) document.addEventListener(kind, () => { copied = true; }, true);
  document.addEventListener('paste', event => {
    if (!copied) { event.preventDefault(); event.stopImmediatePropagation(); }
  }, true);
  document.addEventListener('DOMContentLoaded', () => {
    const style = document.createElement('style');
    style.textContent = '*, *::before, *::after { transition: none !important; animation: none !important; ' +
      'scroll-behavior: auto !important; caret-color: transparent !important; }';
    document.head.appendChild(style);
  });

  const frames = () => [...document.querySelectorAll('iframe')].map(frame => frame.contentWindow)
    .filter(inner => inner && inner.agentrlClock);
  window.agentrlClock = {
    // The next frame that is really drawn; scroll and resize events come before it.
    drawn: () => new Promise(resolve => nativeFrame(() => resolve())),
    async advance(milliseconds) {
      const end = now + milliseconds;
      for (const frame of frames()) await frame.agentrlClock.advance(milliseconds);
      for (;;) {
        let next = null, id = 0;
        for (const [key, timer] of timers)
          if (timer.at <= end && (!next || timer.at < next.at)) [next, id] = [timer, key];
        if (!next) break;
        now = Math.max(now, next.at);
        if (next.every) next.at = now + next.every; else timers.delete(id);
        try { next.run(); } catch (error) { console.error(error); }
        await null;  // promises that the timer resolved go before the next timer
      }
      now = end;
    },
  };
})();
"""
