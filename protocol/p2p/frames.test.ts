/** Every frame arrives as it was sent; whatever else arrives is an AtollError; the committed bytes are the protocol. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Cid, cborCode, cidOfSync, rawCode } from '../codec/cid.ts';
import { AtollError } from '../errors.ts';
import { limits } from '../limits.ts';
import { decodeShardFrame, encodeShardFrame, refusals, type ShardFrame, sizeOfFrame } from './frames.ts';

const anyCid: fc.Arbitrary<Cid> = fc
  .tuple(fc.uint8Array({ maxLength: 8 }), fc.constantFrom(rawCode, cborCode))
  .map(([bytes, code]) => cidOfSync(bytes, code));
const anyIndex = fc.nat(limits.shardFileBlocksMax - 1);
const indicesUpTo = (maxLength: number) => fc.array(anyIndex, { minLength: 1, maxLength });

const bitsFrame = fc
  .tuple(anyCid, fc.boolean(), fc.integer({ min: 1, max: 200 }), fc.infiniteStream(fc.boolean()))
  .map(([file, ask, count, stream]): ShardFrame => {
    const bits = new Uint8Array(Math.ceil(count / 8));
    for (let i = 0; i < count; i++)
      if (stream.next().value) bits[i >> 3] = (bits[i >> 3] ?? 0) | (1 << (i & 7));
    return { t: 'bits', file, ask, count, bits };
  });
const partFrame = fc
  .tuple(anyCid, anyIndex, fc.nat(1000), fc.uint8Array({ minLength: 1, maxLength: 300 }), fc.nat(1000))
  .map(([file, index, offset, bytes, rest]): ShardFrame => {
    return { t: 'blk', file, index, offset, size: offset + bytes.length + rest, bytes };
  });

const frames: Record<ShardFrame['t'], fc.Arbitrary<ShardFrame>> = {
  bits: bitsFrame,
  have: fc.record({ t: fc.constant('have' as const), file: anyCid, indices: indicesUpTo(50) }),
  pend: fc.record({
    t: fc.constant('pend' as const),
    file: anyCid,
    indices: indicesUpTo(limits.shardPendsMax),
  }),
  gone: fc.record({ t: fc.constant('gone' as const), file: anyCid, indices: indicesUpTo(50) }),
  req: fc.record({
    t: fc.constant('req' as const),
    file: anyCid,
    index: anyIndex,
    offset: fc.nat(limits.blockBytesMax - limits.shardSegmentBytesMax),
    length: fc.integer({ min: 1, max: limits.shardSegmentBytesMax }),
  }),
  blk: partFrame,
  no: fc.record({
    t: fc.constant('no' as const),
    file: anyCid,
    index: anyIndex,
    reason: fc.constantFrom(...refusals),
  }),
  cancel: fc.record({ t: fc.constant('cancel' as const), file: anyCid, index: anyIndex }),
  choke: fc.constant({ t: 'choke' }),
  unchoke: fc.constant({ t: 'unchoke' }),
  need: fc.record({ t: fc.constant('need' as const), needs: fc.boolean() }),
};
const anyFrame = fc.oneof(...Object.values(frames));

function decodesOrRefuses(bytes: Uint8Array): void {
  let frame: ShardFrame;
  try {
    frame = decodeShardFrame(bytes);
  } catch (error) {
    expect(error).toBeInstanceOf(AtollError);
    expect(['bad_frame', 'too_large']).toContain((error as AtollError).code);
    return;
  }
  // One frame has one form.
  expect(encodeShardFrame(frame)).toEqual(new Uint8Array(bytes));
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const file = cidOfSync(Uint8Array.of(1, 2, 3), rawCode);
const document = cidOfSync(Uint8Array.of(4), cborCode);
const digest = '039058c6f2c0cb492c533b0a4d14ef77cc0f78abccced5287d84a1a2011cfb81';
const raw = `01551220${digest}`;
const cbor = '01711220e52d9c508c502347344d8c07ad91cbd6068afc75ff6292f062a09ca381c89e71';

/** What each frame is on the wire. A change here is a new version of the protocol. */
const golden: [ShardFrame, string][] = [
  [
    { t: 'bits', file: document, ask: true, count: 10, bits: Uint8Array.of(0x81, 0x02) },
    `0101${cbor}0a0000008102`,
  ],
  [{ t: 'have', file, indices: [1, 258] }, `02${raw}0100000002010000`],
  [{ t: 'pend', file, indices: [7] }, `03${raw}07000000`],
  [{ t: 'gone', file, indices: [0] }, `04${raw}00000000`],
  [{ t: 'req', file, index: 3, offset: 262_144, length: 4_096 }, `05${raw}030000000000040000100000`],
  [
    { t: 'blk', file, index: 3, offset: 16, size: 4_096, bytes: Uint8Array.of(9, 8, 7) },
    `06${raw}030000001000000000100000090807`,
  ],
  [{ t: 'no', file, index: 5, reason: 'unknown' }, `07${raw}0500000002`],
  [{ t: 'cancel', file, index: 6 }, `08${raw}06000000`],
  [{ t: 'choke' }, '09'],
  [{ t: 'unchoke' }, '0a'],
  [{ t: 'need', needs: true }, '0b01'],
];

