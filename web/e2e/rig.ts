/** What the page's tests stand on: one build and one browser for a file, a server of its own for each test, and every visit closed after it. */
import { rm } from 'node:fs/promises';
import type { Browser } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest';
import { launchBrowser, type Visit, visit, type VisitOptions } from './browser.ts';
import { buildPage } from './build.ts';
import { makeStatus } from './fixtures.ts';
import { type PageServer, servePage } from './server.ts';

export interface PageRig {
  /** The folder of the build. */
  readonly dist: string;
  readonly browser: Browser;
  /** Of the test that runs. */
  readonly server: PageServer;
  /** Opens a path of the page, with its query, in a context of its own. */
  go(path?: string, options?: VisitOptions): Promise<Visit>;
}

export interface PageRigOptions {
  contributor: 'real' | 'scripted';
  /** Rounds that the job has closed when a test begins; without it there is no job. */
  rounds?: number;
  webgpu?: boolean;
}

/** Call it at the top of a test file. */
export function usePage({ contributor, rounds, webgpu = false }: PageRigOptions): PageRig {
  let dist: string | undefined;
  let browser: Browser | undefined;
  let server: PageServer | undefined;
  let open: Visit[] = [];

  beforeAll(async () => {
    [dist, browser] = await Promise.all([buildPage(contributor), launchBrowser({ webgpu })]);
  });
  afterAll(async () => {
    await browser?.close();
    if (dist) await rm(dist, { recursive: true });
  });
  beforeEach(async () => {
    server = await servePage(there(dist));
    if (rounds !== undefined) server.answers.status = makeStatus(rounds);
  });
  afterEach(async () => {
    for (const each of open) await each.close();
    open = [];
    await server?.close();
  });

  return {
    get dist() {
      return there(dist);
    },
    get browser() {
      return there(browser);
    },
    get server() {
      return there(server);
    },
    async go(path = '/', options = {}) {
      const visited = await visit(there(browser), `${there(server).url}${path}`, options);
      open.push(visited);
      return visited;
    },
  };
}

function there<T>(thing: T | undefined): T {
  if (thing === undefined) throw new Error('There is a page only while a test runs.');
  return thing;
}
