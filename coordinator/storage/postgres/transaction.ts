/**
 * One batch of operations as one transaction. It brings what is known of their rows up to date and runs them over that, without a lock; then it begins,
 * compares what the outcomes go by, writes and commits, all sent at once: locks are held while the server writes and nobody waits for a client.
 * Should something have changed in between, the server refuses, and the batch runs again.
 *
 * What cannot be compared like that (rows that there are none of yet, deadlines, a purse that pays) and a batch that has been refused goes the
 * careful way: lock, look, run again where something is not as it was thought to be, write, commit.
 */
import type pg from 'pg';
import { AtollError } from '#protocol/errors.ts';
import type { Cid } from '#protocol/codec/cid.ts';
import { type Climate, type Hints, Miss, type Operation, type Search } from '../../record/view.ts';
import { Batch, Keys } from './batch.ts';
import type { RowCache } from './cache.ts';
import { corked } from './connection.ts';
import { Loader } from './loader.ts';
import { dueOf, Offers } from './offers.ts';
import type { WorkWindow } from './work-window.ts';
import type { Statement } from './rows.ts';
import { checksOf, commit, statementsOf } from './writer.ts';

export interface Pending {
  operation: Operation<unknown>;
  /** When it came, by the monotonic clock. */
  at: number;
}

export type Outcome = { ok: true; value: unknown } | { ok: false; error: unknown };

/** Rounds of locking and loading what operations turned out to need, before a batch is given up. */
const roundsMax = 32;

/** The same without locks. */
const unlockedMax = 4;

type WorkSearch = Extract<Search, { kind: 'work' }>;

export class BatchTransaction {
  readonly #client: pg.Client;
  readonly #pending: readonly Pending[];
  readonly #cache: RowCache;
  readonly #window: WorkWindow;
  readonly #loader: Loader;
  readonly #asks: readonly WorkSearch[];
  readonly batch: Batch;
  /** Its number, once it has begun. */
  #xid: Promise<string> | null = null;
  #secured = false;
  /** It was refused before: nothing is taken to be as it was. */
  #again = false;

  constructor(
    client: pg.Client,
    pending: readonly Pending[],
    shared: { cache: RowCache; window: WorkWindow; climate: Climate },
  ) {
    this.#client = client;
    this.#pending = pending;
    this.#cache = shared.cache;
    this.#window = shared.window;
    this.#loader = new Loader(client, shared.cache);
    this.batch = new Batch(shared.climate, shared.cache);
    this.#asks = this.#searches().filter((search) => search.kind === 'work');
  }

