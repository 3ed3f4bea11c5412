// SPDX-License-Identifier: Apache-2.0
// Models, and for those who look after them their replicas.
import { get, post } from './api.js';
import { h, table, state, button, card, ask, toast } from './dom.js';
import { count, money, duration } from './format.js';

const path = (name) => name.split('/').map(encodeURIComponent).join('/');

export const models = {
  title: () => 'Models',
  every: 15,
  async load({ can }, options) {
    const [list, replicas] = await Promise.all([get('/v1/models', options), can.look() ? get('/v1/replicas', options) : null]);
    return { list, replicas };
  },
  render({ list, replicas }, { can, params }) {
    const find = params.get('find') || '';
    const rows = list.filter((m) => !find || m.model.includes(find));
    const price = (p) => p && p !== '0' ? money(p) : '–';
    const columns = [
      { name: 'Model', of: (m) => m.model },
      { name: 'State', of: (m) => [state(m.state), m.why ? h('div', { class: 'dim' }, m.why) : null] },
      { name: 'Replicas', right: true, of: (m) => count(m.replicas) },
      { name: 'Running', right: true, of: (m) => count(m.running) },
      { name: 'Waiting', right: true, of: (m) => count(m.waiting) },
      { name: 'Requests', right: true, of: (m) => count(m.requests_total) },
      { name: 'In', right: true, of: (m) => price(m.price?.input) },
      { name: 'Cached', right: true, of: (m) => price(m.price?.cached) },
      { name: 'Out', right: true, of: (m) => price(m.price?.output) },
    ];
    if (can.infer()) columns.push({ name: 'Do', of: (m) => h('a', { class: 'button', href: `#/playground?model=${encodeURIComponent(m.model)}` }, 'Try') });
    if (can.operate()) columns.push({ name: 'Do', of: (m) => h('span', { class: 'row' }, button('Start', 'start', { model: m.model }), button('Stop', 'stop', { model: m.model })) });
    return [
      find ? h('p', null, `Those with “${find}” in their name. `, h('a', { href: '#/models' }, 'All')) : null,
      h('p', { class: 'dim' }, 'Prices are per million tokens.'),
      table('Models', columns, rows, { key: (m) => m.model, empty: find ? 'No model has such a name.' : 'No models are declared in sluice.lua.' }),
      replicas ? card('Replicas', table('Replicas', [
        { name: 'Replica', of: (r) => r.replica },
        { name: 'Model', of: (r) => r.model },
        { name: 'State', of: (r) => [state(r.state), r.why ? h('div', { class: 'dim' }, r.why) : null] },
        { name: 'Where', of: (r) => r.where },
        { name: 'Lease', of: (r) => r.lease ? h('a', { href: `#/leases/${r.lease}` }, r.lease) : '–' },
        { name: 'Running', right: true, of: (r) => count(r.running) },
        { name: 'Age', right: true, of: (r) => duration(r.age_s) },
      ], replicas, { key: (r) => r.replica, empty: 'No replica runs. One starts with the first request.' })) : null];
  },
  acts: {
    async start({ model }, node, { reload }) {
      await post(`/v1/models/${path(model)}/start`);
      toast(`${model} gets one replica more.`);
      reload();
    },
    async stop({ model }, node, { reload }) {
      if (!await ask(`Stop ${model}?`, h('p', null, 'All its replicas drain and stop. Requests get an error until it is started again.'), { yes: 'Stop', danger: true })) return;
      await post(`/v1/models/${path(model)}/stop`);
      toast(`${model} is being stopped.`);
      reload();
    },
  },
};
