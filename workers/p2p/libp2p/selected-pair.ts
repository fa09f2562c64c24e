/** Whether a connection goes through a TURN server, from the statistics of its RTCPeerConnection. */
import type { Connection } from '@libp2p/interface';

/** libp2p keeps it to itself; without it nothing is known, and a connection counts as direct. */
function peerConnectionOf(connection: Connection): RTCPeerConnection | null {
  const { muxer } = connection as unknown as { muxer?: { peerConnection?: RTCPeerConnection } };
  return muxer?.peerConnection ?? null;
}

interface Entry {
  type?: string;
  selectedCandidatePairId?: string;
  localCandidateId?: string;
  remoteCandidateId?: string;
  candidateType?: string;
}

export async function isRelayed(connection: Connection): Promise<boolean> {
  const report = await peerConnectionOf(connection)
    ?.getStats()
    .catch(() => null);
  if (!report) return false;
  const entries = new Map<string, Entry>();
  report.forEach((entry: Entry, id: string) => entries.set(id, entry));
  const transport = [...entries.values()].find(({ type }) => type === 'transport');
  const pair = entries.get(transport?.selectedCandidatePairId ?? '');
  const ends = [pair?.localCandidateId, pair?.remoteCandidateId].map((id) => entries.get(id ?? ''));
  return ends.some((end) => end?.candidateType === 'relay');
}
