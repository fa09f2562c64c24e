/**
 * The page `/conformance` in a real Chromium under the strict policy: the real suite on WebAssembly, its threads and a software WebGPU adapter; and with
 * a scripted worker what a device that computes other bits looks like, on every screen and by keyboard.
 */
import { readFile } from 'node:fs/promises';
import type { Page } from 'playwright-core';
import { describe, expect, it } from 'vitest';
import type { ConformanceDocument } from '#workers/browser/conformance.ts';
import type { Visit, VisitOptions } from './browser.ts';
import { usePage } from './rig.ts';

const rig = usePage({ contributor: 'real', webgpu: true });

async function go(options: VisitOptions = {}): Promise<Visit> {
  const visited = await rig.go('/conformance', options);
  await visited.page.getByRole('button', { name: 'Run' }).waitFor();
  return visited;
}

const box = (page: Page, name: RegExp) => page.getByRole('checkbox', { name });

/** Stands in for the worker: the first backend differs in one case of two, the others have nothing to say against. */
function scriptWorker(): void {
  let runs = 0;
  class Scripted extends EventTarget {
    terminate(): void {}
    postMessage(): void {
      const same = { id: 'gemm/7/1x1x1', same: true };
      const difference = {
        at: 5,
        of: 64,
        count: 3,
        expected: '0x3f800000',
        got: '0x3f800001',
      };
      const other =
        runs++ === 0 ? { id: 'gelu/usual', same: false, difference } : { id: 'gelu/usual', same: true };
      const info = { backend: 'webgpu', label: 'Odd GPU', vendor: 'odd', software: false };
      const outcomes = [same, other];
      const messages = [
        { kind: 'progress', done: 1, total: 2, outcome: same },
        { kind: 'report', report: { info, seconds: 1.5, outcomes } },
      ];
      for (const data of messages) {
        setTimeout(() => this.dispatchEvent(new MessageEvent('message', { data })));
      }
    }
  }
  Object.defineProperty(window, 'Worker', { value: Scripted });
}

async function goScripted(options: VisitOptions = {}): Promise<Page> {
  const { page } = await go(options);
  await page.addInitScript(scriptWorker);
  await page.reload();
  await page.getByRole('button', { name: 'Run' }).click();
  await page.getByRole('button', { name: 'Download as JSON' }).waitFor();
  return page;
}

describe('on this machine', () => {
  it('runs nothing before Run, then gives the reference’s bits three ways, and a document to share', async () => {
    const visited = await go();
    const { page } = visited;
    expect(await visited.forbidden()).toEqual([]);
    await box(page, /reference/).uncheck();
    await box(page, /software/).check();
    await page.getByRole('button', { name: 'Run' }).click();
    await page.getByRole('button', { name: 'Stop' }).waitFor();
    await page.getByRole('button', { name: 'Run again' }).waitFor({ timeout: 280_000 });
    const stages = await page.locator('main li p:not(.quiet)').allInnerTexts();
    expect(stages).toHaveLength(3);
    for (const words of stages) expect(words).toMatch(/^All \d+ cases give the reference's bits/);
    const heads = await page.getByRole('columnheader').allInnerTexts();
    expect(heads).toEqual(['Op', 'WebAssembly', expect.stringMatching(/threads/), 'WebGPU']);
    for (const row of await page.getByRole('row').allInnerTexts()) expect(row).not.toContain('differ');
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('button', { name: 'Download as JSON' }).click(),
    ]);
    const shared = JSON.parse(await readFile(await download.path(), 'utf8')) as ConformanceDocument;
    expect(shared.backends.map(({ id, different }) => [id, different])).toEqual([
      ['wasm', 0],
      ['wasm-threads', 0],
      ['webgpu', 0],
    ]);
    const results = { wasm: 'same', 'wasm-threads': 'same', webgpu: 'same' };
    for (const given of shared.cases) expect(given.results).toEqual(results);
    expect(visited.faults).toEqual([]);
    expect([...visited.origins]).toEqual([rig.server.url]);
  });

  it('takes no software adapter unless it is ticked, and says why there is none', async () => {
    const { page } = await go();
    for (const name of [/reference/, /^WebAssembly/, /threads/]) await box(page, name).first().uncheck();
    await page.getByRole('button', { name: 'Run' }).click();
    await page
      .getByText(/WebGPU here runs on the CPU/)
      .first()
      .waitFor();
  });

  it('stops at once', async () => {
    const { page } = await go();
    await page.getByRole('button', { name: 'Run' }).click();
    await page.getByRole('button', { name: 'Stop' }).click();
    await page.getByRole('button', { name: 'Run again' }).waitFor();
    // A browser lets a worker that computes finish for two seconds.
    await expect.poll(() => page.workers().length, { timeout: 20_000 }).toBe(0);
  });

  it('says what this browser lacks', async () => {
    const { page } = await go({ gpu: false, simd: false });
    expect(await box(page, /^WebGPU/).isDisabled()).toBe(true);
    await page.getByText('This browser has no WebGPU.').waitFor();
    expect(await page.getByText('This browser has no WebAssembly SIMD.').count()).toBe(2);
  });
});

describe('a device that computes other bits', () => {
  it('shows where, by keyboard too', async () => {
    const page = await goScripted();
    await page
      .getByText(/1 of 2 cases differs/)
      .first()
      .waitFor();
    const toggle = page.getByRole('button', { name: 'gelu' });
    expect(await toggle.getAttribute('aria-expanded')).toBe('false');
    await toggle.focus();
    expect(await toggle.evaluate((element) => getComputedStyle(element).outlineWidth)).toBe('3px');
    await page.keyboard.press('Enter');
    expect(await toggle.getAttribute('aria-expanded')).toBe('true');
    await page
      .getByText(
        '3 of 64 elements differ. The first is element 5: expected 0x3f800000 (1, or 1065353216), got 0x3f800001 (1.0000001192092896, or 1065353217).',
      )
      .waitFor();
  });

  it.each([1280, 768, 390, 320])('fits into %i pixels', async (width) => {
    const page = await goScripted({ viewport: { width, height: 800 } });
    await page.getByRole('button', { name: 'gelu' }).click();
    const beyond = await page.evaluate(
      () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
    );
    expect(beyond).toBe(0);
  });

  it('has one h1, headings in order, unique ids and its landmarks, in the dark too', async () => {
    const page = await goScripted({ colorScheme: 'dark' });
    const found = await page.evaluate(() => ({
      ground: getComputedStyle(document.body).backgroundColor,
      levels: [...document.querySelectorAll('h1, h2, h3')].map((heading) => Number(heading.tagName[1])),
      ids: [...document.querySelectorAll('[id]')].map((element) => element.id),
      landmarks: ['header', 'main', 'footer'].map((name) => document.querySelector(name) !== null),
    }));
    expect(found.ground).toBe('rgb(7, 24, 29)');
    expect(found.levels).toEqual([1, 2]);
    expect(new Set(found.ids).size).toBe(found.ids.length);
    expect(found.landmarks).toEqual([true, true, true]);
  });
});
