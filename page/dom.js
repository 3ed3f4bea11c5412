// SPDX-License-Identifier: Apache-2.0
// Elements from words. Text is always text: nothing here reads markup, and the browser is told to refuse any.

const SVG = 'http://www.w3.org/2000/svg';

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    node.setAttribute(name, value === true ? '' : String(value));
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : String(child));
  }
  return node;
}

/** An HTML element. */
export function h(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** An SVG element. */
export function s(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

const keyOf = (node) => node.nodeType === 1 && node.hasAttribute('data-key') ? node.getAttribute('data-key') : null;

function patchAttributes(old, next) {
  for (const { name } of [...old.attributes])
    if (!next.hasAttribute(name) && !(name === 'open' && old.tagName === 'DETAILS')) old.removeAttribute(name);
  for (const { name, value } of next.attributes)
    if (old.getAttribute(name) !== value && !(name === 'open' && old.tagName === 'DETAILS')) old.setAttribute(name, value);
}

// Under a pointer or the focus rows keep their places: what one is about to press must not move.
function patchKeyed(old, next) {
  const still = old.matches(':hover') || old.contains(document.activeElement);
  const have = new Map([...old.childNodes].filter((n) => keyOf(n) !== null).map((n) => [keyOf(n), n]));
  for (const node of [...old.childNodes]) if (keyOf(node) === null) node.remove();
  const placed = [];
  for (const node of [...next.childNodes]) {
    const known = have.get(keyOf(node));
    if (known) {
      have.delete(keyOf(node));
      patch(known, node);
    }
    placed.push(known || node);
  }
  for (const gone of have.values()) gone.remove();
  if (still) {
    for (const node of placed) if (node.parentNode !== old) old.append(node);
  } else {
    placed.forEach((node, i) => { if (old.childNodes[i] !== node) old.insertBefore(node, old.childNodes[i] || null); });
  }
}

function patchChildren(old, next) {
  if (next.firstChild && [...next.childNodes].every((n) => keyOf(n) !== null)) {
    patchKeyed(old, next);
    return;
  }
  const wanted = [...next.childNodes];
  wanted.forEach((node, i) => {
    const at = old.childNodes[i];
    if (!at) old.append(node);
    else patch(at, node);
  });
  while (old.childNodes.length > wanted.length) old.lastChild.remove();
}

/** Makes `old` what `next` is and keeps whatever is the same: focus, scroll places and what somebody types stay. */
export function patch(old, next) {
  if (old.nodeType !== next.nodeType || old.nodeName !== next.nodeName || keyOf(old) !== keyOf(next)) {
    old.replaceWith(next);
    return;
  }
  if (old.nodeType !== 1) {
    if (old.nodeValue !== next.nodeValue) old.nodeValue = next.nodeValue;
    return;
  }
  if (old.hasAttribute('data-keep') && next.hasAttribute('data-keep')) return;
  patchAttributes(old, next);
  patchChildren(old, next);
}

/**
 * A table that is a list of cards on a narrow screen. Columns: {name, of(row), right, wide}; the first names the row.
 */
export function table(caption, columns, rows, { key, total, empty } = {}) {
  if (!rows.length) return h('div', { class: 'empty' }, empty || 'Nothing here.');
  const cell = (column, row, i) => {
    const value = column.of(row);
    const attributes = { class: column.right ? 'right' : null, 'data-label': column.name, role: i ? 'cell' : 'rowheader', scope: i ? null : 'row' };
    return h(i ? 'td' : 'th', attributes, value === '' || value === null || value === undefined ? '–' : value);
  };
  const line = (row, attributes) => h('tr', { role: 'row', ...attributes }, columns.map((c, i) => cell(c, row, i)));
  return h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': caption },
    h('table', { role: 'table' },
      h('caption', { class: 'hidden' }, caption),
      h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' },
        columns.map((c) => h('th', { scope: 'col', role: 'columnheader', class: c.right ? 'right' : null }, c.name)))),
      h('tbody', { role: 'rowgroup' }, rows.map((row, i) => line(row, { 'data-key': key ? key(row) : i }))),
      total ? h('tfoot', { role: 'rowgroup' }, line(total, { class: 'total' })) : null));
}

const TONES = {
  good: ['ready', 'running', 'free', 'active', 'ok', 'leased', 'healthy'],
  wait: ['queued', 'waiting', 'requested', 'granted', 'prepared', 'starting', 'leasing', 'draining', 'releasing', 'suspended', 'preempted', 'expired',
    'disabled', 'probation', 'degraded', 'needs you', 'connecting', 'stopping', 'tenant disabled'],
  bad: ['failed', 'faulty', 'lost', 'denied', 'hung', 'not ready', 'away', 'no tenant'],
};

/** A state: a word, and a colour beside it. */
export function state(word, known) {
  const tone = known || Object.keys(TONES).find((t) => TONES[t].includes(word)) || 'plain';
  return h('span', { class: 'state ' + tone }, word || '–');
}

export function card(title, ...children) {
  return h('section', { class: 'card' }, h('h2', null, title), ...children);
}

/** Pairs of a name and a value. */
export function facts(pairs) {
  return h('dl', { class: 'facts' }, pairs.filter((p) => p).map(([name, value]) =>
    h('div', null, h('dt', null, name), h('dd', null, value === '' || value === null || value === undefined ? '–' : value))));
}

export function button(text, act, data = {}, kind = '') {
  const attributes = { type: 'button', class: kind || null, 'data-act': act };
  for (const [name, value] of Object.entries(data)) attributes['data-' + name] = value;
  return h('button', attributes, text);
}

let fields = 0;
/** A label with its control. */
export function field(label, control, hint) {
  const id = control.id || `f${++fields}`;
  control.id = id;
  if (hint) control.setAttribute('aria-describedby', id + '-hint');
  return h('div', { class: 'field' }, h('label', { for: id }, label), control, hint ? h('p', { class: 'hint', id: id + '-hint' }, hint) : null);
}

export function select(name, options, chosen, more = {}) {
  return h('select', { name, ...more }, options.map(([value, text]) => h('option', { value, selected: value === chosen }, text)));
}

export function toast(text, bad = false) {
  const node = h('p', { class: bad ? 'toast bad' : 'toast' }, text);
  document.getElementById('toasts').append(node);
  setTimeout(() => node.remove(), 8000);
}

/** A dialog with a form; resolves with its values, or null when it was left. */
export function ask(title, body, { yes = 'OK', no = 'Cancel', danger = false } = {}) {
  return new Promise((resolve) => {
    const form = h('form', { method: 'dialog' }, h('h2', { id: 'dialog-title' }, title), body,
      h('p', { class: 'row end' }, no ? h('button', { type: 'button', value: 'no' }, no) : null,
        h('button', { type: 'submit', class: danger ? 'danger' : 'main' }, yes)));
    const dialog = h('dialog', { 'aria-labelledby': 'dialog-title' }, form);
    let values = null;
    form.addEventListener('submit', () => { values = Object.fromEntries(multi(new FormData(form))); });
    form.querySelector('[value=no]')?.addEventListener('click', () => dialog.close());
    dialog.addEventListener('close', () => { dialog.remove(); resolve(values); });
    document.body.append(dialog);
    dialog.showModal();
  });
}

// A name that stands several times becomes a list.
function multi(data) {
  return [...new Set(data.keys())].map((name) => [name, data.getAll(name).length > 1 ? data.getAll(name) : data.get(name)]);
}

export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    toast('Copied.');
  } catch {
    toast('This browser does not let us copy: mark the text instead.', true);
  }
}
