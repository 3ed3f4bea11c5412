// SPDX-License-Identifier: Apache-2.0
// Looks at the web page with a real browser, on behalf of test_page.py: each page on a wide and a narrow screen, in light
// and dark, with axe's rules; and flows with the keyboard alone. Prints what it found as JSON; argv[2] says what is where:
// {modules, chromium, url, admin, infer, lease, shots}. Needs playwright-core and axe-core.
import { createRequire } from 'node:module';
import fs from 'node:fs';
import path from 'node:path';

const given = JSON.parse(process.argv[2]);
const require = createRequire(path.join(given.modules, 'x.js'));
const { chromium } = require('playwright-core');
const axe = fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const TAGS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'];
const found = { violations: [], console: [], overflow: [], pages: 0, first_view_ms: null, flows: {} };

const browser = await chromium.launch({ executablePath: given.chromium, args: ['--no-sandbox', '--disable-gpu'] });

/** A page that tells of every message and every breach of its policy. Statuses that a test wants are no errors. */
async function open(width, height, scheme) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, reducedMotion: 'reduce', deviceScaleFactor: 1 });
  const page = await context.newPage();
  page.on('console', (m) => { if (m.type() === 'error' && !/status of 40[134]/.test(m.text())) found.console.push(m.text()); });
  page.on('pageerror', (e) => found.console.push(String(e)));
  await page.addInitScript(() => {
    window.breaches = [];
    document.addEventListener('securitypolicyviolation', (e) => window.breaches.push(`${e.violatedDirective} ${e.blockedURI} ${e.sample}`));
  });
  await page.goto(given.url);
  await page.waitForSelector('h1');
  return page;
}

async function signIn(page, key) {
  await page.fill('input[name=key]', key);
  await page.keyboard.press('Enter');
  await page.waitForSelector('nav');
}

/** What somebody else does in the meantime. */
async function admin(method, path, body) {
  const answer = await fetch(new URL(path, given.url), { method, body: JSON.stringify(body), headers: { authorization: `Bearer ${given.admin}` } });
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status}`);
  return answer.json();
}

async function look(page, name, label) {
  await page.waitForTimeout(150);
  found.pages++;
  for (const b of await page.evaluate(() => window.breaches.splice(0))) found.console.push(`${label}: ${b}`);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  if (wide > 0) found.overflow.push(`${label}: ${wide} px too wide`);
  if (given.shots) await page.screenshot({ path: path.join(given.shots, `${label}.png`), fullPage: true });
  await page.evaluate(axe);
  const { violations } = await page.evaluate((tags) => window.axe.run(document, { runOnly: tags, resultTypes: ['violations'] }), TAGS);
  for (const v of violations) found.violations.push(`${label}: ${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map((n) => `${n.target} ${n.failureSummary.split('\n')[1] || ''}`).join(' | ')}`);
  await page.evaluate(() => window.breaches.splice(0)); // axe's own
}

const PAGES = {
  admin: ['home', 'models', 'keys', 'usage', 'usage?by=model&show=requests', 'usage?by=hour&and=model', 'requests', 'leases', 'leases?state=ended',
    given.lease && `leases/${given.lease}`, 'leases/L999999', 'devices', 'tenants', 'keys?find=slk_none'].filter(Boolean),
  infer: ['home', 'models', 'playground', 'keys', 'usage', 'requests'],
};

async function everyPage() {
  for (const scheme of ['light', 'dark']) {
    for (const [width, height] of [[1280, 800], [360, 740]]) {
      for (const [who, pages] of Object.entries(PAGES)) {
        const page = await open(width, height, scheme);
        const size = `${scheme}-${width}`;
        if (who === 'admin') await look(page, 'sign-in', `${size}-sign-in`);
        await signIn(page, given[who]);
        for (const name of pages) {
          await page.evaluate((hash) => { location.hash = hash; }, `#/${name}`);
          await page.waitForFunction((hash) => document.querySelector('main > .view')?.dataset.key === hash.split('?')[0] && !document.querySelector('.loading'), `#/${name}`);
          await look(page, name, `${size}-${who}-${name.replace(/[^a-z0-9]+/gi, '_')}`);
        }
        await page.context().close();
      }
    }
  }
}

