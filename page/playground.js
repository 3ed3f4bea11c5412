// SPDX-License-Identifier: Apache-2.0
// Try a model. What comes back is text and stays text.
import { get, stream, ApiError } from './api.js';
import { h, field, select, button, copy } from './dom.js';
import { count, duration } from './format.js';

const SHOWN_MAX = 200; // messages that are kept
const talk = { messages: [], busy: null, last: null, error: null };

function log(messages) {
  return h('ol', { class: 'talk', tabindex: '0', 'aria-label': 'Conversation', 'aria-busy': talk.busy ? 'true' : 'false' },
    messages.map((m, i) => h('li', { class: m.role, 'data-key': i }, h('h2', null, m.role === 'user' ? 'You' : m.model), h('p', { class: 'text' }, m.content || (m.done ? 'No text.' : '…')))));
}

function said(last) {
  if (!last) return null;
  const u = last.usage;
  return h('p', { class: 'dim', role: 'status' }, last.stopped ? 'Stopped. ' : '', u ? `${count(u.prompt_tokens)} tokens in, ${count(u.completion_tokens)} out, ` : '',
    `first words after ${duration(last.first_ms / 1000)}, all after ${duration(last.all_ms / 1000)}. `,
    last.id ? h('a', { href: `#/requests?request_id=${encodeURIComponent(last.id)}` }, 'Its record') : null);
}

function body(form, messages) {
  const out = { model: form.model.value, messages, stream: true, stream_options: { include_usage: true } };
  if (form.temperature.value !== '') out.temperature = Number(form.temperature.value);
  if (form.max_tokens.value !== '') out.max_tokens = Number(form.max_tokens.value);
  return out;
}

function history(form) {
  const system = form.system.value.trim();
  const spoken = talk.messages.filter((m) => m.content).map(({ role, content }) => ({ role, content }));
  return system ? [{ role: 'system', content: system }, ...spoken] : spoken;
}

/** The newest words stay in sight of one who has not scrolled up. */
function redraw(context) {
  const before = document.querySelector('.talk'), follows = !before || before.scrollHeight - before.scrollTop - before.clientHeight < 40;
  context.redraw();
  const list = document.querySelector('.talk');
  if (list && follows) list.scrollTop = list.scrollHeight;
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

export const playground = {
  title: () => 'Playground',
  every: 0,
  load: (context, options) => get('/v1/models', options),
  render(models, { params }) {
    if (!models.length) return h('p', { class: 'empty' }, 'No models are declared in sluice.lua.');
    const names = models.map((m) => [m.model, m.state === 'ready' ? m.model : `${m.model} (${m.state === 'none' ? 'starts on the first request' : m.state})`]);
    return [
      h('p', { class: 'dim' }, 'Requests here are your own: they count against your limits and stand on your bill.'),
      log(talk.messages),
      talk.error ? h('div', { class: 'box bad', role: 'alert' }, h('p', null, talk.error.message), talk.error.code ? h('p', { class: 'dim' }, talk.error.code) : null) : null,
      said(talk.last),
      h('form', { class: 'play', 'data-act': 'send', 'data-keep': true },
        field('Message', h('textarea', { name: 'text', rows: 3, required: true }), 'Ctrl and Enter sends it.'),
        h('p', { class: 'row' }, h('button', { type: 'submit', class: 'main' }, 'Send'), button('Stop', 'stop'), button('Begin anew', 'clear'), button('Copy as curl', 'curl')),
        h('div', { class: 'row filters' }, field('Model', select('model', names, params.get('model') || names[0][0])),
          field('Temperature', h('input', { name: 'temperature', type: 'number', min: 0, max: 2, step: 'any', placeholder: 'default' })),
          field('Tokens at most', h('input', { name: 'max_tokens', type: 'number', min: 1, placeholder: 'default' }))),
        h('details', null, h('summary', null, 'System prompt'), field('What the model is told first', h('textarea', { name: 'system', rows: 2 }))))];
  },
  leave() { talk.busy?.abort(); },
  acts: {
    async send(data, form, context) {
      if (talk.busy) return;
      const text = form.text.value;
      talk.messages = [...talk.messages.slice(-SHOWN_MAX), { role: 'user', content: text }];
      const asked = body(form, history(form)), answer = { role: 'assistant', model: asked.model, content: '', done: false };
      const began = performance.now();
      let first = 0, drawn = 0, usage = null, headers = null;
      talk.messages.push(answer);
      talk.busy = new AbortController();
      talk.error = talk.last = null;
      form.text.value = '';
      redraw(context);
      try {
        headers = await stream(asked, (event) => {
          if (event.error) throw new ApiError(0, event);
          answer.content += event.choices?.[0]?.delta?.content ?? '';
          usage = event.usage || usage;
          first ||= performance.now();
          if (performance.now() - drawn < 50) return;
          drawn = performance.now();
          redraw(context);
        }, talk.busy.signal);
      } catch (error) {
        if (error.name !== 'AbortError') talk.error = error instanceof ApiError ? error : new ApiError(0, { error: { message: 'The answer broke off.' } });
        if (!answer.content) talk.messages = talk.messages.filter((m) => m !== answer);
      }
      const now = performance.now();
      answer.done = true;
      talk.last = first ? { usage, first_ms: first - began, all_ms: now - began, id: headers?.get('x-request-id'), stopped: talk.busy.signal.aborted } : null;
      talk.busy = null;
      redraw(context);
    },
    stop() { talk.busy?.abort(); },
    clear(data, node, context) {
      talk.busy?.abort();
      Object.assign(talk, { messages: [], last: null, error: null });
      redraw(context);
    },
    curl(data, node, { me }) {
      const form = node.form, text = form.text.value;
      const messages = text ? [...history(form), { role: 'user', content: text }] : history(form);
      copy(`curl -N ${me.door}/v1/chat/completions -H 'Content-Type: application/json' -H "Authorization: Bearer $SLUICE_KEY" -d ${quoted(JSON.stringify(body(form, messages)))}`);
    },
  },
};

document.addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey) && event.target.matches?.('form.play textarea')) event.target.form.requestSubmit();
});
