/**
 * `npm run audit -- UNIT... | --all`: recomputes accepted units from their inputs and holds them against the chain. Trusts nobody but the code
 * it runs and, for the chain, the RPC node it asks.
 *
 * Exit codes: 0 all confirmed, 1 something refuted, 2 something could not be checked (a missing block, no chain, a wrong option).
 */
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { chooseDevice, type Device, probeDigest, runProbe } from '#kernels/index.ts';
import { isCid } from '#protocol/codec/cid.ts';
import { AtollError, codeOf } from '#protocol/errors.ts';
import { type AuditContext, auditUnit, type Outcome, type UnitAudit } from './audit/audit-unit.ts';
import { ensureWasm } from './build-wasm.ts';
import { dataDirSource } from './audit/data-dir-source.ts';
import type { AuditSource } from './audit/source.ts';
import { urlSource } from './audit/url-source.ts';

const help = `npm run audit -- UNIT... [options]
npm run audit -- --all [options]

Recomputes accepted workunits from their inputs, compares the digests, and verifies that the result is the one
whose round is anchored on the chain. UNIT is a workunit's CID, as the page and /v1/jobs show it.

  --all             every accepted unit of every closed round (with --data-dir)
  --data-dir DIR    evidence from a network's folder, running or stopped [.data]
  --url URL         evidence from a coordinator over HTTP instead
  --rpc URL         ask this node about the chain, rather than the one the network names
  --backend NAME    what recomputes: wasm (WebAssembly, on the cores but one) or reference (TypeScript, to be read; ten times slower) [wasm]
  --json            one line of JSON on stdout; everything else goes to stderr

Exit codes: 0 all confirmed, 1 something refuted, 2 something could not be checked.`;

interface Options {
  help: boolean;
  all: boolean;
  json: boolean;
  units: string[];
  dataDir: string;
  url: string | undefined;
  rpcUrl: string | undefined;
  backend: 'wasm' | 'reference';
}

function parse(argv: string[], env: NodeJS.ProcessEnv): Options {
  const base = env['INIT_CWD'] ?? process.cwd();
  let parsed;
  try {
    parsed = parseArgs({
      args: argv,
      allowPositionals: true,
      options: {
        all: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
        'data-dir': { type: 'string', default: env['ATOLL_DATA_DIR'] ?? '.data' },
        url: { type: 'string' },
        rpc: { type: 'string' },
        backend: { type: 'string', default: env['ATOLL_BACKEND'] ?? 'wasm' },
      },
    });
  } catch (cause) {
    throw new AtollError(
      'bad_config',
      `${(cause as Error).message} \`npm run audit -- --help\` lists the options.`,
    );
  }
  const { values, positionals } = parsed;
  const odd = positionals.find((text) => !isCid(text));
  if (odd !== undefined) throw new AtollError('bad_config', `"${odd}" is no CID of a unit.`);
  if (!values.help && values.all === positionals.length > 0) {
    throw new AtollError(
      'bad_config',
      'Name units to audit, or give --all. `npm run audit -- --help` says more.',
    );
  }
  return {
    help: values.help,
    all: values.all,
    json: values.json,
    units: positionals,
    dataDir: path.resolve(base, values['data-dir']),
    url: values.url,
    rpcUrl: values.rpc,
    backend: parseBackend(values.backend),
  };
}

function parseBackend(text: string): Options['backend'] {
  if (text === 'wasm' || text === 'reference') return text;
  throw new AtollError('bad_config', `--backend takes wasm or reference, not "${text}".`);
}

const words: Record<Outcome, string> = { confirmed: 'yes', refuted: 'NO', unchecked: 'unknown' };

function print(audit: UnitAudit, say: (line: string) => void): void {
  const place = audit.round === null ? '' : `, round ${audit.round} of ${audit.job}`;
  say(`unit ${audit.unit}${audit.program ? ` (${audit.program}${place})` : ''}`);
  for (const { outcome, says } of audit.findings) say(`  ${words[outcome].padEnd(8)}${says}`);
  say(`  ${audit.outcome.toUpperCase()}`);
}

/** A device that has shown itself to compute the reference's bits. */
async function openDevice(backend: Options['backend'], signal: AbortSignal): Promise<Device> {
  if (backend === 'wasm') await ensureWasm();
  const threads = Math.max(1, Math.min(8, availableParallelism() - 1));
  const { device } = await chooseDevice(backend, { threads, signal });
  if ((await runProbe(device)) === probeDigest) return device;
  device.destroy();
  throw new AtollError(
    'nonconforming',
    `${device.info.label} gives other bits than the reference here, so it can check nothing. Use --backend reference.`,
  );
}

async function run(options: Options, signal: AbortSignal): Promise<number> {
  const say = (line: string) => void (options.json ? process.stderr : process.stdout).write(`${line}\n`);
  const source: AuditSource = options.url ? urlSource(options.url) : await dataDirSource(options.dataDir);
  let device: Device | null = null;
  try {
    const units = options.all ? await source.units(signal) : options.units;
    device = await openDevice(options.backend, signal);
    const context: AuditContext = {
      source,
      device,
      signal,
      verdicts: new Map(),
      ...(options.rpcUrl ? { rpcUrl: options.rpcUrl } : {}),
    };
    const audits: UnitAudit[] = [];
    for (const unit of units) {
      const audit = await auditUnit(unit, context);
      print(audit, say);
      audits.push(audit);
    }
    const count = (outcome: Outcome) => audits.filter((audit) => audit.outcome === outcome).length;
    const counts = {
      confirmed: count('confirmed'),
      refuted: count('refuted'),
      unchecked: count('unchecked'),
    };
    if (audits.length === 0) say('No round is closed yet, so there is nothing to audit.');
    say(`${counts.confirmed} confirmed, ${counts.refuted} refuted, ${counts.unchecked} not checked`);
    if (options.json) process.stdout.write(`${JSON.stringify({ ...counts, units: audits })}\n`);
    if (counts.refuted > 0) return 1;
    return counts.unchecked > 0 || audits.length === 0 ? 2 : 0;
  } finally {
    device?.destroy();
    await source.close();
  }
}

async function main(): Promise<number> {
  const stopping = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stopping.abort());
  try {
    const options = parse(process.argv.slice(2), process.env);
    if (!options.help) return await run(options, stopping.signal);
    console.log(help);
    return 0;
  } catch (error) {
    if (stopping.signal.aborted) return 130;
    const expected = error instanceof AtollError && codeOf(error) !== 'internal';
    process.stderr.write(`atoll: ${expected ? error.message : (error as Error).stack}\n`);
    return 2;
  }
}

process.exit(await main());
