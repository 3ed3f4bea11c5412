// SPDX-License-Identifier: Apache-2.0
// The frame: who is signed in, which page, and its renewal while somebody looks at it.
import { get, post, remove, whenSignedOut, ApiError } from './api.js';
import { h, patch, field, button, toast } from './dom.js';
import { when } from './format.js';
import { home } from './home.js';
import { devices, leases, lease } from './pool.js';
import { models } from './models.js';
import { tenants, keys } from './keys.js';
import { usage, requests } from './usage.js';
import { playground } from './playground.js';

const VIEWS = { home, devices, leases, lease, models, playground, keys, usage, requests, tenants };
const SOON_S = 1; // between renewals that events ask for
const app = document.getElementById('app');
const live = { timer: 0, paused: false, at: null, error: null, turn: 0, events: null, heard: false, loading: false, began: 0, listened: 0 };
let me = null, current = null, abort = new AbortController();

const can = {
  operate: () => me.roles.includes('operator') || me.roles.includes('admin'),
  administer: () => me.roles.includes('admin'),
  infer: () => me.roles.includes('infer') && me.playground,
  look: () => me.roles.some((r) => r !== 'infer'),
};

/** The menu has what the role may use. */
function menu() {
  const all = [['home', 'Home'], ['models', 'Models'], ['playground', 'Playground', can.infer], ['keys', 'Keys'], ['usage', 'Usage'],
    ['leases', 'Leases', can.look], ['devices', 'Devices', can.look], ['tenants', 'Tenants', can.operate]];
  return all.filter(([, , may]) => !may || may());
}

