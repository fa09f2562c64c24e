/** A commitment that is sent again over another connection: answered as before while its verdict is to come, and told to be over afterwards. */
import { expect, test } from 'vitest';
import { testJob, testText } from '../testing/fake-programs.ts';
import { testContributor, testCoordinator } from '../testing/harness.ts';

/** Of a contributor's next life with the same key, which asks for nothing. */
const idle = { onLease: async () => false, onOpen: async () => false };

test('a commitment of an earlier life is taken up while it is open, and is over once it is settled', async () => {
  const coordinator = await testCoordinator();
  const key = `0x${'61'.repeat(32)}` as const;
  const first = testContributor(coordinator, { onOpen: async () => false }, key).start();
  await coordinator.ensureJob(testJob(), testText(), { stopAfterRounds: 1 });
  const { assignment } = await first.frame('committed');
  const held = first.held.get(assignment);
  first.stop();
  if (!held) throw new Error('It was committed to.');
  const next = testContributor(coordinator, idle, key).start();
  await next.frame('welcome');
  await next.sendCommit(assignment, held.commitment);
  await next.frame('committed', (frame) => frame.assignment === assignment);
  testContributor(coordinator).start();
  await next.frame('open', (frame) => frame.assignment === assignment);
  for (const [cid, bytes] of first.blocks.map) next.blocks.map.set(cid, bytes);
  await next.sendReveal(held);
  await next.frame('verdict', (frame) => frame.assignment === assignment);
  next.stop();
  const last = testContributor(coordinator, idle, key).start();
  await last.frame('welcome');
  await last.sendCommit(assignment, held.commitment);
  const problem = await last.frame('problem', (frame) => frame.assignment === assignment);
  expect(problem.problem).toMatchObject({ code: 'stale_lease', detail: expect.stringContaining('agreed') });
});
