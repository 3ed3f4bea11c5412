// SPDX-License-Identifier: Apache-2.0
// The calls of the control door. Whatever this page shows came from there.

export class ApiError extends Error {
  constructor(status, body) {
    const error = body?.error || {};
    super(error.message || `The server answered with ${status}.`);
    this.status = status;
    this.code = error.code || '';
    this.cure = error.try || '';
  }
}

let onSignedOut = () => {};
/** What to do when the session is over. */
export function whenSignedOut(run) { onSignedOut = run; }

// The header says that this page asked: no other page can send it.
const OURS = { 'X-Sluice-Page': '1' };

export async function call(method, path, body, { signal } = {}) {
  let answer;
  try {
    answer = await fetch(path, {
      method, signal, credentials: 'same-origin', cache: 'no-store',
      headers: body === undefined ? OURS : { ...OURS, 'Content-Type': 'application/json' },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new ApiError(0, { error: { message: 'sluiced does not answer.', code: 'unreachable' } });
  }
  const text = await answer.text();
  let value = text;
  if ((answer.headers.get('content-type') || '').startsWith('application/json')) value = JSON.parse(text);
  if (answer.ok) return value;
  const error = new ApiError(answer.status, value);
  if (answer.status === 401 && path !== '/v1/session') onSignedOut(error);
  throw error;
}

export const get = (path, options) => call('GET', path, undefined, options);
export const post = (path, body = {}) => call('POST', path, body);
export const remove = (path) => call('DELETE', path);

/** A path with a query of those values that are set. */
export function query(path, values) {
  const set = Object.entries(values).filter(([, v]) => v !== undefined && v !== null && v !== '');
  return set.length ? `${path}?${new URLSearchParams(set)}` : path;
}

/** A chat that streams: onEvent gets each chunk as it comes. Resolves with the headers. */
export async function stream(body, onEvent, signal) {
  const answer = await fetch('/v1/play', {
    method: 'POST', signal, credentials: 'same-origin', headers: { ...OURS, 'Content-Type': 'application/json' }, body: JSON.stringify(body),
  });
  if (!answer.ok) {
    let value = null;
    try { value = await answer.json(); } catch { /* no words then */ }
    throw new ApiError(answer.status, value);
  }
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    rest += value;
    const lines = rest.split('\n');
    rest = lines.pop();
    for (const line of lines) {
      const data = line.startsWith('data:') ? line.slice(5).trim() : '';
      if (data && data !== '[DONE]') onEvent(JSON.parse(data));
    }
  }
  return answer.headers;
}
