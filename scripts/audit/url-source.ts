/** Evidence from a coordinator over HTTP: its unit records, its blocks, and the chain it names (or one the auditor trusts more). */
import * as v from 'valibot';
import type { Cid } from '#protocol/codec/cid.ts';
import { AtollError, fromProblem, problemSchema } from '#protocol/errors.ts';
import { networkSchema, routePath, routes, unitSchema } from '#protocol/http/api.ts';
import { httpBlocks } from '#workers/transport/http-blocks.ts';
import type { AuditSource } from './source.ts';

export function urlSource(url: string): AuditSource {
  const base = url.replace(/\/$/, '');
  const blocks = httpBlocks(base);
  const never = new AbortController().signal;
  const ask = async <S extends v.GenericSchema>(schema: S, path: string, signal?: AbortSignal) => {
    let response: Response;
    try {
      response = await fetch(base + path, {
        signal: signal ?? null,
        headers: { accept: 'application/json' },
      });
    } catch (cause) {
      throw new AtollError('unavailable', `No coordinator answers at ${base}. Check --url.`, { cause });
    }
    const body: unknown = await response.json().catch(() => null);
    if (response.ok && v.is(schema, body)) return body as v.InferOutput<S>;
    if (v.is(problemSchema, body)) throw fromProblem(body);
    throw new AtollError('unavailable', `What answers at ${base} is not an Atoll coordinator. Check --url.`);
  };
  return {
    unit: (cid: Cid, signal) => ask(unitSchema, routePath(routes.unit, cid), signal),
    units: async () => {
      throw new AtollError('bad_config', 'Over HTTP name the units to audit; --all needs --data-dir.');
    },
    block: (cid, signal = never) => blocks.fetch(cid, signal),
    chain: async (signal) => {
      const { chain } = await ask(networkSchema, routes.network, signal);
      if (!chain) return { reason: 'this network runs without a chain' };
      const { rpcUrl, contract, fromBlock } = chain;
      return { rpcUrl, contract, ...(fromBlock === undefined ? {} : { fromBlock }) };
    },
    close: async () => undefined,
  };
}
