// SPDX-License-Identifier: Apache-2.0
// Devices and leases.
import { get, post, remove, query } from './api.js';
import { h, table, state, button, card, facts, field, select, ask, toast } from './dom.js';
import { bytes, duration, when, money, gpuHours, stamp } from './format.js';

const gpus = (l) => l.gpus ? `${l.gpus}${l.kind ? ` × ${l.kind}` : l.gpus === 1 ? ' GPU' : ' GPUs'}` : 'no GPU';
const leaseLink = (id) => id ? h('a', { href: `#/leases/${id}` }, id) : '–';
const isOpen = (l) => !['ended', 'denied', 'cancelled', 'expired', 'failed'].includes(l.state);

function deviceState(d) {
  return [state(d.state, d.state === 'granted' ? 'good' : null), d.reason ? h('div', { class: 'dim' }, d.reason) : null];
}

export const devices = {
  title: () => 'Devices',
  every: 10,
  load: (context, options) => get('/v1/gpu/devices', options),
  render(list, { can, params }) {
    const find = params.get('find') || '';
    const rows = list.filter((d) => !find || d.device.startsWith(find));
    const columns = [
      { name: 'Device', of: (d) => d.device },
      { name: 'Kind', of: (d) => d.kind },
      { name: 'State', of: deviceState },
      { name: 'Memory', right: true, of: (d) => bytes(d.memory_bytes) },
      { name: 'Used', right: true, of: (d) => bytes(d.memory_used_bytes) },
      { name: 'Busy', right: true, of: (d) => d.busy_permille === null || d.busy_permille === undefined ? '–' : `${Math.round(d.busy_permille / 10)}%` },
      { name: 'Temp', right: true, of: (d) => d.temperature_c === null || d.temperature_c === undefined ? '–' : `${d.temperature_c} °C` },
      { name: 'Power', right: true, of: (d) => d.power_mw === null || d.power_mw === undefined ? '–' : `${Math.round(d.power_mw / 1000)} W` },
      { name: 'Holder', of: (d) => d.holder ? [d.holder, ' ', d.lease ? leaseLink(d.lease) : null] : '–' },
      { name: 'Ends', of: (d) => when(d.ends_at) },
    ];
    if (can.operate())
      columns.push({ name: 'Do', of: (d) => d.state === 'draining' ? button('Undrain', 'undrain', { device: d.device })
        : button('Drain', 'drain', { device: d.device, holder: d.holder || '' }) });
    return [
      find ? h('p', null, `Those that begin with “${find}”. `, h('a', { href: '#/devices' }, 'All')) : null,
      table('Devices', columns, rows, { key: (d) => d.device, empty: find ? 'No device has such a name.' : 'No devices yet. A backend plugin on a machine’s agent finds them.' })];
  },
  acts: {
    async drain({ device, holder }, node, { reload }) {
      const values = await ask(`Drain ${device}?`, [
        h('p', null, holder ? `No new lease gets it. ${holder} goes on until its end.` : 'No new lease gets it. Nobody holds it now.'),
        field('Reason', h('input', { name: 'reason', maxlength: 200, required: true }), 'Everybody who asks for the device sees it.')], { yes: 'Drain', danger: true });
      if (!values) return;
      await post(`/v1/gpu/devices/${device.split('/').map(encodeURIComponent).join('/')}/drain`, { reason: values.reason });
      toast(`${device} is drained.`);
      reload();
    },
    async undrain({ device }, node, { reload }) {
      await post(`/v1/gpu/devices/${device.split('/').map(encodeURIComponent).join('/')}/undrain`);
      toast(`${device} can be granted again.`);
      reload();
    },
  },
};

