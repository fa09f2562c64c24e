/**
 * The built page in a real Chromium, under a strict Content-Security-Policy, against answers made from the real schemas. The contributor is
 * scripted where its views are what is tested; `start.test.ts` uses the real one.
 */
import { describe, expect, it } from 'vitest';
import type { ContributorView } from '#workers/runtime/view.ts';
import type { Visit, VisitOptions } from './browser.ts';
import {
  blockCid,
  contributorAddress,
  lossAfter,
  makeRound,
  makeStatus,
  makeUnit,
  network,
} from './fixtures.ts';
import { usePage } from './rig.ts';

const rig = usePage({ contributor: 'scripted', rounds: 14 });
const go = (query = '', options: VisitOptions = {}) => rig.go(`/${query}`, options);

const live = (visited: Visit) => visited.page.getByText('Live', { exact: true }).waitFor();
const startButton = (visited: Visit) => visited.page.getByRole('button', { name: 'Start contributing' });

const computing: ContributorView = {
  phase: 'computing',
  reason: 'Computing a unit of training.',
  problem: null,
  contributor: contributorAddress,
  device: { backend: 'webgpu', label: 'Some GPU', vendor: 'some', software: false },
  why: 'Computes on the graphics processor through WebGPU.',
  unit: { program: 'train.steps@1+i10sr', done: 12, total: 25 },
  pending: 1,
  agreed: 17,
  rejected: 0,
  credit: 61_870_000_000,
  bytesDown: 48_300_000,
  bytesUp: 12_900_000,
};

async function show(visited: Visit, view: ContributorView): Promise<void> {
  await visited.page.waitForFunction(() => window.scripted !== undefined);
  await visited.page.evaluate((shown) => window.scripted?.show(shown), view);
}
const calls = (visited: Visit) => visited.page.evaluate(() => window.scripted?.calls ?? []);

describe('before Start', () => {
  it('shows the network and runs nothing: no adapter, worker, socket or peer', async () => {
    const visited = await go();
    await live(visited);
    await visited.page.locator('canvas').first().waitFor();
    expect(await startButton(visited).isVisible()).toBe(true);
    expect(await visited.forbidden()).toEqual([]);
    expect(
      rig.server.asked.filter((path) => path.startsWith('upgrade') || path.includes('contribut')),
    ).toEqual([]);
    expect(await visited.page.evaluate(() => window.scripted === undefined)).toBe(true);
  });

  it('asks nobody but its own origin, and has no console error under the strict policy', async () => {
    const visited = await go();
    await live(visited);
    await visited.page.locator('canvas').first().waitFor();
    expect([...visited.origins]).toEqual([rig.server.url]);
    expect(visited.faults).toEqual([]);
  });

  it('says what is computed, learned and closed', async () => {
    const { page } = await go();
    await page.getByText('3 contributors online').waitFor();
    await page.getByRole('heading', { name: 'Lane 4' }).waitFor();
    await page.getByText('Split', { exact: true }).waitFor();
    await page.getByRole('img', { name: 'Round 15: 1 of 4 lanes agreed, 2 being computed.' }).waitFor();
    const rows = page.getByRole('table', { name: 'Closed rounds, newest first' }).getByRole('row');
    expect(await rows.count()).toBe(9);
    await page.getByRole('button', { name: 'Show all 14 rounds' }).click();
    expect(await rows.count()).toBe(15);
    expect(await page.locator('#learning dd').first().textContent()).toBe(lossAfter(14).toFixed(3));
    const link = page.getByRole('row').nth(1).getByRole('link');
    expect(await link.getAttribute('href')).toBe(`/ipfs/${makeRound(14).checkpoint}`);
  });

  it('copies a whole checkpoint CID', async () => {
    const { page } = await go('', { permissions: ['clipboard-read', 'clipboard-write'] });
    await page.getByRole('button', { name: 'Copy checkpoint of round 14' }).click();
    await page.getByText('Copied checkpoint of round 14').waitFor();
    expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(makeRound(14).checkpoint);
  });
});

