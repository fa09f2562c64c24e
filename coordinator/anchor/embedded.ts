/** The anchor port over the embedded chain: what `npm start` uses when no RPC URL is given. */
import { type AnvilState, anvilKey, startAnvil } from './anvil.ts';
import { openEvmAnchor, type RecordedContract } from './evm.ts';
import type { Anchor } from './port.ts';

export interface EmbeddedOptions {
  /** A directory for the chain alone. */
  dir: string;
  recorded: RecordedContract | null;
  port?: number;
}

export interface EmbeddedAnchor extends Anchor {
  /** Other than `kept`: rounds that were anchored are missing, so reconcile. After a hard kill they can be missing with `kept` too. */
  readonly state: AnvilState;
  /** Settles when the chain has ended, asked or not. */
  readonly ended: Promise<void>;
}

/** Starts the chain and opens (or deploys) the contract. `close` stops the chain. Throws as `startAnvil` and `openEvmAnchor` do. */
export async function openEmbeddedAnchor(
  options: EmbeddedOptions,
  signal?: AbortSignal,
): Promise<EmbeddedAnchor> {
  const { dir, recorded, port = 0 } = options;
  const anvil = await startAnvil({ dir, port }, signal);
  try {
    const { rpcUrl, state, ended } = anvil;
    const anchor = await openEvmAnchor({ rpcUrl, privateKey: anvilKey, recorded, devChain: true }, signal);
    const close = async () => {
      await anchor.close();
      await anvil.stop();
    };
    return { ...anchor, state, ended, close };
  } catch (error) {
    await anvil.stop();
    throw error;
  }
}
