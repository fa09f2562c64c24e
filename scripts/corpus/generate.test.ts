/** The corpus is the same everywhere, and its entropy is the true one: the grammar's choices can be read back from the text in one way only. */
import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { unigramEntropy } from '#coordinator/planner/corpus.ts';
import { createDice } from './dice.ts';
import { passage } from './english.ts';
import { generateCorpus } from './generate.ts';
import { choice, emit, measure, type Node, probabilityOf, sequence } from './grammar.ts';
import { article, inWords, thirdPerson } from './words.ts';

/** Emits `count` passages; true when each has exactly the probability of the choices that made it. */
function readsBackInOneWay(node: Node, count: number): boolean {
  const dice = createDice(5);
  return Array.from({ length: count }).every(() => {
    const out: string[] = [];
    const nats = emit(node, dice, out);
    return Math.abs(nats + Math.log(probabilityOf(node, out.join('')))) < 1e-9;
  });
}

describe('the grammar', () => {
  test('measures a small tree as one does by hand', () => {
    const tree = sequence(
      choice([
        [1, 'a'],
        [
          3,
          choice([
            [1, 'bb'],
            [1, 'cc'],
          ]),
        ],
      ]),
      '.',
    );
    const { entropy, bytes } = measure(tree);
    expect(entropy).toBeCloseTo(-(0.25 * Math.log(0.25) + 0.75 * Math.log(0.75)) + 0.75 * Math.log(2), 12);
    expect(bytes).toBeCloseTo(0.25 * 1 + 0.75 * 2 + 1, 12);
    expect(probabilityOf(tree, 'bb.')).toBeCloseTo(0.375, 12);
    expect(probabilityOf(tree, 'bb')).toBe(0);
  });

  test('a string that can be made in two ways is noticed', () => {
    const twice = choice([
      [1, 'ab'],
      [
        1,
        sequence(
          choice([
            [1, 'a'],
            [1, 'c'],
          ]),
          'b',
        ),
      ],
    ]);
    expect(readsBackInOneWay(twice, 20)).toBe(false);
  });

  test('every passage can be made in one way only, and only its end is a newline', () => {
    expect(readsBackInOneWay(passage, 400)).toBe(true);
    const dice = createDice(9);
    for (let i = 0; i < 20_000; i++) {
      const out: string[] = [];
      emit(passage, dice, out);
      const text = out.join('');
      expect(text.indexOf('\n')).toBe(text.length - 1);
    }
  });
});

describe('the corpus', () => {
  test('is the same bytes on every machine', () => {
    const { text } = generateCorpus({ bytes: 1 << 16, seed: 1 });
    expect(createHash('sha256').update(text).digest('hex')).toBe(
      '535cfacf24224483789ade3aeb209c6e4745d8e60153f313bc1474dd740b5e21',
    );
    expect(generateCorpus({ bytes: 1 << 16, seed: 2 }).text).not.toEqual(text);
  });

  test('is at least as long as asked, ASCII, of whole passages', () => {
    const { text } = generateCorpus({ bytes: 10_000, seed: 3 });
    expect(text.length).toBeGreaterThanOrEqual(10_000);
    expect(text.length).toBeLessThan(10_500);
    expect(text.every((byte) => byte === 10 || (byte >= 32 && byte < 127))).toBe(true);
    expect(text.at(-1)).toBe(10);
  });

  test('costs what its entropy says, to within 1 %, and far less than its letters alone', () => {
    const { text, entropyPerByte, idealNatsPerByte } = generateCorpus({ bytes: 8 << 20, seed: 1 });
    expect(Math.abs(idealNatsPerByte / entropyPerByte - 1)).toBeLessThan(0.01);
    expect(unigramEntropy(text)).toBeGreaterThan(4 * entropyPerByte);
  });
});

test.each([
  ['carry', 'carries'],
  ['watch', 'watches'],
  ['push', 'pushes'],
  ['see', 'sees'],
  ['hurry', 'hurries'],
])('%s: %s', (verb, expected) => {
  expect(thirdPerson(verb)).toBe(expected);
});

test('numbers and articles', () => {
  expect([0, 7, 13, 20, 42, 99].map(inWords)).toEqual([
    'zero',
    'seven',
    'thirteen',
    'twenty',
    'forty-two',
    'ninety-nine',
  ]);
  expect(['old', 'boat', 'island'].map(article)).toEqual(['an', 'a', 'an']);
});
