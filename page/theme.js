// SPDX-License-Identifier: Apache-2.0
// Light, dark or as the system has it: put in place before anything is drawn.
(() => {
  let theme = 'system';
  try { theme = localStorage.getItem('sluice-theme') || theme; } catch { /* a browser that keeps nothing */ }
  document.documentElement.dataset.theme = theme;
})();
