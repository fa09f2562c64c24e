/**
 * The parts of what is recorded that reach their tables late, and which of them a statement has to do with: only those are brought up to date for
 * it. Goes by the names in its text, so it finds a part too many at worst.
 */
import type { TableName } from '../../record/rows.ts';

/** `effects`: blocks of outputs, and which of them may be served. */
export type Part = TableName | 'transfers' | 'effects';

export const allParts: readonly Part[] = [
  ...(['units', 'replicas', 'contributors', 'devices', 'accounts'] as const),
  ...(['transfers', 'effects'] as const),
];

export interface Concerned {
  parts: readonly Part[];
  /** It is more than a question. */
  writes: boolean;
}

const names = /\b(?:units|replicas|contributors|devices|accounts|transfers|outputs|blocks)\b/g;

export function partsOf(text: string): Concerned {
  const found = new Set<Part>();
  for (const [name] of text.matchAll(names)) {
    found.add(name === 'outputs' || name === 'blocks' ? 'effects' : (name as Part));
  }
  return { parts: [...found], writes: !/^\s*select\b/i.test(text) };
}
