/** Frames come out as they went in, however the bytes were cut, and what is no frame is refused before memory is spent on it. */
import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { frameHead, FrameReader } from './framing.ts';

function encoded(frames: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(frames.flatMap((frame) => [...frameHead(frame.byteLength), ...frame]));
}

it('reads frames however the bytes are cut', () => {
  const frames = fc.array(fc.uint8Array({ minLength: 1, maxLength: 300 }), { maxLength: 8 });
  fc.assert(
    fc.property(frames, fc.array(fc.integer({ min: 1, max: 97 }), { minLength: 1 }), (given, cuts) => {
      const bytes = encoded(given);
      const got: Uint8Array[] = [];
      const reader = new FrameReader(300);
      for (let at = 0, i = 0; at < bytes.byteLength; i++) {
        const end = at + (cuts[i % cuts.length] as number);
        reader.push(bytes.subarray(at, end), (frame) => got.push(frame));
        at = end;
      }
      expect(got).toEqual(given);
      for (const frame of got) expect(frame.buffer).not.toBe(bytes.buffer);
    }),
  );
});

it.each([
  [0, 'bad_frame'],
  [301, 'too_large'],
  [0xffffffff, 'too_large'],
])('refuses a length of %i', (size, code) => {
  const reader = new FrameReader(300);
  const head = frameHead(size);
  reader.push(head.subarray(0, 3), () => expect.fail());
  expect(() => reader.push(head.subarray(3), () => expect.fail())).toThrow(expect.objectContaining({ code }));
});

it('takes a new bound from the next frame on', () => {
  const reader = new FrameReader(2);
  reader.push(encoded([new Uint8Array(2), new Uint8Array(9)]), () => (reader.sizeBytesMax = 9));
  expect(reader.sizeBytesMax).toBe(9);
});