function place() {
  const [path, search = ''] = location.hash.replace(/^#\/?/, '').split('?');
  const [name, ...rest] = path.split('/').map((part) => { try { return decodeURIComponent(part); } catch { return part; } });
  return { name: name || 'home', rest: rest.join('/'), params: new URLSearchParams(search) };
}

/** Goes to the same page with other values in the URL: so a filter can be sent to somebody else, and Back works. */
export function refine(values) {
  const { params } = place();
  for (const [name, value] of Object.entries(values)) if (value) params.set(name, value); else params.delete(name);
  const path = location.hash.split('?')[0] || '#/home', text = params.toString();
  location.hash = text ? `${path}?${text}` : path;
}

// What somebody may have in the clipboard.
function find(text) {
  text = text.trim();
  if (/^L?\d+$/i.test(text) && can.look()) return `#/leases/L${text.replace(/^l/i, '')}`;
  if (text.startsWith('req_')) return `#/requests?request_id=${encodeURIComponent(text)}`;
  if (text.startsWith('slk_')) return `#/keys?find=${encodeURIComponent(text.slice(0, 12))}`;
  if (text.includes('/') && can.look()) return `#/devices?find=${encodeURIComponent(text)}`;
  return `#/models?find=${encodeURIComponent(text)}`;
}

function themeButton() {
  const theme = document.documentElement.dataset.theme;
  const next = { system: 'light', light: 'dark', dark: 'system' }[theme] || 'system';
  return button(`Theme: ${theme}`, 'theme', { next }, 'quiet');
}

// A refusal is an answer too.
const away = () => Boolean(live.error) && (live.error.status === 0 || live.error.status >= 500);

function liveText() {
  if (live.paused) return live.at ? `paused ${when(live.at.toISOString())}` : 'paused';
  if (away()) return live.at ? `no answer since ${when(live.at.toISOString())}` : 'no answer';
  return live.events?.readyState === EventSource.OPEN ? 'live' : `every ${current.view.every} s`;
}

function header() {
  const tone = live.paused ? 'wait' : away() ? 'bad' : 'good';
  return h('header', { class: 'top' },
    h('a', { class: 'brand', href: '#/home' }, me.organisation && me.organisation !== 'sluice' ? `${me.organisation} · sluice` : 'sluice'),
    h('form', { class: 'find', role: 'search', 'data-act': 'find', 'data-keep': true },
      h('input', { type: 'search', name: 'text', 'aria-label': 'Find a lease, a request, a device, a key or a model', placeholder: 'L1042, req_…, node1/gpu2, slk_…', autocomplete: 'off', spellcheck: 'false' })),
    current.view.every ? h('span', { class: 'row' },
      h('span', { class: 'state ' + tone }, liveText()),
      button(live.paused ? 'Go on' : 'Pause', 'pause', {}, 'quiet')) : null,
    h('span', { class: 'row who' },
      h('span', null, me.user || me.key || 'signed in', h('span', { class: 'dim' }, me.tenant ? ` of ${me.tenant}` : '')),
      button('Sign out', 'sign-out', {}, 'quiet')));
}

function nav(name) {
  const here = { lease: 'leases', requests: 'usage' }[name] || name;
  return h('nav', { 'aria-label': 'Pages' },
    h('ul', null, menu().map(([page, text]) => h('li', null, h('a', { href: `#/${page}`, 'aria-current': page === here ? 'page' : null }, text)))),
    h('p', { class: 'foot' }, themeButton()));
}

function errorBox(error, stale) {
  return h('div', { class: 'box bad', role: 'alert' },
    h('p', null, h('strong', null, error.message)),
    error.code ? h('p', { class: 'dim' }, `${error.code}${error.status ? ` (${error.status})` : ''}`) : null,
    error.cure ? h('p', null, 'Try: ', h('code', null, error.cure)) : null,
    stale ? h('p', null, `What stands below is of ${when(stale.toISOString())}.`) : null,
    button('Retry', 'retry'));
}

function frame(name, ...content) {
  return h('div', { class: 'frame' }, header(), nav(name), h('main', { id: 'main', tabindex: '-1' }, content));
}

function show(node) {
  if (app.firstElementChild) patch(app.firstElementChild, node);
  else app.replaceChildren(node);
}

function draw(data) {
  const { view, name, context } = current;
  document.title = `${view.title(context)} · sluice`;
  const body = data === null ? [h('p', { class: 'loading' }, 'Loading…')] : view.render(data, context);
  show(frame(name, h('div', { class: live.error ? 'view stale' : 'view', 'data-key': location.hash.split('?')[0] }, 
    h('h1', null, view.title(context)), live.error ? errorBox(live.error, data && live.at) : null, data === null && live.error ? null : body)));
  if (!current.drawn) reveal();
  current.drawn = true;
}

async function load() {
  const turn = ++live.turn, { view, context } = current;
  clearTimeout(live.timer);
  live.heard = false;
  live.loading = true;
  live.began = performance.now();
  const late = setTimeout(() => { if (turn === live.turn && current.data === null && !live.error) draw(null); }, 300);
  try {
    const data = await view.load(context, { signal: abort.signal });
    if (turn !== live.turn) return;
    current.data = data;
    live.at = new Date();
    live.error = null;
  } catch (error) {
    if (error.name === 'AbortError' || turn !== live.turn || !me) return;
    if (!(error instanceof ApiError)) throw error;
    live.error = error;
  } finally {
    clearTimeout(late);
    if (turn === live.turn) live.loading = false;
  }
  draw(current.data);
  schedule();
}

const looks = () => me && !live.paused && current?.view.every && document.visibilityState === 'visible';

// One renewal at a time, of what is looked at, and none behind a hidden tab. The server says when something has changed;
// what changes without that (how warm a device is, how old a lease) is asked for now and then.
function schedule() {
  clearTimeout(live.timer);
  listen();
  if (looks()) live.timer = setTimeout(load, (live.heard ? SOON_S : current.view.every) * 1000 - (live.heard ? Math.min(performance.now() - live.began, SOON_S * 1000) : 0));
}

// One stream of events for this tab while it is looked at.
function listen() {
  if (!looks()) {
    live.events?.close();
    live.events = null;
    return;
  }
  if (live.events && live.events.readyState !== EventSource.CLOSED) return;
  if (live.events && performance.now() - live.listened < 5000) return; // it was refused: not at once again
  live.listened = performance.now();
  live.events = new EventSource('/v1/events');
  for (const type of ['open', 'error']) live.events.addEventListener(type, () => { if (current?.data) draw(current.data); });
  live.events.addEventListener('change', () => {
    live.heard = true;
    if (!live.loading) schedule();
  });
}

function go() {
  if (!me) return;
  const { name, rest, params } = place();
  let key = name;
  if (name === 'leases' && rest) key = 'lease';
  const view = Object.hasOwn(VIEWS, key) && (key !== name || menu().some(([page]) => page === name) || name === 'requests') ? VIEWS[key] : null;
  if (!view) {
    location.replace('#/home');
    return;
  }
  const other = !current || current.view !== view || current.context.rest !== rest;
  abort.abort();
  abort = new AbortController();
  current?.view.leave?.();
  current = { view, name: key, data: other ? null : current.data, context: { me, can, rest, params, refine, reload: load, redraw: () => { if (current?.view === view) draw(current.data); } } };
  live.error = null;
  if (other) {
    window.scrollTo(0, 0);
    if (app.firstElementChild && document.activeElement?.tagName === 'A') document.getElementById('main')?.focus({ preventScroll: true });
  }
  load();
}

// On a narrow screen the menu is wider than the screen.
function reveal() {
  const bar = document.querySelector('nav'), here = document.querySelector('nav [aria-current]');
  if (here && bar.scrollWidth > bar.clientWidth) bar.scrollTo({ left: here.offsetLeft - (bar.clientWidth - here.offsetWidth) / 2 });
}

const ACTS = {
  'sign-out': async () => {
    try { await remove('/v1/session'); } catch { /* it is over all the same */ }
    signIn();
  },
  pause: () => {
    live.paused = !live.paused;
    if (live.paused) { schedule(); draw(current.data); } else load();
  },
  retry: () => load(),
  theme: ({ next }) => {
    document.documentElement.dataset.theme = next;
    try { localStorage.setItem('sluice-theme', next); } catch { /* for this visit only */ }
    if (me) draw(current.data);
  },
  find: (_, form) => { location.hash = find(new FormData(form).get('text')); },
  'sign-in': async (_, form) => {
    const submit = form.querySelector('button[type=submit]');
    submit.disabled = true;
    try {
      me = await post('/v1/session', { key: new FormData(form).get('key').trim() });
      app.replaceChildren();
      current = null;
      go();
    } catch (error) {
      signIn(error);
    }
  },
};

async function act(event, node) {
  const { act: name, ...data } = node.dataset;
  const run = ACTS[name] || current?.view.acts?.[name];
  if (!run) return;
  event.preventDefault();
  try {
    await run(data, node, current?.context);
  } catch (error) {
    if (error.name === 'AbortError') return;
    if (!(error instanceof ApiError)) throw error;
    toast(error.cure ? `${error.message} Try: ${error.cure}` : error.message, true);
  }
}

document.addEventListener('click', (event) => {
  const node = event.target.closest('button[data-act], a[data-act]');
  if (node) act(event, node);
});
document.addEventListener('submit', (event) => { if (event.target.dataset.act) act(event, event.target); });
document.addEventListener('change', (event) => { if (event.target.dataset.act) act(event, event.target); });
document.addEventListener('visibilitychange', () => { if (document.visibilityState === 'visible' && me && current && !live.paused && current.view.every) load(); else schedule(); });
addEventListener('hashchange', go);
whenSignedOut((error) => { if (me) signIn(error); });

function signIn(error) {
  me = null;
  current?.view.leave?.();
  current = null;
  abort.abort();
  schedule();
  live.error = null;
  document.title = 'Sign in · sluice';
  const input = h('input', { name: 'key', type: 'password', required: true, autocomplete: 'current-password', autocapitalize: 'off', spellcheck: 'false', maxlength: 4000 });
  app.replaceChildren(h('main', { id: 'main', class: 'door', tabindex: '-1' },
    h('h1', null, 'sluice'),
    error && error.code !== 'signed_out' ? h('div', { class: 'box bad', role: 'alert' }, h('p', null, error.message)) : null,
    h('form', { 'data-act': 'sign-in' },
      field('Your key', input, 'It begins with slk_ and is kept by the server alone: this page forgets it.'),
      h('p', { class: 'row end' }, h('button', { type: 'submit', class: 'main' }, 'Sign in'))),
    h('details', null, h('summary', null, 'No key?'),
      h('p', null, 'Whoever administers this sluice makes one:'),
      h('pre', { tabindex: '0' }, 'sluicectl keys create NAME --tenant TENANT\nsluicectl keys create NAME --tenant TENANT --role operator,admin')),
    h('p', { class: 'foot' }, themeButton())));
  input.focus();
}

try {
  me = await get('/v1/me');
  go();
} catch (error) {
  signIn(error instanceof ApiError ? error : undefined);
}
