/** The way from one checkpoint to another: found back to what is held, as far as it is worth it, and nothing else. */
import { describe, expect, it } from 'vitest';
import { limits } from '#protocol/limits.ts';
import { UpdateChain } from './update-chain.ts';

const outer = { steps: 25, outerLr: 1, outerMomentum: 2 };

function chainOf(rounds: number): UpdateChain {
  const chain = new UpdateChain();
  for (let r = 1; r <= rounds; r++) {
    const packed = r % 2 === 0 ? { packed: `p${r}` } : {};
    chain.note({ checkpoint: `c${r}`, from: `c${r - 1}`, update: `u${r}`, ...packed, ...outer });
  }
  return chain;
}

describe('the chain of updates', () => {
  it('leads from the nearest checkpoint that is held, oldest update first', () => {
    const updates = [{ update: 'u4', packed: 'p4' }, { update: 'u5' }];
    expect(chainOf(6).hint(['c1', 'c3'], 'c5')).toEqual({ from: 'c3', updates, ...outer });
  });

  it('is not told where it is not needed, not known, or too long', () => {
    const chain = chainOf(20);
    expect(chain.hint(['c5'], 'c5')).toBeUndefined();
    expect(chain.hint([], 'c5')).toBeUndefined();
    expect(chain.hint(['c6'], 'c5')).toBeUndefined();
    expect(chain.hint(['c3'], 'another')).toBeUndefined();
    expect(chain.hint(['c1'], `c${1 + limits.syncRoundsMax}`)?.updates).toHaveLength(limits.syncRoundsMax);
    expect(chain.hint(['c1'], `c${2 + limits.syncRoundsMax}`)).toBeUndefined();
  });

  it('ends where the outer parameters were others', () => {
    const chain = chainOf(3);
    chain.note({ checkpoint: 'c4', from: 'c3', update: 'u4', ...outer, outerLr: 7 });
    expect(chain.hint(['c2'], 'c4')).toBeUndefined();
    expect(chain.hint(['c3'], 'c4')?.outerLr).toBe(7);
  });
});
