/** One suite for every bus: what is published arrives at the others, in order, and a bus that was cut off says so and goes on. */
import { randomBytes } from 'node:crypto';
import { describe, expect, onTestFinished, test, type TestContext } from 'vitest';
import { toHex } from '#protocol/messages/hex.ts';
import { limits } from '#protocol/limits.ts';
import { useNats, usePostgres } from '../testing/services.ts';
import { LocalBus } from './local.ts';
import { type BusMessage, readBatch, takeBatch } from './messages.ts';
import { openNatsBus } from './nats.ts';
import { Outbox } from './outbox.ts';
import type { EventBus } from './port.ts';
import { openPostgresBus } from './postgres.ts';

const postgres = usePostgres();
const nats = useNats();

interface Rig {
  /** One more end of the same bus. */
  connect(): Promise<EventBus>;
  /** Cuts all ends off for a moment; absent where nothing can be cut. */
  interrupt?: () => Promise<void>;
}

const rigs: Record<string, (context: TestContext) => Promise<Rig>> = {
  local: async () => {
    const bus = new LocalBus();
    return { connect: async () => bus.connect() };
  },
  postgres: async (context) => {
    const server = await postgres(context);
    const url = await server.createDatabase();
    const interrupt = async () => {
      await server.halt('crash');
      await server.resume();
    };
    return { connect: () => openPostgresBus({ url }), interrupt };
  },
  nats: async (context) => {
    const server = await nats(context);
    const network = toHex(randomBytes(32));
    const interrupt = async () => {
      await server.halt();
      await server.resume();
    };
    return { connect: () => openNatsBus({ url: server.url, network }), interrupt };
  },
};

const address = (n: number) => `0x${n.toString(16).padStart(40, '0')}` as const;
const numbered = (n: number): BusMessage => ({ t: 'here', contributors: [address(n)] });

/** What an end has heard, and a wait for a given message. */
function listen(bus: EventBus) {
  const heard: BusMessage[] = [];
  const waiters = new Set<() => void>();
  bus.subscribe((message) => {
    heard.push(message);
    for (const waiter of [...waiters]) waiter();
  });
  const until = async (count: number) => {
    while (heard.length < count) {
      await new Promise<void>((resolve) => waiters.add(resolve));
    }
  };
  return { heard, until };
}

describe.each(Object.entries(rigs))('%s', (_name, make) => {
  async function ends(context: TestContext, count: number) {
    const rig = await make(context);
    const buses = await Promise.all(Array.from({ length: count }, () => rig.connect()));
    onTestFinished(async () => void (await Promise.all(buses.map((bus) => bus.close()))));
    return { ...rig, buses: buses as [EventBus, ...EventBus[]] };
  }

  test('what one publishes all others hear in order, and not itself', async (context) => {
    const { buses } = await ends(context, 3);
    const [first, ...others] = buses;
    const own = listen(first);
    const listening = others.map(listen);
    const sent = Array.from({ length: 500 }, (_, n) => numbered(n));
    for (const message of sent) first.publish(message);
    for (const { heard, until } of listening) {
      await until(sent.length);
      expect(heard).toEqual(sent);
    }
    expect(own.heard).toEqual([]);
  });

  test('all publish at once and nothing is lost', async (context) => {
    const { buses } = await ends(context, 3);
    const listening = buses.map(listen);
    buses.forEach((bus, i) => {
      for (let n = 0; n < 200; n++) bus.publish(numbered(i * 1000 + n));
    });
    const numberOf = (message: BusMessage) =>
      message.t === 'here' ? Number.parseInt(message.contributors[0] as string, 16) : NaN;
    for (const [i, { heard, until }] of listening.entries()) {
      await until(400);
      const others = [0, 1, 2].filter((other) => other !== i);
      const expected = others.flatMap((other) => Array.from({ length: 200 }, (_, n) => other * 1000 + n));
      expect(heard.map(numberOf).sort((a, b) => a - b)).toEqual(expected);
    }
  });

  test('cut off, it tells of a gap and goes on', async (context) => {
    const { buses, interrupt } = await ends(context, 2);
    if (!interrupt) return context.skip('nothing to cut off within one process');
    const gaps = Promise.all(
      buses.map((bus) => new Promise<void>((resolve) => void bus.onGap(() => resolve()))),
    );
    await interrupt();
    await gaps;
    const [first, second] = buses as [EventBus, EventBus];
    const { until } = listen(second);
    first.publish(numbered(1));
    await until(1);
  });
});

describe('batches', () => {
  test('what is no message of ours is left out', () => {
    const bytes = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
    expect(readBatch(bytes([numbered(1), { t: 'unknown' }, 7, { t: 'seek' }]))).toEqual([numbered(1)]);
    expect(readBatch(bytes({ t: 'jobs' }))).toEqual([]);
    expect(readBatch(Uint8Array.of(0xff, 0xfe))).toEqual([]);
    expect(readBatch(new Uint8Array(limits.busBatchBytesMax + 1))).toEqual([]);
  });

  test('a batch has at most so many bytes, and what did not fit comes with the next', () => {
    const queue = Array.from({ length: 10_000 }, (_, n) => numbered(n));
    const sent = [...queue];
    const read: BusMessage[] = [];
    for (let batch = takeBatch(queue); batch; batch = takeBatch(queue)) {
      expect(batch.byteLength).toBeLessThanOrEqual(limits.busBatchBytesMax);
      read.push(...readBatch(batch));
    }
    expect(read).toEqual(sent);
  });

  test('a receiver that does not take them never makes the queue grow beyond its limit', async () => {
    const batches: Uint8Array[] = [];
    let release = () => {};
    const blocked = new Promise<void>((resolve) => (release = resolve));
    const outbox = new Outbox(1, async (batch) => {
      batches.push(batch);
      await blocked;
    });
    outbox.push(numbered(0));
    while (batches.length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    for (let n = 1; n <= 3 * limits.busQueueMax; n++) outbox.push(numbered(n));
    release();
    await outbox.close();
    // After the blocked batch `close` sends one more, of the oldest that were kept.
    const oldest = readBatch(batches[1] as Uint8Array)[0];
    expect(oldest).not.toEqual(numbered(1));
  });
});
