/** What somebody may have meant: the known word with the fewest slips (a letter missing, added, changed, or two swapped) from a given one. */

/** Null when nothing is near: more than a third of the letters would have to change. */
export function nearest(word: string, known: readonly string[]): string | null {
  let best: { name: string; slips: number } | null = null;
  const given = word.slice(0, 60).toLowerCase();
  for (const name of known) {
    const slips = name.startsWith(given) && given.length > 2 ? 1 : slipsBetween(given, name.toLowerCase());
    if (slips <= Math.max(1, Math.ceil(name.length / 3)) && (!best || slips < best.slips))
      best = { name, slips };
  }
  return best?.name ?? null;
}

/** The optimal string alignment distance. */
function slipsBetween(a: string, b: string): number {
  const rows = Array.from({ length: a.length + 1 }, (_, i) =>
    Array.from({ length: b.length + 1 }, (_, j) => (i === 0 ? j : j === 0 ? i : 0)),
  );
  const at = (i: number, j: number) => rows[i]?.[j] ?? Infinity;
  for (let i = 1; i <= a.length; i++) {
    for (let j = 1; j <= b.length; j++) {
      const isSame = a[i - 1] === b[j - 1];
      const isSwapped = a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const slips = [at(i - 1, j) + 1, at(i, j - 1) + 1, at(i - 1, j - 1) + (isSame ? 0 : 1)];
      if (isSwapped) slips.push(at(i - 2, j - 2) + 1);
      (rows[i] as number[])[j] = Math.min(...slips);
    }
  }
  return at(a.length, b.length);
}

/** ` Did you mean X?`, or nothing. */
export function hint(word: string, known: readonly string[], show: (name: string) => string): string {
  const found = nearest(word, known);
  return found === null ? '' : ` Did you mean ${show(found)}?`;
}
