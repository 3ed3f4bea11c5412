// SPDX-License-Identifier: Apache-2.0
// Keys, and the tenants that they belong to.
import { get, post, remove, query } from './api.js';
import { h, table, state, button, field, select, ask, copy, toast } from './dom.js';
import { when } from './format.js';

const DAY = 86400;

/** The only time that a secret is seen. */
async function reveal(made, me, words) {
  const secret = h('input', { value: made.secret, readonly: true, class: 'mono', autocomplete: 'off', spellcheck: 'false' });
  const copier = h('button', { type: 'button' }, 'Copy');
  copier.addEventListener('click', () => copy(made.secret));
  secret.addEventListener('focus', () => secret.select());
  const infers = made.roles.includes('infer');
  await ask('Your new key', [
    h('p', null, 'It is shown this once: keep it now.'),
    field(`${made.key}${made.name ? ` (${made.name})` : ''}`, secret), h('p', null, copier),
    words ? h('p', null, words) : null,
    infers ? h('details', null, h('summary', null, 'How to use it'),
      h('pre', { tabindex: '0' }, `export OPENAI_BASE_URL=${me.door}/v1\nexport OPENAI_API_KEY=…\ncurl $OPENAI_BASE_URL/models -H "Authorization: Bearer $OPENAI_API_KEY"`)) : null,
  ], { yes: 'I have it', no: '' });
}

function keyForm(list, me) {
  const tenants = list.map((t) => [t.tenant, t.tenant]);
  const roles = ['lease', 'operator', 'admin'].map((role) => h('label', { class: 'check' }, h('input', { type: 'checkbox', name: 'roles', value: role }), ' ', role));
  return [
    field('Label', h('input', { name: 'name', maxlength: 63, autocomplete: 'off' }), 'Where it will be used: laptop, nightly tests.'),
    field('Tenant', select('tenant', tenants, me.tenant), 'Who pays.'),
    field('Owner', h('input', { name: 'user', maxlength: 63, autocomplete: 'off', value: me.user })),
    field('Expires', select('expires_s', [['', 'never'], [String(30 * DAY), 'in 30 days'], [String(90 * DAY), 'in 90 days'], [String(365 * DAY), 'in a year']], String(90 * DAY))),
    h('fieldset', null, h('legend', null, 'Roles'), h('p', { class: 'hint' }, 'None: it calls models. Any: it works on this page, and calls none.'), h('div', { class: 'row' }, roles)),
  ];
}

export const keys = {
  title: () => 'Keys',
  every: 60,
  load: ({ params }, options) => get(query('/v1/keys', { tenant: params.get('tenant') }), options),
  render(list, { can, params }) {
    const find = params.get('find') || '';
    const rows = list.filter((k) => !find || k.key.startsWith(find));
    const columns = [
      { name: 'Key', of: (k) => h('code', null, k.key) },
      { name: 'Label', of: (k) => k.name },
      { name: 'Tenant', of: (k) => k.tenant },
      { name: 'Owner', of: (k) => k.user },
      { name: 'State', of: (k) => state(k.state) },
      { name: 'Roles', of: (k) => (k.roles || []).join(', ') },
      { name: 'Last used', of: (k) => when(k.last_used_at) },
      { name: 'Expires', of: (k) => k.expires_at ? when(k.expires_at) : 'never' },
    ];
    const data = (k) => ({ key: k.key, name: k.name || '', tenant: k.tenant, user: k.user || '', roles: (k.roles || []).join(',') });
    if (can.administer())
      columns.push({ name: 'Do', of: (k) => h('span', { class: 'row' },
        k.state === 'disabled' ? [button('Enable', 'enable', data(k)), button('Delete', 'delete', data(k), 'danger')]
          : [button('Rotate', 'rotate', data(k)), button('Disable', 'disable', data(k))]) });
    const filter = find ? `Those that begin with “${find}”. ` : params.get('tenant') ? `Those of tenant ${params.get('tenant')}. ` : '';
    return [
      can.administer() ? h('p', null, button('New key', 'make', {}, 'main')) : h('p', { class: 'dim' }, 'An administrator makes, rotates and disables keys.'),
      filter ? h('p', null, filter, h('a', { href: '#/keys' }, 'All')) : null,
      table('Keys', columns, rows, { key: (k) => k.key, empty: find ? 'No key begins so.' : 'No keys yet. A key lets your code call models.' })];
  },
  acts: {
    async make(data, node, { me, reload }) {
      const values = await ask('New key', keyForm(await get('/v1/tenants'), me), { yes: 'Make it' });
      if (!values) return;
      const roles = [values.roles ?? []].flat();
      const body = { tenant: values.tenant, user: values.user, name: values.name };
      if (values.expires_s) body.expires_s = Number(values.expires_s);
      if (roles.length) body.roles = roles;
      await reveal(await post('/v1/keys', body), me);
      reload();
    },
    async rotate({ key, name, tenant, user, roles }, node, { me, reload }) {
      const values = await ask(`Rotate ${key}?`, [
        h('p', null, 'A new key with the same label, owner and roles is made. The old one works until you disable it, so that nothing stands still in between.'),
        field('The new one expires', select('expires_s', [['', 'never'], [String(30 * DAY), 'in 30 days'], [String(90 * DAY), 'in 90 days'], [String(365 * DAY), 'in a year']], String(90 * DAY)))],
      { yes: 'Make the new one' });
      if (!values) return;
      const body = { tenant, user, name, roles: roles.split(',').filter(Boolean) };
      if (values.expires_s) body.expires_s = Number(values.expires_s);
      await reveal(await post('/v1/keys', body), me, `Disable ${key} when the new one is in use everywhere.`);
      reload();
    },
    async disable({ key, name }, node, { me, reload }) {
      const own = key === me.key;
      if (!await ask(`Disable ${key}?`, h('p', null, own ? 'You are signed in with this key: you will be signed out.' : `${name || 'Its programs'} can call nothing from then on. It can be enabled again.`), { yes: 'Disable', danger: true })) return;
      await post(`/v1/keys/${encodeURIComponent(key)}/disable`);
      toast(`${key} is disabled, on every worker.`);
      reload();
    },
    async enable({ key }, node, { reload }) {
      await post(`/v1/keys/${encodeURIComponent(key)}/enable`);
      toast(`${key} works again.`);
      reload();
    },
    async delete({ key }, node, { reload }) {
      if (!await ask(`Delete ${key}?`, h('p', null, 'This cannot be undone. Its use stays on record.'), { yes: 'Delete', danger: true })) return;
      await remove(`/v1/keys/${encodeURIComponent(key)}`);
      toast(`${key} was deleted.`);
      reload();
    },
  },
};

