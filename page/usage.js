// SPDX-License-Identifier: Apache-2.0
// Use and its cost, as the ledger has added them up; and single requests.
import { get, query } from './api.js';
import { h, table, field, select } from './dom.js';
import { count, tokens, money, duration, gpuHours, stamp } from './format.js';
import { chart } from './chart.js';

const GROUPS = ['day', 'hour', 'model', 'tenant', 'user', 'key', 'queue', 'kind', 'lease'];
const FILTERS = ['tenant', 'user', 'key', 'model', 'queue', 'kind', 'lease'];
const MEASURES = {
  cost: ['cost', (r) => Number(r.cost), (r, currency) => `${money(r.cost)} ${currency}`],
  requests: ['requests', (r) => r.requests, (r) => count(r.requests)],
  input_tokens: ['tokens in', (r) => r.input_tokens, (r) => tokens(r.input_tokens)],
  output_tokens: ['tokens out', (r) => r.output_tokens, (r) => tokens(r.output_tokens)],
  gpu_s: ['GPU hours', (r) => r.gpu_s, (r) => gpuHours(r.gpu_s)],
};
// What a row is of whose column is empty: requests have no lease, leases no model.
const NAMELESS = { model: '(leases)', lease: '(requests)', queue: '(requests)', kind: '(requests)', key: '(no key)', user: '(no user)', tenant: '(no tenant)' };
const RANGES = [['month', 'this month'], ['today', 'today'], ['7', 'last 7 days'], ['30', 'last 30 days'], ['90', 'last 90 days'], ['own', 'from … until']];

const day = (date) => date.toISOString().slice(0, 10);

/** Days are UTC, as the ledger's are. */
function range(params) {
  const now = new Date(), chosen = params.get('range') || 'month';
  if (chosen === 'today') return { since: day(now) };
  if (chosen === 'own') return { since: params.get('since') || '', until: params.get('until') || '' };
  if (/^\d+$/.test(chosen)) return { since: day(new Date(now - (Number(chosen) - 1) * 86400e3)) };
  return { since: `${day(now).slice(0, 8)}01` };
}

const filters = (params) => Object.fromEntries(FILTERS.map((f) => [f, params.get(f)]));
const groups = (params) => [params.get('by') || 'day', params.get('and')].filter((g, i, all) => g && all.indexOf(g) === i);