describe('by keyboard', () => {
  it('reaches Start in a few steps, shows where it is, and starts', async () => {
    const visited = await go();
    const { page } = visited;
    await live(visited);
    await page.keyboard.press('Tab');
    expect(await page.evaluate(() => document.activeElement?.textContent)).toBe('Skip to the content');
    await page.keyboard.press('Enter');
    await page.keyboard.press('Tab');
    const focused = page.locator(':focus');
    expect((await focused.textContent())?.trim()).toBe('Start contributing');
    expect(await focused.evaluate((element) => getComputedStyle(element).outlineStyle)).toBe('solid');
    await page.keyboard.press('Enter');
    await show(visited, computing);
    expect(await calls(visited)).toEqual(['start']);
    expect((await page.locator(':focus').textContent())?.trim()).toBe('Pause');
  });

  it('reaches every control, each with a name and a visible focus', async () => {
    const visited = await go();
    const { page } = visited;
    await live(visited);
    const controls = await page.locator('a[href], button, input').count();
    const seen = new Set<string>();
    for (let step = 0; step < controls; step++) {
      await page.keyboard.press('Tab');
      const at = await page.locator(':focus').evaluate((element) => ({
        place: [...document.querySelectorAll('a[href], button, input')].indexOf(element),
        name: element.getAttribute('aria-label') ?? element.textContent?.trim() ?? '',
        outline: getComputedStyle(element).outlineWidth,
      }));
      expect(at.name).not.toBe('');
      expect(at.outline).toBe('3px');
      seen.add(String(at.place));
    }
    expect(seen.size).toBe(controls);
  });
});

describe('the own part', () => {
  it('shows phase, reason, device, verdicts, credit and traffic', async () => {
    const visited = await go();
    const { page } = visited;
    await startButton(visited).click();
    await show(visited, computing);
    const panel = page.getByRole('region', { name: 'Your part' });
    const text = (await panel.innerText()).replaceAll(/\s+/g, ' ');
    for (const words of [
      'Computing a unit of training.',
      'Some GPU · WebGPU',
      'Computes on the graphics processor through WebGPU.',
      'Training steps 12 of 25',
      '61.9 billion exact operations',
      '48.3 MB down, 12.9 MB up',
    ]) {
      expect(text).toContain(words);
    }
    await panel.getByText('17 agreed, 61.9 billion operations').waitFor();
    expect(rig.server.asked).toContain(`/v1/contributors/${contributorAddress}`);
    expect(await page.title()).toBe('Computing · Atoll');
    expect(await panel.getByRole('status').last().textContent()).toContain('Computing. Computing a unit');
  });

  it('pauses, resumes and stops, and keeps the focus', async () => {
    const visited = await go();
    const { page } = visited;
    await startButton(visited).click();
    await show(visited, computing);
    await page.getByRole('button', { name: 'Pause' }).click();
    await show(visited, { ...computing, phase: 'paused', reason: 'Paused by you.', unit: null });
    await page.getByRole('button', { name: 'Resume' }).click();
    await show(visited, computing);
    await page.getByRole('button', { name: 'Stop' }).focus();
    await page.keyboard.press('Enter');
    await startButton(visited).waitFor();
    expect(await calls(visited)).toEqual(['start', 'pause', 'resume', 'stop']);
    expect((await page.locator(':focus').textContent())?.trim()).toBe('Start contributing');
    expect(await page.getByRole('button', { name: 'Stop' }).count()).toBe(0);
  });

  it('shows a problem with its remedy, and offers to try again', async () => {
    const visited = await go();
    await startButton(visited).click();
    const problem = {
      type: 'urn:atoll:problem:nonconforming',
      title: 'The device failed the conformance probe',
      status: 403,
      code: 'nonconforming',
      detail: 'exp2 differs in 3 of 4096 values.',
      retryable: false,
    };
    await show(visited, { ...computing, phase: 'failed', reason: problem.title, unit: null, problem });
    const alert = visited.page.getByRole('alert');
    expect(await alert.innerText()).toMatch(/exp2 differs[\s\S]*What to do\.[\s\S]*driver/);
    expect(await visited.page.getByRole('button', { name: 'Try again' }).isVisible()).toBe(true);
  });

  it('moves nothing as its numbers change', async () => {
    // Without the turning sign, which moves by itself.
    const visited = await go('', { reducedMotion: 'reduce' });
    await live(visited);
    await startButton(visited).click();
    await show(visited, computing);
    await visited.page.getByText('17 agreed, 61.9 billion operations').waitFor();
    await visited.page.evaluate(() => document.fonts.ready);
    const places = () =>
      visited.page.evaluate(() => {
        // Units come and go, pictures redraw; everything else, and the four units that stay, must keep their places.
        const moving = '#now li:nth-child(n + 5), svg, .box, figcaption, progress';
        return [...document.querySelectorAll('main *')]
          .filter((element) => element.closest(moving) === null)
          .map((element) => {
            const { x, y, height } = element.getBoundingClientRect();
            return `${element.tagName} ${x} ${y} ${height}`;
          });
      });
    const before = await places();
    await show(visited, {
      ...computing,
      agreed: 18,
      pending: 0,
      credit: 99_110_000_000,
      bytesDown: 51_700_000,
      unit: { program: 'train.steps@1+i10sr', done: 21, total: 25 },
    });
    await rig.server.send({ type: 'unit', unit: makeUnit(15, 1, 'leased', 0.88) });
    await rig.server.send({ type: 'unit', unit: makeUnit(15, null, 'leased', 0.2) });
    await rig.server.send({ type: 'contributors', online: 8 });
    await visited.page.getByText('8 contributors online').waitFor();
    expect(await places()).toEqual(before);
  });
});

