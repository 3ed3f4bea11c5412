// SPDX-License-Identifier: Apache-2.0
// Bars. Their lengths are drawn from the numbers that the ledger gave; the words beside them are the ledger's own.
import { h, s } from './dom.js';

const ROW = 26, TWO_LINES = 44, SHOWN = 40, NAME_MAX = 16;

// Long names stand above their bars.
const rowHeight = (bars) => bars.some((b) => b.name.length > NAME_MAX) ? TWO_LINES : ROW;

/** Horizontal bars, one a row: {name, value (a number), text}. */
function rows(bars, max) {
  const row = rowHeight(bars), from = row === ROW ? 26 : 0, room = 74 - from;
  return bars.map((bar, i) => {
    const y = (i + 1) * row - ROW, share = max > 0 ? bar.value / max : 0;
    return s('g', null,
      s('text', { x: '0', y: row === ROW ? y + 17 : y - 1, class: 'label' }, bar.name),
      s('rect', { x: `${from}%`, y: y + 5, width: `${(share * room).toFixed(3)}%`, height: ROW - 9, rx: 2, class: 'bar' }),
      s('text', { x: `${(from + 1 + share * room).toFixed(3)}%`, y: y + 17, class: 'value' }, bar.text));
  });
}

/** Upright bars by time, with the first, the last and the highest named. */
function columns(bars, max) {
  const height = 160, top = 22, width = Math.min(100 / bars.length, 10); // percent
  const highest = bars.findIndex((b) => b.value === max);
  return [
    s('line', { x1: 0, x2: '100%', y1: top + height, y2: top + height, class: 'axis' }),
    bars.map((bar, i) => {
      const tall = max > 0 ? bar.value / max * height : 0;
      const middle = (i + 0.5) * width, anchor = middle < 20 ? 'start' : middle > 80 ? 'end' : 'middle';
      const at = anchor === 'start' ? i * width : anchor === 'end' ? (i + 1) * width : middle;
      const named = i === 0 || (i === bars.length - 1 && at > 50);
      return s('g', null,
        s('rect', { x: `${(i * width + width * 0.1).toFixed(3)}%`, y: (top + height - tall).toFixed(2), width: `${(width * 0.8).toFixed(3)}%`,
          height: tall.toFixed(2), class: 'bar' }, s('title', null, `${bar.name}: ${bar.text}`)),
        i === highest && max > 0 ? s('text', { x: `${at.toFixed(3)}%`, y: 15, 'text-anchor': anchor, class: 'value' }, bar.text) : null,
        named ? s('text', { x: `${at.toFixed(3)}%`, y: top + height + 18, 'text-anchor': anchor, class: 'label' }, bar.name) : null);
    }),
  ];
}

/** A chart of `bars`; the table below it has the same numbers. */
export function chart(title, bars, upright) {
  const shown = upright ? bars.slice(-366) : bars.slice(0, SHOWN);
  const max = Math.max(0, ...shown.map((b) => b.value));
  if (!shown.length || max === 0) return null;
  const highest = shown.find((b) => b.value === max);
  const height = upright ? 206 : shown.length * rowHeight(shown);
  return h('figure', { class: 'chart' },
    s('svg', { role: 'img', 'aria-label': `${title}. The highest is ${highest.name} with ${highest.text}. The table below has all numbers.`, width: '100%', height },
      upright ? columns(shown, max) : rows(shown, max)),
    shown.length < bars.length ? h('figcaption', null, `The first ${shown.length} of ${bars.length}.`) : null);
}

/** How much of a limit is used. */
export function meter(name, used, max) {
  const share = Number(max) > 0 ? Math.min(1, Number(used) / Number(max)) : 0;
  return s('svg', { class: 'meter', role: 'img', 'aria-label': `${name}: ${Math.floor(share * 100)} percent used`, width: '100%', height: 10 },
    s('rect', { width: '100%', height: 10, rx: 5, class: 'track' }),
    s('rect', { width: `${(share * 100).toFixed(2)}%`, height: 10, rx: 5, class: share >= 0.9 ? 'bar high' : 'bar' }));
}