export const usage = {
  title: () => 'Usage',
  every: 60,
  load: ({ params }, options) => get(query('/v1/usage', { by: groups(params).join(','), ...range(params), ...filters(params) }), options),
  render({ rows, total, currency }, { params }) {
    const by = groups(params), first = by[0], measure = params.get('show') || 'cost';
    const upright = by.length === 1 && (first === 'day' || first === 'hour');
    const [word, value, text] = MEASURES[measure] || MEASURES.cost;
    const part = (r, g) => g === 'hour' && r.hour ? r.hour.slice(0, 16).replace('T', ' ') : r[g] || NAMELESS[g] || '–';
    const name = (r) => by.map((g) => part(r, g)).join(' · ');
    const sorted = upright ? rows : [...rows].sort((a, b) => by.some((g) => g === 'day' || g === 'hour') ? 0 : value(b) - value(a));
    const asked = { ...range(params), ...filters(params) };
    const refined = (r) => {
      const next = new URLSearchParams(params);
      by.forEach((g) => { if (FILTERS.includes(g) && r[g]) next.set(g, r[g]); });
      next.set('by', first === 'model' ? 'user' : 'model');
      next.delete('and');
      return `#/usage?${next}`;
    };
    const set = FILTERS.filter((f) => params.get(f));
    const act = { 'data-act': 'refine' };
    return [
      h('form', { class: 'row filters' },
        field('Range', select('range', RANGES, params.get('range') || 'month', act)),
        params.get('range') === 'own' ? [
          field('From', h('input', { type: 'date', name: 'since', value: params.get('since') || '', ...act })),
          field('Until (not in it)', h('input', { type: 'date', name: 'until', value: params.get('until') || '', ...act }))] : null,
        field('By', select('by', GROUPS.map((g) => [g, g]), first, act)),
        field('And', select('and', [['', '–'], ...GROUPS.filter((g) => g !== first).map((g) => [g, g])], by[1] || '', act)),
        field('Show', select('show', Object.entries(MEASURES).map(([key, [text]]) => [key, text]), measure, act))),
      set.length ? h('p', null, 'Only ', set.map((f) => `${f} ${params.get(f)}`).join(', '), '. ', h('a', { href: '#/usage' }, 'All')) : null,
      chart(`${word} by ${by.join(' and ')}`, sorted.map((r) => ({ name: name(r), value: value(r), text: text(r, currency) })), upright),
      table('Usage', [
        ...by.map((g, i) => ({ name: g, of: (r) => r === total ? i ? ' ' : 'total' : FILTERS.includes(g) && r[g] ? h('a', { href: refined(r) }, part(r, g)) : part(r, g) })),
        { name: 'Requests', right: true, of: (r) => count(r.requests) },
        { name: 'In', right: true, of: (r) => tokens(r.input_tokens) },
        { name: 'Cached', right: true, of: (r) => tokens(r.cached_tokens) },
        { name: 'Out', right: true, of: (r) => tokens(r.output_tokens) },
        { name: 'GPU-h', right: true, of: (r) => gpuHours(r.gpu_s) },
        { name: `Cost (${currency})`, right: true, of: (r) => money(r.cost) },
      ], sorted, { key: name, total, empty: 'Nothing was used in this time.' }),
      h('p', { class: 'row' }, h('span', { class: 'dim' }, 'Days are UTC. The total is the ledger’s.'),
        h('a', { href: query('/v1/usage/focus', asked), download: 'usage-focus.csv' }, 'CSV (FOCUS 1.4)'),
        h('a', { href: query('/v1/usage', { by: by.join(','), ...asked }), download: 'usage.json' }, 'JSON'),
        h('a', { href: `#/requests?${new URLSearchParams(Object.entries(filters(params)).filter(([, v]) => v))}` }, 'Single requests'))];
  },
  acts: { refine: (data, node, { refine }) => refine({ [node.name]: node.value }) },
};

const ms = (us) => duration(us / 1e6);

export const requests = {
  title: ({ params }) => params.get('request_id') ? 'Request' : 'Requests',
  every: 60,
  load: ({ params }, options) => get(query('/v1/usage/requests', { limit: 100, request_id: params.get('request_id'), ...filters(params) }), options),
  render(rows, { params }) {
    const set = [...FILTERS, 'request_id'].filter((f) => params.get(f));
    return [
      set.length ? h('p', null, 'Only ', set.map((f) => `${f.replace('_', ' ')} ${params.get(f)}`).join(', '), '. ', h('a', { href: '#/requests' }, 'All')) : h('p', { class: 'dim' }, 'The last hundred.'),
      table('Requests', [
        { name: 'Request', of: (r) => h('a', { class: 'mono', href: `#/requests?request_id=${encodeURIComponent(r.request_id)}` }, r.request_id) },
        { name: 'At', of: (r) => stamp(r.at) },
        { name: 'User', of: (r) => r.user || r.key },
        { name: 'Model', of: (r) => r.model },
        { name: 'Status', right: true, of: (r) => String(r.status) },
        { name: 'Waited', right: true, of: (r) => ms(r.wait_us) },
        { name: 'First', right: true, of: (r) => r.ttft_us ? ms(r.ttft_us) : '–' },
        { name: 'Took', right: true, of: (r) => ms(r.duration_us) },
        { name: 'In', right: true, of: (r) => count(r.input_tokens) },
        { name: 'Cached', right: true, of: (r) => count(r.cached_tokens) },
        { name: 'Out', right: true, of: (r) => count(r.output_tokens) },
        { name: 'Cost', right: true, of: (r) => money(r.cost) },
        rows.some((r) => r.flags.length) && { name: 'Notes', of: (r) => r.flags.map((f) => f.replace('_', ' ')).join(', ') },
      ].filter(Boolean), rows, { key: (r) => r.request_id, empty: 'No request is on record. The newest take a moment to get there.' })];
  },
};