describe('where the browser cannot compute', () => {
  it('says so before anything is pressed, and Start does nothing', async () => {
    const visited = await go('?backend=webgpu', { gpu: false });
    await visited.page.getByRole('heading', { name: 'This browser has no WebGPU' }).waitFor();
    const button = startButton(visited);
    expect(await button.getAttribute('aria-disabled')).toBe('true');
    await button.click({ force: true });
    expect(await visited.page.evaluate(() => window.scripted === undefined)).toBe(true);
    await live(visited);
  });

  it('offers the reference, and says that it is slow', async () => {
    const visited = await go('?backend=webgpu', { gpu: false });
    await visited.page.getByRole('link', { name: 'slow TypeScript reference' }).click();
    await visited.page.getByText('Expect it to be very slow').waitFor();
    expect(await startButton(visited).getAttribute('aria-disabled')).toBe('false');
  });

  it('needs no WebGPU: it says that it will take the processor', async () => {
    const visited = await go('', { gpu: false });
    await visited.page.getByText('takes part of your processor through WebAssembly').waitFor();
    expect(await startButton(visited).getAttribute('aria-disabled')).toBe('false');
  });

  it('says so where there is neither WebGPU nor WebAssembly SIMD', async () => {
    const visited = await go('', { gpu: false, simd: false });
    await visited.page.getByRole('heading', { name: 'This browser is too old to compute' }).waitFor();
    expect(await startButton(visited).getAttribute('aria-disabled')).toBe('true');
  });

  it('says what a software adapter is when the address accepts one', async () => {
    const visited = await go('?software=1');
    await visited.page.getByText('many times slower than a graphics card').waitFor();
  });
});

describe('live', () => {
  it('takes rounds, units and anchors from the stream', async () => {
    const visited = await go();
    const { page } = visited;
    await live(visited);
    await rig.server.send({ type: 'unit', unit: makeUnit(15, 1, 'accepted', 1) });
    await page.getByRole('img', { name: 'Round 15: 2 of 4 lanes agreed, 1 being computed.' }).waitFor();
    const anchor = makeRound(14).anchor;
    if (!anchor) throw new Error('the fixture has no anchor');
    await rig.server.send({ type: 'anchor', round: 14, anchor });
    await page.getByRole('button', { name: 'Copy anchor transaction of round 14' }).waitFor();
    rig.server.answers.status = makeStatus(15);
    await rig.server.send({ type: 'round', round: makeRound(15) });
    await page.getByRole('rowheader', { name: '15' }).waitFor();
    await page.getByText(`to ${lossAfter(15).toFixed(3)} after round 15`).waitFor();
  });

  it('says how old it is while the stream is gone, and comes back', async () => {
    const visited = await go();
    await live(visited);
    rig.server.answers.broken = 'down';
    await rig.server.dropStreams();
    await visited.page.getByText(/^Updated \d+ sec\. ago$/).waitFor();
    await visited.page.getByText('The coordinator does not answer').waitFor();
    expect(await visited.page.getByRole('row').count()).toBe(9);
    rig.server.answers.broken = 'no';
    await live(visited);
    expect(await visited.page.getByText('The coordinator does not answer').count()).toBe(0);
  });
});

