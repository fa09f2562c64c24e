/**
 * API answers for the browser tests, built to the real schemas: a job of four lanes whose loss falls towards a known entropy.
 * Deterministic; nothing here is read by the page itself.
 */
import { cborCode, cidOfSync, rawCode } from '#protocol/codec/cid.ts';
import type { ContributorInfo, JobList, JobStatus, NetworkInfo, RoundSummary } from '#protocol/http/api.ts';
import type { Hex } from 'viem';

const bytesOf = (text: string) => new TextEncoder().encode(text);
export const cidOf = (name: string, code = cborCode) => cidOfSync(bytesOf(name), code);
const hex = (name: string, digits: number) =>
  `0x${[...bytesOf(name.repeat(40))]
    .map((byte) => (byte * 7 + 5) % 16)
    .map((digit) => digit.toString(16))
    .join('')
    .slice(0, digits)}` as Hex;

export const contributorAddress = hex('contributor a1', 40);
export const jobCid = cidOf('job');

export const network: NetworkInfo = {
  network: hex('network', 64),
  version: '0.1.0',
  chain: { chainId: 31_337, rpcUrl: 'http://127.0.0.1:8545', contract: hex('contract', 40) },
  contributorsOnline: 3,
};

const unigramEntropy = 3.127;
const sourceEntropy = 1.196;

/** Falls fast, then slowly, with a little unevenness that is the same every time. */
export function lossAfter(round: number): number {
  const fall = 1.31 + 3.1 / (1 + round * 0.55) + 0.9 * Math.exp(-round / 5);
  return fall + Math.sin(round * 2.3) * 0.02;
}

export function makeRound(round: number, anchored = true): RoundSummary {
  return {
    round,
    loss: lossAfter(round),
    trainLoss: lossAfter(round - 0.6) + 0.02,
    checkpoint: cidOf(`checkpoint ${round}`),
    lanes: 4,
    tokens: 51_200,
    seconds: 41.3 + Math.sin(round) * 6,
    tokensPerSecond: 1240 + Math.sin(round) * 160,
    contributors: 3,
    unitsAccepted: 6,
    unitsSplit: round % 5 === 0 ? 1 : 0,
    replicasUsed: 12,
    anchor: anchored
      ? { root: hex(`root ${round}`, 64), tx: hex(`tx ${round * 31}`, 64), blockNumber: 12 + round }
      : null,
  };
}

type Unit = JobStatus['units'][number];

export function makeUnit(round: number, lane: number | null, state: Unit['state'], progress: number): Unit {
  const program = lane === null ? 'train.outer@1' : 'train.steps@1+i10sr';
  const replicas = state === 'ready' ? 0 : state === 'split' ? 3 : 2;
  return { unit: cidOf(`unit ${round} ${lane}`), program, round, lane, state, replicas, progress };
}

export function makeStatus(closed: number): JobStatus {
  const rounds = Array.from({ length: closed }, (_, index) =>
    makeRound(index + 1, index + 1 < closed || closed < 2),
  );
  const round = closed + 1;
  return {
    id: jobCid,
    name: 'generated sentences',
    model: { L: 4, C: 128, NH: 4, T: 64, V: 256 },
    parameters: 829_824,
    policy: 'i10sr',
    lanes: 4,
    stepsPerRound: 25,
    batch: 8,
    state: 'running',
    round,
    lossFirst: closed > 0 ? 5.541 : null,
    lossLast: closed > 0 ? lossAfter(closed) : null,
    unigramEntropy,
    sourceEntropy,
    checkpoint: closed > 0 ? cidOf(`checkpoint ${closed}`) : null,
    unitsAccepted: closed * 6 + 1,
    unitsSplit: Math.floor(closed / 5),
    replicasUsed: closed * 12 + 5,
    units: [
      makeUnit(round, 0, 'accepted', 1),
      makeUnit(round, 1, 'leased', 0.64),
      makeUnit(round, 2, 'revealing', 1),
      makeUnit(round, 3, closed === 0 ? 'ready' : 'split', closed === 0 ? 0 : 0.4),
    ],
    rounds,
  };
}

export function listOf(status: JobStatus | null): JobList {
  if (!status) return { jobs: [] };
  const { id, name, state, round, lossLast } = status;
  return { jobs: [{ id, name, state, round, lossLast }] };
}

export const contributor: ContributorInfo = {
  contributor: contributorAddress,
  online: true,
  agreed: 17,
  rejected: 0,
  credit: 61_870_000_000,
};

export const blockCid = cidOf('block', rawCode);