export const leases = {
  title: () => 'Leases',
  every: 15,
  load: ({ can, params }, options) => get(query('/v1/gpu/leases', {
    all: can.operate() && params.get('whose') !== 'own' ? '1' : '', state: params.get('state') || 'open', before: params.get('before'), limit: 100 }), options),
  render(list, { can, params }) {
    const shown = params.get('state') || 'open';
    return [
      h('form', { class: 'row filters' },
        field('State', select('state', [['open', 'open'], ['ended', 'ended']], shown, { 'data-act': 'refine' })),
        can.operate() ? field('Whose', select('whose', [['', 'everybody’s'], ['own', 'own']], params.get('whose') || '', { 'data-act': 'refine' })) : null),
      table('Leases', [
        { name: 'Lease', of: (l) => leaseLink(l.lease) },
        { name: 'Name', of: (l) => l.name },
        { name: 'User', of: (l) => l.user },
        { name: 'Queue', of: (l) => l.queue },
        { name: 'GPUs', of: gpus },
        { name: 'State', of: (l) => state(l.state) },
        { name: 'Age', right: true, of: (l) => duration(l.age_s) },
        { name: 'Ends', of: (l) => when(l.ended_at || l.ends_at) },
        { name: 'Where or why', of: (l) => l.state === 'running' && l.where?.length ? l.where.join(', ') : l.reason },
      ], list, { key: (l) => l.lease, empty: shown === 'open' ? h('p', null, 'No open leases. A lease is a job on GPUs: ', h('code', null, 'sluicectl run -G 1 -- COMMAND')) : 'None has ended.' }),
      list.length === 100 ? h('p', null, h('a', { href: `#/leases?${new URLSearchParams({ ...Object.fromEntries(params), before: list.at(-1).lease })}` }, 'Older')) : null];
  },
  acts: { refine: (data, node, { refine }) => refine({ [node.name]: node.value, before: '' }) },
};

const TAIL = 8192;

export const lease = {
  title: ({ rest }) => `Lease ${rest}`,
  every: 5,
  async load({ rest }, options) {
    const path = `/v1/gpu/leases/${encodeURIComponent(rest)}`;
    const [one, out, err] = await Promise.all([get(path, options),
      ...['out', 'err'].map((source) => get(query(`${path}/logs`, { source, from: -TAIL, max: TAIL }), options).catch((error) => { if (error.name === 'AbortError') throw error; return ''; }))]);
    return { one, out, err };
  },
  render({ one: l, out, err }) {
    return [
      h('p', { class: 'row' }, state(l.state), h('span', null, l.reason)),
      h('div', { class: 'cards two' }, card('What it is', facts([
        ['name', l.name], ['tenant', l.tenant], ['user', l.user], ['queue', l.queue], ['GPUs', gpus(l)], ['where', l.where?.join(', ')],
        l.model ? ['model', l.model] : null, ['priority', String(l.priority ?? '–')], ['command', l.argv?.length ? h('code', null, l.argv.join(' ')) : '–']])),
      card('Time and cost', facts([
        ['asked for', when(l.created_at)], ['waited', duration(l.wait_s)], ['began', when(l.started_at)], ['ran', duration(l.run_s)],
        [l.ended_at ? 'ended' : 'ends', when(l.ended_at || l.ends_at)], ['GPU hours', gpuHours(l.gpu_s || 0)], ['cost', l.cost ? money(l.cost) : '–'],
        l.exit_code === null || l.exit_code === undefined ? null : ['exit code', String(l.exit_code)]]))),
      isOpen(l) ? h('p', null, button('Release', 'release', { lease: l.lease, name: l.name || '' }, 'danger')) : null,
      l.history?.length ? card('History', table('History', [
        { name: 'At', of: (e) => stamp(e.at) },
        { name: 'State', of: (e) => state(e.state) },
        { name: 'Reason', of: (e) => e.reason },
      ], l.history)) : null,
      out ? card('The end of its output', h('pre', { class: 'log', tabindex: '0', 'aria-label': 'Output' }, out)) : null,
      err ? card('The end of its errors', h('pre', { class: 'log', tabindex: '0', 'aria-label': 'Errors' }, err)) : null];
  },
  acts: {
    async release({ lease: id, name }, node, { reload }) {
      const values = await ask(`Release ${id}?`, h('p', null, `${name || 'Its program'} is told to end, and its devices are given back.`), { yes: 'Release', danger: true });
      if (!values) return;
      await remove(`/v1/gpu/leases/${encodeURIComponent(id)}`);
      toast(`${id} is being released.`);
      reload();
    },
  },
};
