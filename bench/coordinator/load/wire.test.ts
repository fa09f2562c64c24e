/** The generator's frames are the real codec's, byte for byte, and it reads the coordinator's where they are. */
import { expect, test } from 'vitest';
import { cborCode, cidOfSync } from '#protocol/codec/cid.ts';
import { toHex } from '#protocol/messages/contribution.ts';
import { decodeFromContributor, encodeFrame } from '#protocol/messages/frames.ts';
import { decodeResult } from '#protocol/messages/workunit.ts';
import { lossCid } from '../work.ts';
import { assignmentOf, commitFrame, resultFor, revealFrame, typeOf, unitOf } from './wire.ts';

const word = (byte: number) => toHex(new Uint8Array(32).fill(byte));

test('what is sent', () => {
  const unit = new Uint8Array(300).fill(9);
  const result = resultFor(unit);
  expect(decodeResult(result)).toEqual({
    v: 1,
    unit: cidOfSync(unit, cborCode),
    outputs: { loss: lossCid },
  });
  const signature = toHex(new Uint8Array(65).fill(5));
  expect(decodeFromContributor(commitFrame(word(1), word(2), signature))).toEqual({
    t: 'commit',
    assignment: word(1),
    commitment: word(2),
    signature,
  });
  const reveal = decodeFromContributor(revealFrame(word(3), word(4), result));
  expect(reveal).toMatchObject({ t: 'reveal', assignment: word(3), salt: word(4) });
  expect(reveal.t === 'reveal' && Buffer.from(reveal.result)).toEqual(result);
});

test('what is received', () => {
  for (const length of [24, 255, 256, 5_000]) {
    const unit = new Uint8Array(length).fill(7);
    const lease = Buffer.from(encodeFrame({ t: 'lease', assignment: word(6), unit, leaseMs: 70_000 }));
    expect([typeOf(lease), assignmentOf(lease)]).toEqual(['lease', word(6)]);
    expect(new Uint8Array(unitOf(lease))).toEqual(unit);
  }
  const verdict = { unit: lossCid, outcome: 'agreed', credit: 5, reason: 'x'.repeat(99) } as const;
  for (const frame of [
    encodeFrame({ t: 'committed', assignment: word(8) }),
    encodeFrame({ t: 'verdict', assignment: word(8), ...verdict }),
  ]) {
    expect(assignmentOf(Buffer.from(frame))).toBe(word(8));
  }
  expect(typeOf(Buffer.from(encodeFrame({ t: 'idle', reason: 'none', retryMs: 500 })))).toBe('idle');
});
