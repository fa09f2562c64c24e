/** Numbers, durations and names as a person reads them. */
import { describe, expect, it } from 'vitest';
import * as format from './format.ts';

describe('numbers', () => {
  it('writes counts, losses and shares', () => {
    expect(format.count(12_345)).toBe('12,345');
    expect(format.compact(829_824)).toBe('830K');
    expect(format.words(61_870_000_000)).toBe('61.9 billion');
    expect(format.words(0)).toBe('0');
    expect(format.loss(2.4)).toBe('2.400');
    expect(format.percent(0.4321)).toBe('43%');
  });

  it('writes a change with its sign, and none for no change', () => {
    expect(format.change(-0.0311)).toBe('\u22120.031');
    expect(format.change(0.5)).toBe('+0.500');
    expect(format.change(0)).toBe('0.000');
  });

  it('chooses the unit of bytes on both sides of every step', () => {
    expect(format.bytes(0)).toBe('0 bytes');
    expect(format.bytes(999)).toBe('999 bytes');
    expect(format.bytes(1000)).toBe('1 kB');
    expect(format.bytes(1_000_000)).toBe('1 MB');
    expect(format.bytes(48_300_000)).toBe('48.3 MB');
    expect(format.bytes(2_500_000_000)).toBe('2.5 GB');
  });

  it('writes times', () => {
    expect(format.duration(38)).toBe('38.0s');
    expect(format.duration(120)).toBe('2 min');
    expect(format.ago(-5)).toBe('0 sec. ago');
    expect(format.ago(12_400)).toBe('12 sec. ago');
    expect(format.ago(300_000)).toBe('5 min. ago');
    expect(format.ago(2 * 3600_000)).toBe('2 hr. ago');
  });
});

describe('names', () => {
  it('keeps both ends of an id', () => {
    expect(format.shortId('bafyreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku')).toBe(
      'bafyreih\u2026quvyku',
    );
    expect(format.shortId('short')).toBe('short');
  });

  it('says programs in words, and unknown ones by their names', () => {
    expect(format.programName('train.steps@1+i10sr')).toBe('Training steps');
    expect(format.programName('fold.protein@2')).toBe('fold.protein');
    expect(format.shortProgramName('train.outer@1')).toBe('Merge');
    expect(format.shortProgramName('fold.protein@2')).toBe('fold.protein');
  });

  it('counts in the singular and the plural', () => {
    expect(format.plural(1, 'replica')).toBe('1 replica');
    expect(format.plural(0, 'replica')).toBe('0 replicas');
  });
});
