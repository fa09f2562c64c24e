/** What the page keeps on the device, in a real Chromium: said before Start, figures apart, deleted after a question, by keyboard alone. */
import { describe, expect, it } from 'vitest';
import type { ContributorView } from '#workers/runtime/view.ts';
import type { Visit, VisitOptions } from './browser.ts';
import { contributorAddress } from './fixtures.ts';
import { usePage } from './rig.ts';

const rig = usePage({ contributor: 'scripted', rounds: 2 });

const view = (kept: ContributorView['kept']): ContributorView => ({
  phase: 'computing',
  reason: 'Computing a unit.',
  problem: null,
  contributor: contributorAddress,
  device: { backend: 'wasm', label: 'WebAssembly SIMD, 4 threads', vendor: '', software: true },
  unit: { program: 'train.steps@1+i10sr', done: 3, total: 25 },
  pending: 1,
  agreed: 4,
  rejected: 0,
  credit: 1e9,
  bytesDown: 40e6,
  bytesUp: 2e6,
  blockBytesDown: 33.6e6,
  ...(kept ? { kept } : {}),
});

async function go(keptBytes: number, options: VisitOptions = {}): Promise<Visit> {
  const visited = await rig.go('/', options);
  const { page } = visited;
  await page.addInitScript((held) => void (window.keptBytes = held), keptBytes);
  await page.reload();
  await page.getByText('Live', { exact: true }).waitFor();
  return visited;
}

async function show(at: Visit, shown: ContributorView): Promise<void> {
  await at.page.getByRole('button', { name: 'Start contributing' }).click();
  await at.page.waitForFunction(() => window.scripted?.calls.includes('start'));
  await at.page.evaluate((given) => window.scripted?.show(given), shown);
}

const held = { heldBytes: 134.2e6, limitBytes: 1.1e9, readBytes: 100.7e6 };
const group = (at: Visit) => at.page.getByRole('group', { name: 'Kept on this device' });

describe('blocks on this device', () => {
  it('are nowhere mentioned while there are none', async () => {
    const at = await go(0);
    expect(await group(at).count()).toBe(0);
    expect(await at.forbidden()).toEqual([]);
  });

  it('are told and deleted before Start, by keyboard alone, after a question', async () => {
    const at = await go(52e6);
    await group(at).getByText('52 MB').waitFor();
    expect(await at.forbidden()).toEqual([]);
    const { keyboard } = at.page;
    const focused = () => at.page.evaluate(() => document.activeElement?.textContent?.trim());
    await group(at).getByRole('button', { name: 'Delete' }).focus();
    await keyboard.press('Enter');
    // The safe answer has the focus, and Escape is the same.
    expect(await focused()).toBe('Keep');
    await keyboard.press('Escape');
    expect(await focused()).toBe('Delete…');
    await keyboard.press('Enter');
    await keyboard.press('Tab');
    expect(await focused()).toBe('Delete');
    await keyboard.press('Enter');
    await at.page.waitForFunction(() => window.keptBytes === 0);
    await expect.poll(() => group(at).count()).toBe(0);
    expect(at.faults).toEqual([]);
  });

  it('show what was downloaded and what came from disk apart, and are deleted while it runs', async () => {
    const at = await go(0);
    await show(at, view(held));
    await at.page.getByText('33.6 MB downloaded, 100.7 MB from disk').waitFor();
    await group(at).getByText('134.2 MB').waitFor();
    await group(at).getByText('at most 1.1 GB').waitFor();
    await group(at).getByRole('button', { name: 'Delete' }).click();
    await group(at).getByRole('button', { name: 'Delete', exact: true }).click();
    await group(at).getByText('Deleted.').waitFor();
    expect(await at.page.evaluate(() => window.scripted?.calls)).toContain('forgetBlocks');
  });

  it('say why they are in memory only', async () => {
    const at = await go(0);
    await show(at, view({ heldBytes: 0, limitBytes: 0, readBytes: 0, why: 'This browser refuses storage.' }));
    await at.page.getByText('This browser refuses storage.').waitFor();
    expect(await group(at).getByRole('button').count()).toBe(0);
  });

  const sizes: [string, VisitOptions][] = [
    ['wide', {}],
    ['narrow', { viewport: { width: 360, height: 800 } }],
    ['dark', { colorScheme: 'dark' }],
  ];
  it.each(sizes)('fit, %s', async (name, options) => {
    const at = await go(0, options);
    await show(at, view(held));
    await group(at).getByRole('button', { name: 'Delete' }).click();
    const { clientWidth, scrollWidth } = await at.page.evaluate(() => ({
      clientWidth: document.documentElement.clientWidth,
      scrollWidth: document.documentElement.scrollWidth,
    }));
    expect(scrollWidth).toBeLessThanOrEqual(clientWidth);
    const folder = process.env['ATOLL_SCREENSHOTS'];
    if (folder) {
      await group(at).scrollIntoViewIfNeeded();
      await at.page.getByLabel('Your part').screenshot({ path: `${folder}/kept-${name}.png` });
    }
  });
});
