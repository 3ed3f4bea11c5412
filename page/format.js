// SPDX-License-Identifier: Apache-2.0
// Values as people read them: the same words and digits as sluicectl's. Nothing here adds anything up.

export function count(n) {
  return n === null || n === undefined ? '–' : String(n).replace(/\B(?=(\d{3})+$)/g, ',');
}

export function tokens(n) {
  if (n === null || n === undefined) return '–';
  if (n < 1e6) return count(n);
  const [unit, name] = n < 1e9 ? [1e6, 'M'] : [1e9, 'G'];
  return `${Math.floor(n / unit)}.${Math.floor(n / (unit / 10)) % 10}${name}`;
}

export function bytes(n) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let unit = 0;
  if (n === null || n === undefined) return '–';
  while (n >= 1024 && unit < 5) {
    n /= 1024;
    unit++;
  }
  return `${n >= 10 || Number.isInteger(n) ? Math.floor(n) : Math.floor(n * 10) / 10} ${units[unit]}`;
}

const two = (n) => String(n).padStart(2, '0');

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return '–';
  const t = Math.floor(seconds);
  if (seconds > 0 && t < 1) return `${Math.round(seconds * 1000)}ms`;
  if (t < 60) return `${t}s`;
  if (t < 3600) return `${Math.floor(t / 60)}m ${two(t % 60)}s`;
  if (t < 86400) return `${Math.floor(t / 3600)}h ${two(Math.floor(t % 3600 / 60))}m`;
  return `${Math.floor(t / 86400)}d ${two(Math.floor(t % 86400 / 3600))}h`;
}

/** Seconds of devices as hours with one digit, cut. */
export function gpuHours(seconds) {
  const n = Math.floor(seconds);
  return `${count(Math.floor(n / 3600))}.${Math.floor(n % 3600 / 360)}`;
}

const DAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];

/** The nearest form of a time: 14:05, Tue 14:05, 2026-11-24. */
export function when(text, now = new Date()) {
  if (!text) return '–';
  const t = new Date(text);
  if (Number.isNaN(t.getTime())) return text;
  const clock = `${two(t.getHours())}:${two(t.getMinutes())}`;
  if (t.toDateString() === now.toDateString()) return clock;
  if (Math.abs(t - now) < 6 * 86400e3) return `${DAYS[t.getDay()]} ${clock}`;
  return `${t.getFullYear()}-${two(t.getMonth() + 1)}-${two(t.getDate())}`;
}

/** A time to the second: 14:05:01, or with its day. */
export function stamp(text, now = new Date()) {
  const t = new Date(text ?? '');
  if (Number.isNaN(t.getTime())) return text || '–';
  const clock = `${two(t.getHours())}:${two(t.getMinutes())}:${two(t.getSeconds())}`;
  return t.toDateString() === now.toDateString() ? clock : `${t.getFullYear()}-${two(t.getMonth() + 1)}-${two(t.getDate())} ${clock}`;
}

/** An exact decimal with two to six decimals, rounded in decimal: 0.0000024 is 0.000002, never 2e-6. */
export function money(text) {
  const match = /^(-?)(\d+)(?:\.(\d+))?$/.exec(text ?? '');
  if (!match) return text ?? '–';
  const [, minus, whole, part = ''] = match;
  let micro = BigInt(whole + part.slice(0, 6).padEnd(6, '0'));
  if (part.length > 6 && part[6] >= '5') micro += 1n;
  if (micro === 0n) return /[1-9]/.test(text) ? '<0.000001' : '0.00';
  const digits = String(micro).padStart(7, '0');
  const decimals = digits.slice(-6).replace(/0{1,4}$/, '');
  return `${minus}${digits.slice(0, -6)}.${decimals}`;
}
