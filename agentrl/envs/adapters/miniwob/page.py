"""What runs inside a MiniWoB page: it finds elements, lists them as rows of a table, and fills them.

`TOOLS` is put into the outermost document; frames within it are listed too. An element keeps the number that it got
when it was first listed, as long as the document lives. A row holds what `observation` puts into words.
"""

TOOLS = r"""
(() => {
  if (window !== window.top) return;
  const LEFT_OUT = new Set(['reward-display', 'sync-task-cover', 'click-canvas', 'query', 'query-wrap']);
  const SILENT = new Set(['SCRIPT', 'STYLE', 'NOSCRIPT', 'TEMPLATE', 'HEAD', 'OPTION', 'OPTGROUP', 'DEFS', 'TITLE']);
  const SHAPES = new Set(['rect', 'circle', 'ellipse', 'polygon', 'polyline', 'path', 'line', 'text', 'image', 'use']);
  const FIELDS = /^(textbox|textarea|date|time|color)$/, NATIVE = /^(checkbox|radio|date|time|color)$/;
  const BUTTONS = new Set(['button', 'submit', 'reset', 'image', 'file']);
  const WIDGETS = new Set(['button', 'link', 'tab', 'menuitem', 'option', 'checkbox', 'radio', 'switch', 'slider',
    'textbox', 'searchbox', 'combobox', 'spinbutton', 'treeitem', 'cell', 'heading', 'dialog', 'alert', 'progressbar']);
  const LEAVES = 'a, button, input, select, textarea, [contenteditable="true"], [role=button], [role=tab], ' +
    '[role=link], [role=menuitem], [role=option], [role=checkbox], [role=radio], [role=switch], summary';
  const PLACES = {td: 'cell', th: 'header', li: 'item', img: 'image', h1: 'heading', h2: 'heading', h3: 'heading',
    h4: 'heading', h5: 'heading', h6: 'heading', canvas: 'canvas', label: 'label', textarea: 'textarea', a: 'link',
    button: 'button', summary: 'button'};
  const SETTLING = 500;  // milliseconds of the page's clock between its start and the first look at it
  const numbers = new WeakMap(), elements = new Map();
  const pictures = new Set(), loaded = new Set();  // addresses that styles name: they change the layout when they come

  const numberOf = element => {
    if (!numbers.has(element)) { numbers.set(element, elements.size + 1); elements.set(elements.size + 1, element); }
    return numbers.get(element);
  };
  const squeeze = text => (text || '').replace(/\s+/g, ' ').trim();
  const offsetOf = element => {  // of the element's document within the outermost one
    const frame = element.ownerDocument.defaultView.frameElement;
    if (!frame) return [0, 0];
    const rect = frame.getBoundingClientRect();
    return [rect.left + frame.clientLeft, rect.top + frame.clientTop];
  };
  const urlOf = text => (/url\("?([^")]*)"?\)/.exec(text) || ['', ''])[1];
  const pictureOf = style => {
    const url = urlOf(style.content) || urlOf(style.backgroundImage);
    if (url) pictures.add(url);
    return url.split('/').pop();
  };

  const roleOf = element => {
    const tag = element.tagName.toLowerCase(), given = element.getAttribute('role');
    if (tag === 'input') {
      const type = element.type;
      if (BUTTONS.has(type)) return 'button';
      if (type === 'range') return 'slider';
      return NATIVE.test(type) ? type : 'textbox';
    }
    if (tag === 'select') return element.multiple ? 'multiselect' : 'select';
    if (WIDGETS.has(given)) return given;
    if (element.isContentEditable) return 'textbox';
    if (element instanceof element.ownerDocument.defaultView.SVGElement) return tag;
    return PLACES[tag] || 'text';
  };

  const nameOf = (element, role) => {
    if (element.labels && element.labels.length && /^(checkbox|radio|textbox|textarea)$/.test(role))
      return squeeze([...element.labels].map(label => label.innerText).join(' '));
    const given = element.getAttribute('aria-label') || element.getAttribute('alt');
    if (given) return squeeze(given);
    if (role === 'button' && element.tagName === 'INPUT') return squeeze(element.value);
    if (/^(textbox|textarea|select|multiselect)$/.test(role)) return squeeze(element.placeholder || element.title);
    return squeeze(element.innerText || element.textContent) || squeeze(element.title);
  };

  const statesOf = element => {
    const states = [], on = name => element.getAttribute(name) === 'true';
    if (element.checked || on('aria-checked')) states.push('checked');
    if (on('aria-selected')) states.push('selected');
    if (element.hasAttribute('aria-expanded')) states.push(on('aria-expanded') ? 'expanded' : 'collapsed');
    if (element.disabled || on('aria-disabled')) states.push('disabled');
    if (element.readOnly && !element.checked) states.push('readonly');
    if (element.ownerDocument.activeElement === element) states.push('focused');
    return states;
  };

  const scrolls = (element, style) => element.scrollHeight > element.clientHeight + 2 &&
    (element.tagName === 'TEXTAREA' || style.overflowY === 'auto' || style.overflowY === 'scroll');

  const inView = (element, x, y) => {
    for (let up = element.parentElement; up && up !== up.ownerDocument.body; up = up.parentElement) {
      const style = getComputedStyle(up);
      if (style.overflowX === 'visible' && style.overflowY === 'visible') continue;
      const rect = up.getBoundingClientRect();
      if (x < rect.left || x > rect.right || y < rect.top || y > rect.bottom) return false;
    }
    return true;
  };

  const rowOf = (element, role, name, rect, style) => {
    const [dx, dy] = offsetOf(element), x = rect.left + rect.width / 2, y = rect.top + rect.height / 2;
    const row = {element, role, name, states: statesOf(element), x: x + dx, y: y + dy, w: rect.width,
      h: rect.height, id: element.id, classes: String(element.getAttribute('class') || '')};
    if (element.type === 'password') row.value = '*'.repeat(element.value.length);
    else if (FIELDS.test(role) || element.type === 'range')
      row.value = element.value === undefined ? squeeze(element.innerText) : String(element.value);
    if (element.type === 'range') row.range = [element.min || '0', element.max || '100'];
    if (element.tagName === 'SELECT') {
      row.options = [...element.options].map(option => squeeze(option.text));
      row.chosen = [...element.selectedOptions].map(option => squeeze(option.text));
    }
    if (element instanceof element.ownerDocument.defaultView.SVGElement) {
      row.fill = style.fill;
      row.stroke = style.stroke;
      if (element.points) row.points = element.points.numberOfItems;
      if (role === 'line') row.ends = ['x1', 'y1', 'x2', 'y2'].map(k => element[k].baseVal.value);
    } else {
      row.background = style.backgroundColor;
      const source = element.tagName === 'IMG' && element.getAttribute('src');
      row.picture = source ? source.split('/').pop() : pictureOf(style);
      row.pointer = style.cursor === 'pointer';
    }
    if (scrolls(element, style))
      row.scrolled = [Math.round(element.scrollTop), element.scrollHeight - element.clientHeight];
    row.seen = inView(element, x, y) && (element.ownerDocument.defaultView !== window ||
      (x >= 0 && y >= 0 && x <= innerWidth && y <= innerHeight));
    return row;
  };

  const chunkOf = node => {  // text that stands beside elements: no number of its own
    const range = document.createRange(), text = squeeze(node.data);
    if (!text) return null;
    range.selectNodeContents(node);
    const rect = range.getClientRects()[0];
    if (!rect || !rect.width) return null;
    const [dx, dy] = offsetOf(node.parentElement);
    const x = rect.left + rect.width / 2 + dx, y = rect.top + rect.height / 2 + dy;
    return {role: 'text', name: text, states: [], x, y, w: rect.width, h: rect.height,
      seen: inView(node.parentElement, rect.left + 1, rect.top + 1)};
  };

  const paints = style => style.backgroundImage !== 'none' || style.content.startsWith('url') ||
    style.borderTopWidth !== '0px' || !/^rgba\(.*, 0\)$/.test(style.backgroundColor);

  function list(element, rows) {
    if (LEFT_OUT.has(element.id) || SILENT.has(element.tagName.toUpperCase())) return;
    const style = element.ownerDocument.defaultView.getComputedStyle(element);
    if (style.display === 'none') return;
    pictureOf(style);
    if (element.tagName === 'IFRAME') {
      const inner = element.contentDocument;
      if (inner && inner.body) list(inner.body, rows);
      return;
    }
    const rect = element.getBoundingClientRect();
    const svg = element instanceof element.ownerDocument.defaultView.SVGElement;
    const isLeaf = !svg && element.matches(LEAVES), role = roleOf(element), push = (as, name) =>
      rows.push(rowOf(element, as, name, rect, style));
    const sized = rect.width > 0 && rect.height > 0, line = role === 'line' && rect.width + rect.height > 0;
    const visible = style.visibility !== 'hidden' && (sized || line) && (style.opacity !== '0' || isLeaf);
    if (svg) {
      if (visible && SHAPES.has(element.tagName)) push(role, squeeze(element.textContent));
      if (element.tagName !== 'text') for (const child of element.children) list(child, rows);
      return;
    }
    if (isLeaf) {
      const row = visible && rowOf(element, role, nameOf(element, role), rect, style);
      if (row) rows.push(row);
      const inner = element.querySelector(LEAVES);
      if (!inner || (row && inner.tagName === 'A' && squeeze(inner.innerText) === row.name)) return;
    }
    const inside = [...element.childNodes].filter(node => node.nodeType === 1 ||
      (node.nodeType === 3 && node.data.trim()));
    const labels = element.tagName === 'LABEL' && element.control, own = visible && !isLeaf && !labels;
    const plain = inside.length && style.fontSize !== '0px' &&
      inside.every(node => node.nodeType === 3 || node.tagName === 'BR');
    if (own && plain) return void push(role, squeeze(element.innerText));
    if (own && /^(CANVAS|IMG)$/.test(element.tagName)) return void push(role, nameOf(element, role));
    if (own && scrolls(element, style)) push('area', '');
    const before = rows.length;
    for (const child of inside) {
      if (child.nodeType === 1) list(child, rows);
      else if (own) { const row = chunkOf(child); if (row) rows.push(row); }
    }
    // A box of its own: what is painted and holds no text, or is empty and to be clicked.
    const listed = rows.slice(before), silent = listed.every(row => !row.name && /^(box|area)$/.test(row.role));
    const frame = element.tagName === 'BODY' || element.id === 'wrap' || element.id === 'area';  // of every page
    if (own && !frame && silent && (paints(style) || (!listed.length && style.cursor === 'pointer')))
      rows.splice(before, 0, rowOf(element, 'box', squeeze(element.title), rect, style));
  }

  // Only rows that are shown get numbers: which elements are there while pictures load is a matter of chance.
  const numbered = ({element, ...row}) => element ? {ref: numberOf(element), ...row} : row;

  async function listed() {
    for (;;) {
      const rows = [];
      list(document.body, rows);
      const late = [...pictures].filter(url => !loaded.has(url));
      if (!late.length) return rows.map(numbered);
      await Promise.all(late.map(url => {
        const image = new Image();
        image.src = url;
        loaded.add(url);
        return image.decode().catch(() => {});  // one that is no picture changes nothing
      }));
      await window.agentrlClock.drawn();
    }
  }

  const hits = (target, element) => {
    if (!target) return false;
    return element.contains(target) || [...(element.labels || [])].some(label => label.contains(target));
  };
  const at = (view, x, y) => view.document.elementFromPoint(x, y);
  const spots = element => {  // centres of its boxes first, then a grid over the first
    const boxes = [...element.getClientRects()].filter(box => box.width || box.height);
    const points = boxes.map(box => [box.left + box.width / 2, box.top + box.height / 2]);
    const [box] = boxes;
    for (const v of box ? [0.5, 0.2, 0.8] : [])
      for (const u of [0.1, 0.3, 0.7, 0.9]) points.push([box.left + box.width * u, box.top + box.height * v]);
    return points;
  };
  const clear = (element, view) => spots(element).find(([x, y]) => hits(at(view, x, y), element));

  async function settle(milliseconds) {
    const clock = window.agentrlClock;
    await clock.drawn();
    await clock.advance(milliseconds);
    await clock.drawn();
    const loading = () => [...document.images].some(image => !image.complete);
    for (let frame = 0; frame < 120 && loading(); frame++) await clock.drawn();
  }

  window.agentrlPage = {
    // Starts an episode; without a limit MiniWoB's own timer is taken out, and endEpisode still believes in one.
    async start(seed, mode, limited) {
      core.setDataMode(mode);
      Math.seedrandom(seed);
      core.startEpisodeReal();
      if (!limited) { clearTimeout(core.EP_TIMER); core.EP_TIMER = 0; core.clearTimer(); }
      for (let frame = 0; frame < 300 && !WOB_TASK_READY; frame++) await window.agentrlClock.drawn();
      if (!WOB_TASK_READY) throw new Error('the page does not get ready');
      return this.state(SETTLING);
    },
    async state(milliseconds) {
      await settle(milliseconds);
      const said = core.getUtterance(), rows = WOB_DONE_GLOBAL ? [] : await listed();
      return {rows, instruction: typeof said === 'string' ? said : said.utterance,
        marked: String(document.getSelection()), done: WOB_DONE_GLOBAL,
        raw: Number(WOB_RAW_REWARD_GLOBAL), decayed: Number(WOB_REWARD_GLOBAL)};
    },
    // Where the element can be clicked, and what it is; or the problem. With `covered` its middle, whatever lies there.
    point(ref, covered) {
      const element = elements.get(ref);
      if (!element) return {problem: 'unknown'};
      if (!element.isConnected) return {problem: 'gone'};
      const view = element.ownerDocument.defaultView;
      let [spot] = spots(element);
      if (!spot || getComputedStyle(element).visibility === 'hidden') return {problem: 'invisible'};
      const far = covered ? !inView(element, ...spot) || spot[1] > view.innerHeight : !clear(element, view);
      if (far) element.scrollIntoView({block: 'center', inline: 'nearest', behavior: 'instant'});
      const free = clear(element, view);
      if (!free && !covered) {
        [spot] = spots(element);
        let cover = at(view, ...spot);
        while (cover && !numbers.has(cover)) cover = cover.parentElement;
        return {problem: 'covered', by: cover ? numbers.get(cover) : null};
      }
      const [dx, dy] = offsetOf(element), [x, y] = covered ? spots(element)[0] : free;
      return {x: x + dx, y: y + dy, tag: element.tagName, type: element.type || '', role: roleOf(element),
        disabled: Boolean(element.disabled), readonly: Boolean(element.readOnly)};
    },
    // Puts the caret into a field and marks all of its text, so that typing replaces it. What is no field may have
    // passed the focus on to one when it was clicked. Whether typing goes anywhere.
    focus(ref) {
      const element = elements.get(ref);
      if (element.isContentEditable) {
        element.focus();
        element.ownerDocument.getSelection().selectAllChildren(element);
      } else if (element.select) {
        element.focus();
        element.select();
      }
      const active = element.ownerDocument.activeElement;
      return Boolean(active && (active.isContentEditable || active.select));
    },
    // Fields whose browser widget is no text: dates, times, colours, sliders.
    fill(ref, text) {
      const element = elements.get(ref);
      element.focus();
      element.value = text;
      for (const kind of ['input', 'change']) element.dispatchEvent(new Event(kind, {bubbles: true}));
      return element.value;
    },
    choose(ref, wanted) {
      const element = elements.get(ref), fold = text => squeeze(text).toLowerCase();
      if (!element || !element.isConnected) return {problem: element ? 'gone' : 'unknown'};
      if (element.tagName !== 'SELECT') return {problem: 'no list'};
      const options = [...element.options];
      const option = options.find(one => squeeze(one.text) === squeeze(wanted)) ||
        options.find(one => fold(one.text) === fold(wanted));
      if (!option) return {problem: 'no option', options: options.map(o => squeeze(o.text))};
      element.focus();
      if (element.multiple) option.selected = !option.selected; else element.value = option.value;
      if (!element.multiple) option.selected = true;
      for (const kind of ['input', 'change']) element.dispatchEvent(new Event(kind, {bubbles: true}));
      return {};
    },
    scroll(ref, pixels) {
      let element = elements.get(ref);
      if (!element || !element.isConnected) return {problem: element ? 'gone' : 'unknown'};
      while (element && !(element.scrollHeight > element.clientHeight + 2 && (element.tagName === 'TEXTAREA' ||
        /auto|scroll/.test(getComputedStyle(element).overflowY)))) element = element.parentElement;
      if (!element) return {problem: 'still'};
      element.scrollBy({top: pixels, behavior: 'instant'});
      return {top: Math.round(element.scrollTop), most: element.scrollHeight - element.clientHeight};
    },
  };
})();
"""
