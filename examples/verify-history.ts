/** Believes nothing: computes a coordinator's ledger anew and follows a checkpoint back to its data. `node examples/verify-history.ts URL [CHECKPOINT]` */
import { sha256 } from '@noble/hashes/sha2.js';
import { encodeCanonical } from '#protocol/codec/cbor.ts';
import { cborCode, cidOfSync } from '#protocol/codec/cid.ts';
import { createClient } from '#protocol/http/client.ts';
import { rewardLeaf, verifyProof } from '#protocol/merkle.ts';
import { decodeResult, decodeWorkunit } from '#protocol/messages/workunit.ts';
import { toHex } from '#protocol/messages/hex.ts';

const base = process.argv[2] ?? 'http://127.0.0.1:4400';
const client = createClient({ base });
const check = (holds: boolean, what: string) => {
  if (!holds) throw new Error(`This is not so: ${what}.`);
};

// Every transfer's hash covers the one before, and all balances together are zero.
const balances = new Map<string, bigint>();
let [seq, hash, tipSeq] = [0, `0x${'00'.repeat(32)}`, 1];
while (seq < tipSeq) {
  const { transfers, tip } = await client.call('ledger', { query: { after: String(seq), limit: '200' } });
  for (const { hash: given, ...columns } of transfers) {
    hash = toHex(sha256(encodeCanonical({ previous: hash, ...columns })));
    check(columns.seq === ++seq && hash === given, `transfer ${seq} follows from those before`);
    const { debit, credit, amount } = columns;
    balances.set(debit, (balances.get(debit) ?? 0n) - BigInt(amount));
    balances.set(credit, (balances.get(credit) ?? 0n) + BigInt(amount));
  }
  tipSeq = transfers.length > 0 ? tip.seq : seq;
}
check([...balances.values()].reduce((sum, balance) => sum + balance, 0n) === 0n, 'the ledger balances');
check(
  [...balances].every(([id, balance]) => balance >= 0n || id === 'issued'),
  'nobody is overdrawn',
);
console.log(`${seq} transfers, ${balances.size} accounts`);

// Every reward proves itself against the root of the last round.
const contributors = [...balances.keys()].flatMap((id) => /^credit:(.*)/.exec(id)?.[1] ?? []);
for (const address of contributors) {
  const response = await client.send('reward', { params: { address } });
  if (!response.ok) continue;
  const { contributor, amount, root, siblings } = await client.call('reward', { params: { address } });
  check(verifyProof(root, rewardLeaf(contributor, BigInt(amount)), siblings), `the reward of ${address}`);
}

// Every document is what its name says, and each names what it was made of.
async function documentOf(cid: string) {
  const bytes = new Uint8Array(await (await client.send('block', { params: { cid } })).arrayBuffer());
  check(cidOfSync(bytes, cborCode) === cid, `${cid} is the name of its bytes`);
  return bytes;
}
const inputsOf = async (unit: string) => decodeWorkunit(await documentOf(unit)).inputs;
const outputsOf = async (digest: string) => decodeResult(await documentOf(digest)).outputs;
const [job] = (await client.call('jobs', {})).jobs;
const newest = job && (await client.call('job', { params: { id: job.id } })).rounds.at(-1)?.checkpoint;
let [rounds, next] = [0, (process.argv[3] ?? newest ?? null) as string | null];
while (next !== null) {
  const page = await client.call('lineage', { params: { checkpoint: next } });
  let expected = next;
  for (const { checkpoint, parent, outer, lanes } of page.rounds) {
    const inputs = await inputsOf(outer.unit);
    const made = outer.overturned ? checkpoint : (await outputsOf(outer.digest as string))['checkpoint'];
    check(made === checkpoint, `${checkpoint} is what was accepted`);
    check(
      checkpoint === expected && inputs['checkpoint'] === parent,
      `${checkpoint} was made from ${parent}`,
    );
    for (const { lane, unit, update, tokens } of lanes) {
      const read = await inputsOf(unit);
      check(
        inputs[`update${lane}`] === update && read['checkpoint'] === parent,
        `lane ${lane} of ${checkpoint}`,
      );
      check(read['tokens'] === tokens, `the data of lane ${lane} of ${checkpoint}`);
    }
    [expected, rounds] = [parent, rounds + 1];
  }
  const { origin, timesConsumed } = page.data;
  console.log(
    `${page.name}: ${origin?.source ?? 'of unknown origin'}, consumed ${timesConsumed.toFixed(2)} times`,
  );
  next = page.next;
}
console.log(`${rounds} rounds`);
