/**
 * The text that a network trains on when no file is given: deterministic, English-like, about as large as asked, and with a known limit.
 *
 * Passages are drawn independently from one grammar (english.ts). The text can be cut into passages in one way (each ends with its only newline) and a
 * passage can be made in one way, so the text's entropy is that of the choices, and per byte it is
 *     H(passage) / E[bytes of a passage]
 * by the law of large numbers. No model can have a lower held-out loss in the long run; one that reaches it has learnt the grammar.
 * A corpus of another seed has the same limit.
 */
import { createDice } from './dice.ts';
import { passage } from './english.ts';
import { emit, measure } from './grammar.ts';

export interface Corpus {
  /** ASCII, at least `bytes` long, ending with a whole passage. */
  text: Uint8Array;
  /** True entropy of the source, nats per byte. */
  entropyPerByte: number;
  /** -ln of this text's probability under the grammar, per byte: near `entropyPerByte`, the nearer the longer the text. */
  idealNatsPerByte: number;
}

export function generateCorpus({ bytes, seed }: { bytes: number; seed: number }): Corpus {
  const dice = createDice(seed);
  const parts: string[] = [];
  let length = 0;
  let nats = 0;
  while (length < bytes) {
    const from = parts.length;
    nats += emit(passage, dice, parts);
    for (let i = from; i < parts.length; i++) length += (parts[i] as string).length;
  }
  const { entropy, bytes: meanBytes } = measure(passage);
  const text = new TextEncoder().encode(parts.join(''));
  return { text, entropyPerByte: entropy / meanBytes, idealNatsPerByte: nats / length };
}
