/** Every frame arrives as it was sent; whatever else arrives is an AtollError. */
import * as fc from 'fast-check';
import * as v from 'valibot';
import { describe, expect, it } from 'vitest';
import { encodeCanonical } from '../codec/cbor.ts';
import { cidOfSync, rawCode } from '../codec/cid.ts';
import { AtollError, toProblem } from '../errors.ts';
import { limits } from '../limits.ts';
import { fromContributorArbs, fromCoordinatorArbs } from '../testing/arbitraries.ts';
import {
  decodeFromContributor,
  decodeFromCoordinator,
  encodeFrame,
  fromContributorSchema,
  fromCoordinatorSchema,
} from './frames.ts';

/** The type tags that a schema knows, so that a frame without a generator fails the test. */
const tagsOf = (schema: { options: readonly { entries: { t: { literal: unknown } } }[] }) =>
  schema.options.map((option) => option.entries.t.literal);

const anyFrame = fc.oneof(...Object.values(fromContributorArbs), ...Object.values(fromCoordinatorArbs));

function decodesOrRefuses(bytes: Uint8Array): void {
  for (const decode of [decodeFromContributor, decodeFromCoordinator]) {
    try {
      decode(bytes);
    } catch (error) {
      expect(error).toBeInstanceOf(AtollError);
      expect(['bad_frame', 'too_large']).toContain((error as AtollError).code);
    }
  }
}

describe('frames', () => {
  it('all have a generator', () => {
    expect(Object.keys(fromContributorArbs)).toEqual(tagsOf(fromContributorSchema));
    expect(Object.keys(fromCoordinatorArbs)).toEqual(tagsOf(fromCoordinatorSchema));
  });

  for (const [t, frames] of Object.entries(fromContributorArbs)) {
    it(`${t} from a contributor arrives as it was sent`, () => {
      fc.assert(
        fc.property(frames, (frame) => {
          expect(decodeFromContributor(encodeFrame(frame))).toEqual(frame);
        }),
      );
    });
  }

  for (const [t, frames] of Object.entries(fromCoordinatorArbs)) {
    it(`${t} from the coordinator arrives as it was sent`, () => {
      fc.assert(
        fc.property(frames, (frame) => {
          expect(decodeFromCoordinator(encodeFrame(frame))).toEqual(frame);
        }),
      );
    });
  }

  it('of the other side are refused', () => {
    fc.assert(
      fc.property(fc.oneof(...Object.values(fromContributorArbs)), (frame) => {
        expect(() => decodeFromCoordinator(encodeFrame(frame))).toThrow(AtollError);
      }),
    );
    fc.assert(
      fc.property(fc.oneof(...Object.values(fromCoordinatorArbs)), (frame) => {
        expect(() => decodeFromContributor(encodeFrame(frame))).toThrow(AtollError);
      }),
    );
  });

  it('that are read without the schema are what the schema makes of them, and nothing that it refuses', () => {
    const { ask, commit, reveal } = fromContributorArbs;
    const odd = fc.oneof(
      fc.constantFrom(0, 1, '', 'ask', 'commit', `0x${'AB'.repeat(32)}`, `0x${'ab'.repeat(32)}\n`),
      fc.constantFrom(`0x${'ab'.repeat(32)}`, `0x${'ab'.repeat(65)}`, new Uint8Array(1 << 17)),
      fc.string(),
    );
    const key = fc.constantFrom('t', 'assignment', 'commitment', 'salt', 'result', 'signature', 'more');
    const spoilt = fc.tuple(fc.oneof(ask, commit, reveal), fc.option(key), odd, fc.boolean());
    let refused = 0;
    fc.assert(
      fc.property(spoilt, ([frame, name, value, drop]) => {
        const map: Record<string, unknown> = { ...frame, ...(name === null ? {} : { [name]: value }) };
        if (drop && name !== null) delete map[name];
        const parsed = v.safeParse(fromContributorSchema, map);
        const bytes = encodeCanonical(map);
        if (parsed.success) expect(decodeFromContributor(bytes)).toEqual(parsed.output);
        else expect(() => decodeFromContributor(bytes)).toThrow(AtollError);
        if (!parsed.success) refused++;
      }),
      { numRuns: 2_000 },
    );
    expect(refused).toBeGreaterThan(200);
  });

  it('made of garbage throw nothing but AtollError', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 100 }), decodesOrRefuses), { numRuns: 1000 });
  });

  it('that are damaged throw nothing but AtollError', () => {
    const damage = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 1, max: 255 })), {
      minLength: 1,
      maxLength: 3,
    });
    fc.assert(
      fc.property(anyFrame, damage, fc.nat(), (frame, flips, cut) => {
        const bytes = encodeFrame(frame).slice();
        for (const [where, flip] of flips)
          bytes[where % bytes.length] = (bytes[where % bytes.length] as number) ^ flip;
        decodesOrRefuses(bytes);
        decodesOrRefuses(bytes.slice(0, cut % bytes.length));
      }),
      { numRuns: 500 },
    );
  });

  it('holding values of the wrong kind throw nothing but AtollError', () => {
    const wrong = fc.anything({ withNullPrototype: false, maxDepth: 2 });
    fc.assert(
      fc.property(anyFrame, fc.nat(), wrong, (frame, pick, value) => {
        const keys = Object.keys(frame);
        let bytes: Uint8Array;
        try {
          bytes = encodeCanonical({ ...frame, [keys[pick % keys.length] as string]: value });
        } catch {
          return; // not a value of the data model, so it cannot arrive
        }
        decodesOrRefuses(bytes);
      }),
      { numRuns: 500 },
    );
  });

  it('may carry keys that a newer version adds', () => {
    expect(decodeFromContributor(encodeCanonical({ t: 'ask', hint: 1 }))).toEqual({ t: 'ask' });
  });

  it('hold a full block and no more', () => {
    const bytes = new Uint8Array(limits.blockBytesMax).fill(3);
    const cid = cidOfSync(bytes, rawCode);
    const frame = { t: 'block', cid, bytes } as const;
    expect(decodeFromContributor(encodeFrame(frame))).toEqual(frame);
    const over = encodeCanonical({ t: 'block', cid, bytes: new Uint8Array(limits.blockBytesMax + 1) });
    expect(() => decodeFromContributor(over)).toThrow(expect.objectContaining({ code: 'bad_frame' }));
  });

  it('beyond the size limit are neither sent nor read', () => {
    const frame = { t: 'block', cid: 'x', bytes: new Uint8Array(limits.frameBytesMax) } as const;
    expect(() => encodeFrame(frame)).toThrow(expect.objectContaining({ code: 'too_large' }));
    expect(() => decodeFromContributor(new Uint8Array(limits.frameBytesMax + 1))).toThrow(
      expect.objectContaining({ code: 'too_large' }),
    );
  });

  it('say where they are wrong', () => {
    const frame = encodeCanonical({ t: 'missing', cid: 'nonsense' });
    try {
      decodeFromContributor(frame);
      expect.unreachable();
    } catch (error) {
      expect(toProblem(error)).toMatchObject({ code: 'bad_frame', details: { path: 'cid' } });
    }
  });
});
