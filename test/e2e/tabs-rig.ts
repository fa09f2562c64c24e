/**
 * Real tabs on a small network, each in a browser context of its own, and the coordinator's gateway as all of them see it: what it gave them is counted block by
 * block, held back, or switched off.
 */
import type { Browser, BrowserContext, Page, Route } from 'playwright-core';
import { tokenBytes } from './rig.ts';

/** Between the tabs and `/ipfs`. */
export class TabsGateway {
  /** Only what units bring with them is given out: whatever was computed has to come from peers. */
  tokensOnly = false;
  /** Bytes that were given out, a row each time. */
  readonly given: { cid: string; bytes: number }[] = [];
  #gate: Promise<void> = Promise.resolve();
  #isHeld: (cid: string) => boolean = () => false;

  async watch(context: BrowserContext): Promise<void> {
    await context.route('**/ipfs/*', (route) =>
      this.#answer(route).catch(() => route.abort().catch(() => {})),
    );
  }

  /** Requests for these blocks wait until the returned function is called. */
  hold(isHeld: (cid: string) => boolean): () => void {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#gate = promise;
    this.#isHeld = isHeld;
    return resolve;
  }

  /** What was computed, as often as it was given out, and once each. Bytes. */
  get computed(): { bytes: number; once: number } {
    const computed = this.given.filter(({ bytes }) => bytes !== tokenBytes);
    const sizes = new Map(computed.map(({ cid, bytes }) => [cid, bytes]));
    const sum = (all: Iterable<number>) => [...all].reduce((total, bytes) => total + bytes, 0);
    return { bytes: sum(computed.map(({ bytes }) => bytes)), once: sum(sizes.values()) };
  }

  async #answer(route: Route): Promise<void> {
    const cid = new URL(route.request().url()).pathname.split('/').at(-1) as string;
    if (this.#isHeld(cid)) await this.#gate;
    const response = await route.fetch();
    const body = await response.body();
    if (this.tokensOnly && response.ok() && body.byteLength !== tokenBytes) return route.abort();
    if (response.ok()) this.given.push({ cid, bytes: body.byteLength });
    await route.fulfill({ response, body });
  }
}

export interface Tab {
  page: Page;
  errors: string[];
}

/** A tab in which somebody has pressed Start, and chosen to exchange blocks directly or left that alone. */
export async function openTab(
  browser: Browser,
  url: string,
  { isDirect = true, gateway }: { isDirect?: boolean; gateway?: TabsGateway } = {},
): Promise<Tab> {
  const context = await browser.newContext();
  await gateway?.watch(context);
  const page = await context.newPage();
  const errors: string[] = [];
  page.on('pageerror', (error) => errors.push(error.message));
  await page.goto(`${url}/?backend=wasm&threads=1`);
  if (isDirect) await page.getByLabel('Exchange model data directly').check();
  await page.getByRole('button', { name: 'Start contributing' }).click();
  return { page, errors };
}

/** What a tab says of its peers. */
export const peersOf = ({ page }: Tab): Promise<string> => page.getByLabel('Other contributors').innerText();

/** Until the tab has so many direct peers, and none that could not be reached. */
export async function linked({ page }: Tab, count: number): Promise<void> {
  await page.getByText(`${count} direct, 0 relayed, 0 failed`).waitFor({ timeout: 90_000 });
}
