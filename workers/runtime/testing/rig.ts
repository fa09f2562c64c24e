/** A contributor with every port in the test's hands. */
import { type Cid, cidOfBlock } from '#protocol/codec/cid.ts';
import { AtollError } from '#protocol/errors.ts';
import { type Workunit, workunitId } from '#protocol/messages/workunit.ts';
import { signerFromKey } from '#protocol/signer.ts';
import type { Hex } from 'viem';
import { MemoryBlockCache } from '../block-cache.ts';
import { createRuntime, type ShellControl } from '../contributor.ts';
import type { BlockSource, Logger, RuntimePorts } from '../ports.ts';
import type { ContributorView } from '../view.ts';
import { FakeClock, until } from './fake-clock.ts';
import { FakeCompute, program } from './fake-compute.ts';
import { ScriptedCoordinator } from './scripted-coordinator.ts';

export const testKey: Hex = `0x${'42'.repeat(32)}`;

/** Blocks by CID; `spoil` answers with wrong bytes that many times first. */
export class MemorySource implements BlockSource {
  readonly blocks = new Map<Cid, Uint8Array>();
  spoil = 0;
  fetched = 0;

  async fetch(cid: Cid): Promise<Uint8Array> {
    this.fetched++;
    if (this.spoil > 0) {
      this.spoil--;
      return new Uint8Array([1, 2, 3]);
    }
    const bytes = this.blocks.get(cid);
    if (!bytes) throw new AtollError('not_found', 'Nobody has the block.');
    return bytes;
  }

  async add(bytes: Uint8Array): Promise<Cid> {
    const cid = await cidOfBlock(bytes);
    this.blocks.set(cid, bytes);
    return cid;
  }
}

export class Rig {
  readonly coordinator = new ScriptedCoordinator();
  readonly clock = new FakeClock();
  readonly source = new MemorySource();
  readonly compute = new FakeCompute();
  readonly cache: MemoryBlockCache;
  readonly views: ContributorView[] = [];
  readonly logged: { level: string; fields: object; message: string }[] = [];
  readonly salts: string[] = [];
  readonly ports: RuntimePorts;
  readonly control: ShellControl;
  #random = 1;

  /** `more`: ports that the runtime may be given besides. */
  constructor(cacheBytes?: number, more: Partial<RuntimePorts> = {}) {
    this.cache = new MemoryBlockCache(cacheBytes);
    this.ports = {
      transport: this.coordinator.transport,
      source: this.source,
      cache: this.cache,
      compute: this.compute,
      signer: signerFromKey(testKey),
      clock: this.clock,
      randomBytes: (count) => this.#randomBytes(count),
      log: this.#logger(),
      ...more,
    };
    this.control = createRuntime(this.ports);
  }

  get view(): ContributorView {
    const view = this.views.at(-1);
    if (!view) throw new Error('No view was published.');
    return view;
  }

  /** Starts and gets to a welcome. */
  async start(): Promise<void> {
    await this.control.subscribe((view) => void this.views.push(view));
    await this.control.start();
    await this.coordinator.welcome();
  }

  /** A unit with an input of its own. */
  async unit(seed: number): Promise<Workunit> {
    const input = await this.source.add(new Uint8Array([seed, 1, 2, 3]));
    return { v: 1, program, inputs: { in: input }, params: {}, seed };
  }

  /** A unit leased, computed and committed. */
  async committed(n: number): Promise<{ id: Hex; unit: Cid }> {
    const unit = await this.unit(n);
    const id = await this.coordinator.lease(n, unit);
    await this.coordinator.commit(n);
    return { id, unit: workunitId(unit) };
  }

  untilPhase(phase: ContributorView['phase']): Promise<ContributorView> {
    return until(
      () => (this.views.at(-1)?.phase === phase ? this.views.at(-1) : undefined),
      `phase ${phase}`,
    );
  }

  untilView(is: (view: ContributorView) => boolean, what: string): Promise<ContributorView> {
    return until(() => this.views.find(is), what);
  }

  /** xorshift32, so that a failing run can be run again. */
  #randomBytes(count: number): Uint8Array {
    const bytes = new Uint8Array(count);
    for (let i = 0; i < count; i++) {
      this.#random ^= this.#random << 13;
      this.#random ^= this.#random >>> 17;
      this.#random ^= this.#random << 5;
      bytes[i] = this.#random & 255;
    }
    if (count === 32) this.salts.push(Buffer.from(bytes).toString('hex'));
    return bytes;
  }

  #logger(): Logger {
    const at = (level: string) => (fields: object, message: string) =>
      void this.logged.push({ level, fields, message });
    return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
  }
}