  /** Resolves once what the operations did is durable. Without `careful` it may fail as stale, and is to be run again. */
  async run(now: number, careful: boolean, again = false): Promise<Outcome[]> {
    this.#again = again;
    const offers = await this.#prepare();
    const known = careful || this.#xid ? null : await this.#runUnlocked(offers, now);
    if (known) return known;
    const { outcomes, statements } = await this.#settle(offers, now);
    const xid = this.#begin();
    await corked(this.#client, () => commit(this.#client, statements));
    this.#keep(await xid);
    return outcomes;
  }

  /**
   * Over what is known, without a lock: what the outcomes go by is compared by the very statements that write them, so that locks are held for no
   * longer than it takes to write. Null for what cannot be done like that.
   */
  async #runUnlocked(offers: Offers, now: number): Promise<Outcome[] | null> {
    const { batch } = this;
    for (let rounds = 0; rounds < unlockedMax; rounds++) {
      const { outcomes, misses, hungryAt } = this.#pass(offers);
      if (this.#window.isShortFor(hungryAt) && rounds === 0) {
        await this.#lookAgain(offers);
        continue;
      }
      if (misses.length > 0) {
        const wanted = new Keys();
        for (const hints of misses) wanted.add(hints);
        batch.reset();
        await this.#loader.prefetch(wanted);
        if (!this.#isKnown(wanted)) return null;
        continue;
      }
      batch.touchUnits();
      const needs = batch.needs();
      const checks = checksOf(batch, needs);
      if (!checks) break;
      const [xid] = await corked(this.#client, () => {
        const begun = this.#begin();
        return Promise.all([
          begun,
          commit(this.#client, inOrder([...checks, ...statementsOf(batch, now, true)])),
        ]);
      });
      batch.secured.add(needs);
      this.#keep(xid);
      return outcomes;
    }
    batch.reset();
    return null;
  }

  /** There are rows that nobody has yet; and balances are read under their locks only. */
  #isKnown({ units, contributors, accounts }: Keys): boolean {
    if ([...accounts].some((id) => !this.#cache.absent.has(id))) return false;
    if (![...contributors].every((address) => this.#cache.contributor(address))) return false;
    return [...units].every((cid) => this.#cache.unit(cid));
  }

  #keep(xid: string): void {
    this.batch.keep(xid);
    this.#window.noteTaken(this.#asks.length);
  }

  #searches(): Search[] {
    return this.#pending.flatMap(({ operation }) => operation.hints.search ?? []);
  }

  /** What the operations say they will read, as far as it is not known yet. */
  async #prepare(): Promise<Offers> {
    const { batch } = this;
    const wanted = new Keys();
    for (const { operation } of this.#pending) {
      wanted.add(operation.hints);
      // Those who are judged together, by whichever process they are connected to.
      for (const cid of operation.hints.units ?? []) {
        wanted.add({
          contributors: this.#cache.unit(cid)?.replicas.map((replica) => replica.contributor) ?? [],
        });
      }
    }
    const touched = await this.#touched(wanted);
    if (this.#asks.length > 0 && this.#window.isSpent(this.#size))
      await this.#window.renew(this.#client, this.#size);
    const work = this.#shown();
    wanted.add({ units: this.#again ? work : work.filter((cid) => this.#window.mayDiffer(cid)) });
    await this.#loader.prefetch(wanted);
    const overdue = dueOf(this.#searches());
    const xid = overdue && this.#begin();
    const due = overdue ? await this.#loader.due(batch, overdue) : [];
    await xid;
    return new Offers(batch, work, due, touched, this.#asks);
  }

  /** Every ask may take a unit out of the window, and another one comes in at its end. */
  get #size(): number {
    return Math.max(...this.#asks.map((search) => search.window)) + this.#asks.length;
  }

  #shown(): readonly Cid[] {
    return this.#window.shown(this.#asks.length, this.#asks[0]?.random ?? 0);
  }

  async #touched(wanted: Keys): Promise<Map<Search, Cid[]>> {
    const found = new Map<Search, Cid[]>();
    for (const search of this.#searches()) {
      if (search.kind !== 'touched') continue;
      const units = await this.#loader.touched(search);
      found.set(search, units);
      wanted.add({ units });
    }
    return found;
  }

  /** Runs the operations until all that their outcomes go by is locked and as they saw it. */
  async #settle(offers: Offers, now: number): Promise<{ outcomes: Outcome[]; statements: Statement[] }> {
    const { batch } = this;
    let renewed = false;
    for (let rounds = 0; rounds < roundsMax; rounds++) {
      const { outcomes, misses, hungryAt } = this.#pass(offers);
      if (this.#window.isShortFor(hungryAt) && !renewed) {
        renewed = true;
        await this.#lookAgain(offers);
        continue;
      }
      const needs = batch.needs();
      for (const hints of misses) needs.add(hints);
      const secured = needs.isEmpty || this.#secure(needs);
      if (misses.length > 0) {
        await secured;
        continue;
      }
      // Nearly always all is as it was: what is to be written is ready when the locks are.
      batch.touchUnits();
      const statements = statementsOf(batch, now);
      if (await secured) return { outcomes, statements };
    }
    throw new AtollError('internal', 'Operations read more and more rows that were not loaded.');
  }

  async #secure(needs: Keys): Promise<boolean> {
    const { batch } = this;
    const wait = !this.#secured;
    this.#secured = true;
    const [isSame] = await corked(this.#client, () => {
      const xid = this.#begin();
      return Promise.all([this.#loader.secure(batch, needs, wait, () => batch.reset()), xid]);
    });
    return isSame;
  }

  /** Somebody found nothing in a window that is older than the question. */
  async #lookAgain(offers: Offers): Promise<void> {
    this.batch.reset();
    this.batch.unload();
    await this.#window.renew(this.#client, this.#size, true);
    offers.work = this.#shown();
    const wanted = new Keys();
    wanted.add({ units: offers.work });
    await this.#loader.prefetch(wanted);
  }

  /** All operations, once. `hungryAt`: when the last of those came that looked for work and found none. */
  #pass(offers: Offers): { outcomes: Outcome[]; misses: Hints[]; hungryAt: number } {
    const { batch } = this;
    const misses: Hints[] = [];
    let hungryAt = -Infinity;
    const outcomes = this.#pending.map(({ operation, at }): Outcome => {
      const offered = offers.of(operation.hints.search);
      try {
        const value = batch.attempt(operation, offered);
        if (operation.hints.search?.kind === 'work' && batch.foundNothing(offered))
          hungryAt = Math.max(hungryAt, at);
        return { ok: true, value };
      } catch (error) {
        // What it was going to read besides may be as unknown.
        if (error instanceof Miss) misses.push(error.hints, operation.hints);
        return { ok: false, error };
      }
    });
    return { outcomes, misses, hungryAt };
  }

  /** Its number is that of the transaction that its rows will have been written by. */
  #begin(): Promise<string> {
    this.#xid ??= corked(this.#client, () => {
      const begun = this.#client.query('BEGIN');
      const named = this.#client.query<[string]>({
        name: 'xid',
        text: 'SELECT pg_current_xact_id()::xid',
        rowMode: 'array',
      } as never);
      return Promise.all([named, begun]).then(([{ rows }]) => rows[0]?.[0] as string);
    });
    // Whoever needs it hears of its failure; nobody may be there to.
    this.#xid.catch(() => undefined);
    return this.#xid;
  }
}

/** Units before all else, compared and written, as those who go the careful way lock them: otherwise two would wait for each other. */
function inOrder(statements: readonly Statement[]): Statement[] {
  const isOfUnits = ({ name }: Statement) => name === 'units are' || name === 'update units known';
  return [...statements.filter(isOfUnits), ...statements.filter((statement) => !isOfUnits(statement))];
}
