/**
 * The page with the real contributor behind Start, in a real Chromium: nothing of it is fetched or started before the click, what this
 * machine cannot do is said, and Stop leaves nothing running. Training itself is tested end to end with a real coordinator elsewhere.
 */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { Visit } from './browser.ts';
import { usePage } from './rig.ts';

const rig = usePage({ contributor: 'real', rounds: 2 });

async function go(query: string): Promise<Visit> {
  const visited = await rig.go(`/${query}`);
  await visited.page.getByText('Live', { exact: true }).waitFor();
  await visited.page.locator('canvas').first().waitFor();
  return visited;
}

const start = (at: Visit) => at.page.getByRole('button', { name: 'Start contributing' }).click();

it('fetches none of the contributor before Start', async () => {
  const at = await go('');
  expect(await at.forbidden()).toEqual([]);
  expect(at.page.workers()).toHaveLength(0);
  expect(at.faults).toEqual([]);
  const built = await readdir(join(rig.dist, 'assets'));
  expect(built.some((name) => name.includes('worker'))).toBe(true);
  const fetched = rig.server.asked.filter((path) => path.startsWith('/assets/'));
  expect(fetched.filter((path) => /worker|start/.test(path))).toEqual([]);
  // Scripts and styles, some of them cut out because /conformance or the contributor's chunks share them, and the font.
  expect(fetched.length).toBeLessThanOrEqual(12);
});

it('says what to do when WebGPU was asked for and the browser gives no adapter', async () => {
  const at = await go('?backend=webgpu');
  await start(at);
  const alert = at.page.getByRole('alert');
  await alert.waitFor();
  expect(await alert.innerText()).toMatch(/No usable device[\s\S]*What to do\./);
  expect(rig.server.asked.filter((path) => path.startsWith('upgrade'))).toEqual([]);
  await at.page.getByRole('button', { name: 'Try again' }).waitFor();
});

it.each([
  ['', 'WebAssembly SIMD', /on one thread\. WebGPU was passed over: .*finds no GPU/],
  ['?backend=wasm&threads=2', 'WebAssembly SIMD, 2 threads', /on 2 threads\.$/],
])('with %j connects only after Start, on %s, says why, and leaves no worker', async (query, label, why) => {
  const at = await go(query);
  await start(at);
  await expect
    .poll(() => rig.server.asked.includes('upgrade /v1/contribute'), { timeout: 120_000 })
    .toBe(true);
  const device = at.page.getByRole('region', { name: 'Your part' }).locator('dd').filter({ hasText: label });
  expect(await device.locator('.quiet').innerText()).toMatch(why);
  await at.page.getByRole('button', { name: 'Stop' }).click();
  await at.page.getByRole('button', { name: 'Start contributing' }).waitFor();
  await expect.poll(() => at.page.workers().length).toBe(0);
});