/** Tab until the focus is on something with that text. */
async function tabTo(page, text, max = 60) {
  for (let i = 0; i < max; i++) {
    await page.keyboard.press('Tab');
    const here = await page.evaluate(() => {
      const e = document.activeElement;
      if (!e || e === document.body) return null;
      const box = e.getBoundingClientRect();
      const label = e.getAttribute('aria-label') || e.labels?.[0]?.textContent || e.textContent;
      return { text: label.trim(), seen: box.width > 0 && box.height > 0 && box.bottom > 0 && box.top < innerHeight, ring: getComputedStyle(e).outlineStyle };
    });
    if (here && here.text.startsWith(text)) {
      if (!here.seen || here.ring === 'none') throw new Error(`the focus on '${text}' cannot be seen`);
      return;
    }
  }
  throw new Error(`Tab does not get to '${text}'`);
}

const flows = {
  async first_view() {
    const page = await open(1280, 800, 'light');
    await signIn(page, given.admin);
    const began = Date.now();
    await page.goto(`${given.url}#/home`);
    await page.reload();
    await page.waitForSelector('.cards');
    found.first_view_ms = Date.now() - began;
    await page.context().close();
  },
  async keyboard_makes_a_key_and_ends_it() {
    const page = await open(1280, 800, 'light');
    await page.keyboard.type(given.admin);
    await page.keyboard.press('Enter');
    await page.waitForSelector('nav');
    await tabTo(page, 'Keys');
    await page.keyboard.press('Enter');
    await page.waitForSelector('h1:text("Keys")');
    await tabTo(page, 'New key');
    await page.keyboard.press('Enter');
    await page.waitForSelector('dialog[open]');
    await page.keyboard.type('by keyboard');
    await tabTo(page, 'Make it');
    await page.keyboard.press('Enter');
    await page.waitForSelector('dialog input.mono');
    const secret = await page.inputValue('dialog input.mono');
    if (!/^slk_[0-9A-Za-z]{40}$/.test(secret)) throw new Error('the secret is not shown');
    await look(page, 'secret', 'light-1280-secret');
    await page.keyboard.press('Escape');
    await page.waitForSelector('dialog', { state: 'detached' });
    const row = page.locator('tr', { hasText: 'by keyboard' });
    await row.waitFor();
    if ((await page.content()).includes(secret)) throw new Error('the secret stays on the page');
    await row.locator('button', { hasText: 'Disable' }).focus();
    await page.keyboard.press('Enter');
    await page.waitForSelector('dialog[open]');
    await tabTo(page, 'Disable');
    await page.keyboard.press('Enter');
    await row.locator('text=disabled').waitFor();
    await row.locator('button', { hasText: 'Delete' }).focus();
    await page.keyboard.press('Enter');
    await page.waitForSelector('dialog[open]');
    await tabTo(page, 'Delete');
    await page.keyboard.press('Enter');
    await row.waitFor({ state: 'detached' });
    await page.context().close();
  },
  async playground_streams_text_that_stays_text() {
    const page = await open(360, 740, 'dark');
    await signIn(page, given.infer);
    await page.evaluate(() => { location.hash = '#/playground'; });
    await page.fill('textarea[name=text]', 'n=12 gap=0.02 <img src=x onerror=alert(1)>');
    await page.keyboard.press('Control+Enter');
    await page.waitForSelector('.talk li.assistant .text');
    await page.waitForSelector('p[role=status]');
    const answer = await page.textContent('.talk li.assistant .text');
    if (answer.trim().length < 12) throw new Error(`the answer is '${answer}'`);
    if (await page.locator('.talk img').count()) throw new Error('text became markup');
    if (!(await page.textContent('.talk li.user .text')).includes('<img')) throw new Error('the question is not shown as it was');
    await look(page, 'talk', 'dark-360-talk');
    await page.click('button:text("Begin anew")');
    await page.waitForSelector('.talk li', { state: 'detached' });
    await page.fill('textarea[name=text]', 'n=4000 gap=0.02');
    await page.keyboard.press('Control+Enter');
    await page.waitForFunction(() => document.querySelector('.talk li.assistant')?.querySelector('.text').textContent.length > 20);
    await page.click('button:text("Stop")');
    await page.waitForSelector('p[role=status]:has-text("Stopped")');
    await page.context().close();
  },
  async url_holds_the_view_and_sign_out_ends_it() {
    const page = await open(1280, 800, 'dark');
    await signIn(page, given.admin);
    await page.click('nav a:text("Usage")');
    await page.waitForSelector('select[name=by]');
    await page.selectOption('select[name=by]', 'model');
    await page.waitForFunction(() => location.hash.includes('by=model'));
    await page.selectOption('select[name=show]', 'requests');
    await page.waitForFunction(() => location.hash.includes('show=requests'));
    await page.goBack();
    await page.waitForFunction(() => !location.hash.includes('show='));
    await page.reload();
    await page.waitForFunction(() => document.querySelector('select[name=by]')?.value === 'model');
    await page.fill('input[type=search]', 'L1');
    await page.keyboard.press('Enter');
    await page.waitForSelector('h1:text("Lease L1")');
    await page.click('button:text("Sign out")');
    await page.waitForSelector('input[name=key]');
    await page.reload();
    await page.waitForSelector('input[name=key]');
    if (await page.evaluate(() => document.cookie)) throw new Error('scripts can read the cookie');
    await page.context().close();
  },
  async what_happens_elsewhere_shows_by_itself() {
    const page = await open(1280, 800, 'light');
    const made = await admin('POST', '/v1/keys', { tenant: 'default', name: 'one that goes', roles: ['operator'] });
    await signIn(page, made.secret);
    await page.click('nav a:text("Keys")');
    await page.waitForSelector('.state:text("live")');
    await page.locator('tr', { hasText: 'one that goes' }).waitFor();
    await admin('POST', '/v1/keys', { tenant: 'default', name: 'made elsewhere' });
    await page.locator('tr', { hasText: 'made elsewhere' }).waitFor({ timeout: 10000 }); // without events: a minute
    await admin('POST', `/v1/keys/${made.key}/disable`, {});
    await page.waitForSelector('input[name=key]', { timeout: 10000 });
    await page.context().close();
  },
  async pause_holds_still() {
    const page = await open(1280, 800, 'light');
    await signIn(page, given.admin);
    await page.waitForSelector('.cards');
    let asked = 0;
    page.on('request', (r) => { if (r.url().includes('/v1/')) asked++; });
    await page.click('button:text("Pause")');
    await page.waitForSelector('.state:text("paused")');
    asked = 0;
    await page.waitForTimeout(6500);
    if (asked) throw new Error(`${asked} requests while paused`);
    await page.click('button:text("Go on")');
    await page.waitForSelector('.state:text("live")');
    if (!asked) throw new Error('nothing was asked for');
    await page.context().close();
  },
};

try {
  if (given.only !== 'flows') await everyPage();
  for (const [name, run] of Object.entries(flows)) {
    try {
      await run();
      found.flows[name] = 'ok';
    } catch (error) {
      const pages = browser.contexts().flatMap((c) => c.pages());
      const text = pages.length ? await pages.at(-1).evaluate(() => document.body.innerText.slice(-700)) : '';
      found.flows[name] = `${String(error.message || error).slice(0, 600)}\nThe page then: ${text}`;
      for (const c of browser.contexts()) await c.close();
    }
  }
} finally {
  await browser.close();
}
console.log(JSON.stringify(found));