describe('shard frames', () => {
  it('have the committed bytes, both ways', () => {
    expect(golden.map(([frame]) => frame.t)).toEqual(Object.keys(frames));
    for (const [frame, bytes] of golden) {
      expect(hex(encodeShardFrame(frame))).toBe(bytes);
      expect(decodeShardFrame(Buffer.from(bytes, 'hex'))).toEqual(
        'bits' in frame || 'bytes' in frame ? expect.objectContaining({ t: frame.t }) : frame,
      );
    }
  });

  for (const [t, arbitrary] of Object.entries(frames)) {
    it(`${t} arrives as it was sent`, () => {
      fc.assert(
        fc.property(arbitrary, (frame) => {
          const bytes = encodeShardFrame(frame);
          expect(bytes.byteLength).toBe(sizeOfFrame(frame));
          expect(decodeShardFrame(bytes)).toEqual(frame);
        }),
      );
    });
  }

  it('made of garbage throw nothing but AtollError', () => {
    const garbage = fc.tuple(fc.integer({ min: 0, max: 13 }), fc.uint8Array({ maxLength: 90 }));
    fc.assert(
      fc.property(garbage, ([type, rest]) => decodesOrRefuses(Uint8Array.of(type, ...rest))),
      { numRuns: 2_000 },
    );
    decodesOrRefuses(new Uint8Array());
  });

  it('that are damaged throw nothing but AtollError, or are another frame in its one form', () => {
    const flips = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 1, max: 255 })), {
      minLength: 1,
      maxLength: 3,
    });
    fc.assert(
      fc.property(anyFrame, flips, fc.nat(), (frame, changes, cut) => {
        const bytes = encodeShardFrame(frame);
        for (const [where, flip] of changes) {
          const at = where % bytes.length;
          bytes[at] = (bytes[at] as number) ^ flip;
        }
        decodesOrRefuses(bytes);
        decodesOrRefuses(bytes.slice(0, cut % bytes.length));
      }),
      { numRuns: 1_000 },
    );
  });

  it('are measured before they are read', () => {
    const tooLong = (type: number, size: number) => {
      const bytes = new Uint8Array(size);
      bytes[0] = type;
      return () => decodeShardFrame(bytes);
    };
    for (const [type, size] of [
      [1, 42 + limits.shardFileBlocksMax / 8 + 1],
      [2, 37 + 4 * limits.shardIndicesMax + 1],
      [3, 37 + 4 * limits.shardPendsMax + 1],
      [6, 49 + limits.shardPartBytesMax + 1],
      [9, 2],
    ] as const) {
      expect(tooLong(type, size)).toThrow(expect.objectContaining({ code: 'too_large' }));
    }
    const part = new Uint8Array(limits.shardPartBytesMax + 1);
    const frame = { t: 'blk', file, index: 0, offset: 0, size: part.length, bytes: part } as const;
    expect(() => encodeShardFrame(frame)).toThrow(expect.objectContaining({ code: 'too_large' }));
  });

  it('carry a whole MiB in 17 parts, each within one message of 64 KiB', () => {
    expect(Math.ceil(limits.blockBytesMax / limits.shardPartBytesMax)).toBe(17);
    const bytes = new Uint8Array(limits.shardPartBytesMax);
    const frame = { t: 'blk', file, index: 0, offset: 0, size: limits.blockBytesMax, bytes } as const;
    expect(encodeShardFrame(frame).byteLength + 64).toBeLessThan(64 << 10);
  });

  it('never reach beyond a block or a file', () => {
    const req = { t: 'req', file, index: 0, offset: limits.blockBytesMax - 1, length: 2 } as const;
    const blk = { t: 'blk', file, index: 0, offset: 5, size: 6, bytes: Uint8Array.of(1, 2) } as const;
    const far = { t: 'have', file, indices: [limits.shardFileBlocksMax] } as const;
    const surplus = { t: 'bits', file, ask: false, count: 3, bits: Uint8Array.of(0x09) } as const;
    for (const frame of [req, blk, far, surplus]) {
      expect(() => decodeShardFrame(encodeShardFrame(frame))).toThrow(
        expect.objectContaining({ code: 'bad_frame' }),
      );
    }
  });
});