export const tenants = {
  title: () => 'Tenants',
  every: 60,
  load: (context, options) => get('/v1/tenants', options),
  render(list, { can }) {
    const columns = [
      { name: 'Tenant', of: (t) => h('a', { href: `#/keys?tenant=${encodeURIComponent(t.tenant)}` }, t.tenant) },
      { name: 'Tier', of: (t) => t.tier },
      { name: 'Queues', of: (t) => (t.queues || []).join(', ') },
      { name: 'Users', of: (t) => (t.users || []).join(', ') },
      { name: 'State', of: (t) => state(t.disabled ? 'disabled' : 'active') },
      { name: 'Declared', of: (t) => t.source === 'file' ? 'in sluice.lua' : 'here' },
      { name: 'Use', of: (t) => h('a', { href: `#/usage?tenant=${encodeURIComponent(t.tenant)}` }, 'Show') },
    ];
    if (can.administer())
      columns.push({ name: 'Do', of: (t) => t.source === 'file' ? '–' : button('Delete', 'delete', { tenant: t.tenant }, 'danger') });
    return [
      can.administer() ? h('p', null, button('New tenant', 'make', {}, 'main')) : null,
      table('Tenants', columns, list, { key: (t) => t.tenant, empty: 'No tenants. A tenant is who pays: keys and leases belong to one.' })];
  },
  acts: {
    async make(data, node, { reload }) {
      const values = await ask('New tenant', [
        field('Name', h('input', { name: 'tenant', required: true, maxlength: 63, pattern: '[A-Za-z0-9_][A-Za-z0-9._\\-]*', autocomplete: 'off' }), 'Letters, digits, and . _ -'),
        field('Tier', h('input', { name: 'tier', maxlength: 63, autocomplete: 'off' }), 'Its terms, as sluice.lua declares them. Empty: no limits.'),
        field('Users', h('input', { name: 'users', autocomplete: 'off' }), 'Unix users who belong to it, with spaces between.')], { yes: 'Make it' });
      if (!values) return;
      await post('/v1/tenants', { tenant: values.tenant, tier: values.tier, users: values.users.split(/[\s,]+/).filter(Boolean) });
      toast(`Tenant ${values.tenant} is there.`);
      reload();
    },
    async delete({ tenant }, node, { reload }) {
      if (!await ask(`Delete ${tenant}?`, h('p', null, 'It must have no keys. Its use stays on record.'), { yes: 'Delete', danger: true })) return;
      await remove(`/v1/tenants/${encodeURIComponent(tenant)}`);
      toast(`Tenant ${tenant} was deleted.`);
      reload();
    },
  },
};
