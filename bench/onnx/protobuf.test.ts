/** The wire format, by the examples of protobuf's own documentation. */
import { expect, it } from 'vitest';
import { concat, float, integer, message, text } from './protobuf.ts';

const hex = (parts: Uint8Array[]) => Buffer.from(concat([parts])).toString('hex');

it('writes varints, negative ones in ten bytes', () => {
  expect(hex(integer(1, 150))).toBe('089601');
  expect(hex(integer(1, 0))).toBe('0800');
  expect(hex(integer(2, -2))).toBe('10feffffffffffffffff01');
});

it('writes strings, floats and nested messages', () => {
  expect(hex(text(2, 'testing'))).toBe('120774657374696e67');
  expect(hex(message(3, [integer(1, 150)]))).toBe('1a03089601');
  expect(hex(float(2, 1))).toBe('150000803f');
});

it('writes field numbers above 15 in two bytes', () => {
  expect(hex(integer(20, 7))).toBe('a00107');
});
