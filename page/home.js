// SPDX-License-Identifier: Apache-2.0
// What one looks at first: what is left, what runs, what needs somebody.
import { get, query } from './api.js';
import { h, card, facts, state, table } from './dom.js';
import { count, tokens, money, duration, when, gpuHours } from './format.js';
import { meter } from './chart.js';

const monthStart = () => new Date().toISOString().slice(0, 8) + '01';

function amount(limit, value) {
  return limit.metric === 'cost' ? money(value) : tokens(value);
}

/** Limits with what is used of them. */
export function limitList(limits, currency) {
  if (!limits.length) return h('p', { class: 'dim' }, 'No limits are set for you.');
  return h('ul', { class: 'limits' }, limits.map((l) => {
    const name = `${l.metric.replace('_', ' ')}${l.window === 'none' ? '' : ` per ${l.window}`}`;
    const known = l.used !== null && l.used !== undefined;
    return h('li', { 'data-key': `${l.scope} ${l.name} ${l.metric} ${l.window}` },
      h('div', { class: 'row between' }, h('span', null, name, ' ', h('span', { class: 'dim' }, l.scope)),
        h('span', null, known ? `${amount(l, l.used)} of ${amount(l, l.max)}` : `at most ${amount(l, l.max)}`, l.metric === 'cost' ? ` ${currency}` : '')),
      known ? meter(name, l.used, l.max) : null,
      known && l.window !== 'none' && l.resets_in_s ? h('p', { class: 'dim' }, `starts again in ${duration(l.resets_in_s)}`) : null);
  }));
}

function needs(list) {
  if (!list.length) return null;
  return card('Needs you', h('ul', { class: 'plain' }, list.map((n) => h('li', { class: 'box wait' }, h('p', null, n.text), n.command ? h('p', null, h('code', null, n.command)) : null))));
}

const big = (value, text) => h('span', { class: 'big' }, h('b', null, value), ' ', text);

function site(s) {
  return [
    h('p', { class: 'row' }, state(s.state), h('span', { class: 'dim' }, `sluice ${s.version}, up ${duration(s.up_s)}, configuration ${s.config} of ${when(s.config_at)}`)),
    s.not_ready ? h('p', { class: 'box bad' }, s.not_ready) : null,
    needs(s.needs_you),
    h('div', { class: 'cards' },
      card('GPUs', big(count(s.gpus.free), `free of ${count(s.gpus.total)}`),
        facts([['leased', count(s.gpus.leased)], ['faulty', count(s.gpus.faulty)], ['draining', count(s.gpus.draining)]])),
      card('Leases', big(count(s.leases.running), 'running'),
        facts([['waiting', count(s.leases.waiting)], ['longest wait', s.leases.waiting ? duration(s.leases.longest_wait_s) : '–']])),
      card('Models', big(count(s.models.ready), 'ready'),
        facts([['starting', count(s.models.starting)], ['none running', count(s.models.none)], ['failed', count(s.models.failed)]])),
      card('Requests', big(count(s.requests?.active ?? 0), 'under way'),
        facts([['since the start', count(s.requests?.total)], ['errors', count(s.requests?.errors)]])),
      s.today ? card('Today (UTC)', big(money(s.today.cost), s.currency),
        facts([['requests', count(s.today.requests)], ['tokens in', tokens(s.today.input_tokens)], ['tokens out', tokens(s.today.output_tokens)], ['GPU hours', gpuHours(s.today.gpu_s)]])) : null),
    s.agents?.length ? card('Machines', table('Machines', [
      { name: 'Machine', of: (a) => a.machine },
      { name: 'State', of: (a) => state(a.state) },
      { name: 'Containment', of: (a) => a.containment },
      { name: 'Why', of: (a) => a.why },
    ], s.agents, { key: (a) => a.machine })) : null,
  ];
}

function own(usage, limits) {
  const t = usage.total;
  return h('div', { class: 'cards' },
    card('This month (UTC)', big(money(t.cost), usage.currency),
      facts([['requests', count(t.requests)], ['tokens in', tokens(t.input_tokens)], ['from the cache', tokens(t.cached_tokens)], ['tokens out', tokens(t.output_tokens)]]),
      h('p', null, h('a', { href: '#/usage' }, 'Who used what'))),
    card('Limits', limitList(limits, usage.currency)));
}

export const home = {
  title: () => 'Home',
  every: 15,
  async load({ me, can }, options) {
    const looks = can.look(), belongs = Boolean(me.tenant);
    const [status, usage, limits] = await Promise.all([
      looks ? get('/v1/status', options) : null,
      belongs ? get(query('/v1/usage', { since: monthStart(), tenant: me.tenant }), options) : null,
      belongs ? get('/v1/limits', options) : null]);
    return { status, usage, limits };
  },
  render({ status, usage, limits }, { me }) {
    return [status ? site(status) : null,
      usage ? [status ? h('h2', { class: 'part' }, `Tenant ${me.tenant}`) : null, own(usage, limits)] : null];
  },
};