describe('without a job, or without an answer', () => {
  it('says what will come before the first round', async () => {
    rig.server.answers.status = makeStatus(0);
    const visited = await go();
    await live(visited);
    expect(
      await visited.page
        .getByText('The curve begins when the untrained model has been measured.')
        .isVisible(),
    ).toBe(true);
    expect(await visited.page.getByText('No round has closed yet.').isVisible()).toBe(true);
  });

  it('tells the measurement before training from that of the first round', async () => {
    const status = makeStatus(0);
    const loss = { ...makeUnit(1, null, 'leased', 0.3), program: 'eval.loss@1+i10sr' };
    const units = [...status.units, { ...loss, unit: blockCid, initial: true }, loss];
    rig.server.answers.status = { ...status, units };
    const { page } = await go();
    await page.getByRole('heading', { name: 'Lane 1' }).waitFor();
    const titles = await page.locator('li:has(progress) h3').allTextContents();
    expect(titles.slice(-2)).toEqual(['Measure', 'First measure']);
    expect(new Set(titles).size).toBe(titles.length);
  });

  it('says that there is no job yet, and shows one as soon as it is posted', async () => {
    rig.server.answers.status = null;
    const visited = await go();
    await visited.page.getByText('has no job yet').waitFor();
    rig.server.answers.status = makeStatus(1);
    await visited.page.getByRole('heading', { name: 'Lane 1' }).waitFor();
  });

  it('names what does not fit instead of going blank', async () => {
    rig.server.answers.broken = 'unfit';
    const visited = await go();
    await visited.page.getByText('The answer is not one this page understands').waitFor();
    await visited.page.getByText(/\(network: /).waitFor();
    expect(await startButton(visited).isVisible()).toBe(true);
  });

  it('says so when its own program does not arrive', async () => {
    const context = await rig.browser.newContext();
    const page = await context.newPage();
    await page.route('**/assets/*.js', (route) => route.abort());
    await page.goto(rig.server.url);
    await page.getByText('its program could not be fetched').waitFor();
    await context.close();
  });

  it('says that rounds are not anchored where there is no chain', async () => {
    rig.server.answers.network = { ...network, chain: null };
    const visited = await go();
    await visited.page.getByText('not anchored on a chain').waitFor();
    await visited.page.getByText('no chain', { exact: true }).waitFor();
  });
});

describe('on any screen', () => {
  it.each([1600, 1280, 1100, 1000, 900, 768, 390, 360, 320])('fits into %i pixels', async (width) => {
    const visited = await go('', { viewport: { width, height: 800 } });
    await live(visited);
    await startButton(visited).click();
    await show(visited, { ...computing, rejected: 2 });
    await visited.page.getByText('17 agreed').waitFor();
    const beyond = await visited.page.evaluate(
      () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
    );
    expect(beyond).toBe(0);
    // Nothing sticks out of its own place either, into a neighbour's.
    const out = await visited.page.evaluate(
      () =>
        [...document.querySelectorAll('.section > div')].filter(
          (element) => element.scrollWidth > element.clientWidth,
        ).length,
    );
    expect(out).toBe(0);
  });

  it('follows the dark scheme and stands still when asked to', async () => {
    const visited = await go('', { colorScheme: 'dark', reducedMotion: 'reduce' });
    await startButton(visited).click();
    await show(visited, computing);
    const found = await visited.page.evaluate(() => ({
      ground: getComputedStyle(document.body).backgroundColor,
      moving: document.getAnimations().length,
    }));
    expect(found).toEqual({ ground: 'rgb(7, 24, 29)', moving: 0 });
  });

  it('has one h1, headings in order, unique ids, and its landmarks', async () => {
    const visited = await go();
    await live(visited);
    const found = await visited.page.evaluate(() => ({
      lang: document.documentElement.lang,
      levels: [...document.querySelectorAll('h1, h2, h3')].map((heading) => Number(heading.tagName[1])),
      ids: [...document.querySelectorAll('[id]')].map((element) => element.id),
      landmarks: ['header', 'nav', 'main', 'footer'].map((name) => document.querySelector(name) !== null),
    }));
    expect(found.lang).toBe('en');
    expect(found.levels.filter((level) => level === 1)).toHaveLength(1);
    expect(found.levels.every((level, at) => level <= (found.levels[at - 1] ?? 0) + 1)).toBe(true);
    expect(new Set(found.ids).size).toBe(found.ids.length);
    expect(found.landmarks).toEqual([true, true, true, true]);
  });
});
