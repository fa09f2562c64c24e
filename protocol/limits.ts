/**
 * A limit on everything that comes from outside or waits. Sizes in bytes, times in milliseconds.
 * Borders check these before they parse.
 */
export const limits = {
  /** One raw block; IPFS clients refuse more than 2 MiB. */
  blockBytesMax: 1 << 20,
  /** One WebSocket frame: a block and its envelope. */
  frameBytesMax: (1 << 20) + 4096,
  /** A canonical CBOR document that is hashed or signed (workunit, result, manifest). */
  documentBytesMax: 1 << 20,
  documentDepthMax: 16,
  /** Blocks in one file (4 GiB of 1 MiB blocks). */
  fileBlocksMax: 4096,
  workunitInputsMax: 64,
  resultOutputsMax: 16,
  /** CIDs asked for in one `pull` frame. */
  pullCidsMax: 64,
  textBytesMax: 256 << 20,
  labelCharsMax: 120,
  reasonCharsMax: 300,
  programsMax: 64,
  /** Checkpoints that an `ask` may say are at hand. */
  holdsMax: 8,
  /** Roots that a `swarm` frame may say are held, or wanted. */
  swarmRootsMax: 32,
  /** Neighbours of one peer in the exchange of blocks. */
  neighboursMax: 8,
  peerAddressesMax: 8,
  peerAddressCharsMax: 300,
  /** Rounds that a contributor may catch up on by their updates; with more the checkpoint is cheaper. */
  syncRoundsMax: 7,

  /** Hello must follow the challenge within this time. */
  helloMsMax: 15_000,
  /** Blocks of a winning result must arrive within this time of the pull. */
  pullMsMax: 60_000,
  revealMsMax: 30_000,
  leaseMsMin: 15_000,
  leaseMsMax: 15 * 60_000,
  idleRetryMs: 500,
  pingMs: 15_000,
  reconnectMsMin: 250,
  reconnectMsMax: 15_000,

  // The contributor's own limits.
  /** A connection must be open within this time. */
  connectMsMax: 15_000,
  /** A frame that asks for an answer must see some frame within this time, or the connection counts as dead. */
  answerMsMax: 30_000,
  /** Frames that cannot be read before the connection is given up. */
  badFramesMax: 8,
  /** Longest wait that an `idle` frame may impose; the shortest keeps a zero from becoming a busy loop. */
  idleRetryMsMin: 100,
  idleRetryMsMax: 60_000,
  blockFetchMsMax: 30_000,
  blockFetchTriesMax: 4,
  /** Memory cache of blocks; half of it may be held by results that are not settled. */
  cacheBytesMax: 256 << 20,
  /** Blocks kept on disk beyond a session, unless told otherwise. */
  keptBytesMax: 1 << 30,
  /** Blocks that wait to be written; a download waits beyond. */
  keptQueueBytesMax: 32 << 20,
  /** What is written down of when blocks were used. */
  keptNotesCharsMax: 8 << 20,
  /** Blocks of settled results that are still served while the cache has them. */
  publishedBlocksMax: 4096,
  /** A computed unit is forgotten after so long a time with a coordinator that says nothing of it. */
  pendingMsMax: 60 * 60_000,
  /** Computed units of earlier lives, of any network, that are kept on disk; the oldest go beyond. */
  keptReplicasMax: 64,
  /** A clock that is so far from the coordinator's is worth a warning. */
  clockSkewMsMax: 60_000,
  /** Units that may fail one after the other before the contributor stops itself. */
  unitFailuresMax: 3,
  /** Views and `progress` frames are not sent more often than this. */
  viewMsMin: 250,
  progressMsMin: 1_000,
  /** Time given to a polite goodbye. */
  stopMsMax: 3_000,

  /** Replicas of one unit before it is given up. */
  replicasMax: 9,
  /** Leases one contributor may hold computed but not settled. */
  leasesPerContributorMax: 8,
  /** Unanswered frames a connection may queue before it is closed. */
  sendQueueBytesMax: 16 << 20,
  connectionsMax: 100_000,
  sseClientsMax: 1_000,
  eventsReplayMax: 1_000,
  pageSizeMax: 200,

  /** Operations that wait for the database; beyond that it is behind, and says so. */
  operationsQueueMax: 100_000,

  // Between coordinator processes.
  /** Messages that wait to be sent; the oldest are dropped beyond. */
  busQueueMax: 20_000,
  busBatchBytesMax: 512 << 10,
  /** Contributors or units named by one message. */
  busListMax: 1_000,
  // Between contributors.
  /** One frame of the shard stream: a block and its header. */
  shardFrameBytesMax: (1 << 20) + 4096,
  /** Bytes of a block in one frame: a MiB in 17 even parts, each with its headers within one message of 64 KiB. */
  shardPartBytesMax: 61_696,
  /** Bytes of a block that one request asks for. */
  shardSegmentBytesMax: 256 << 10,
  /** Bytes asked of one peer that have not arrived: WebRTC has no read backpressure. */
  shardWindowBytesMax: 1 << 20,
  /** Blocks of one file as peers name it: a checkpoint's four lists together. */
  shardFileBlocksMax: 4 * 4096,
  /** Blocks named by one HAVE, PEND or GONE. */
  shardIndicesMax: 1024,
  /** Files known at a time. */
  shardFilesMax: 512,
  /** Frames other than blocks that a peer may send: so many at once, and so many a second. */
  shardFrameBurstMax: 5_000,
  shardFramesPerSecondMax: 500,
  /** Bytes of a peer's origin fetches that others wait for, and how long. */
  shardPendsMax: 8,
  shardPendMsMax: 5_000,
  /** A peer that was asked and sends nothing for so long has stalled. */
  shardStallMsMax: 5_000,
  /** Contributors that are not spoken to any more in this session. */
  shardBansMax: 10_000,
  /** A signed peer record. */
  peerRecordBytesMax: 512,
  /** How far in the future a peer record may end. */
  peerRecordMsMax: 24 * 60 * 60_000,
  /** Records of both sides must have been exchanged within this time of a stream's opening. */
  peerHelloMsMax: 10_000,
  /** One try to reach a peer, and how many tries. */
  peerDialMsMax: 10_000,
  peerDialTriesMax: 3,
  /** Links of one contributor, whoever dialled. */
  peerLinksMax: 32,
  /** Frames that a peer may send at once, and a second from then on. */
  shardFramesBurst: 8_192,
  shardFramesPerSecond: 2_048,
  /** Bytes that a data channel is filled with at once; it is filled again when half of them are gone. */
  linkBufferBytes: 4 << 20,
  /** Bytes that wait to be sent to, or read from, one peer before the link is given up. */
  linkQueueBytesMax: 8 << 20,
  linkReadBytesMax: 4 << 20,
  /** RTCPeerConnections that one page may have, closed ones that are still in memory included; Chromium refuses the 501st. */
  peerConnectionsMax: 450,
  /** WebSockets to the relay, in all and from one address. */
  relayConnectionsMax: 2_000,
  relayConnectionsPerAddressMax: 256,
  /** How long credentials for a TURN server hold. */
  turnCredentialMs: 60 * 60_000,

  // Blocks over HTTP (`/ipfs`).
  /** How long others of a swarm wait for the peer that fetches a block, and how soon they may ask again. */
  originLeaseMs: 5_000,
  originLeaseRetryMs: 400,
  originLeasesMax: 100_000,
  /** Archives (CAR) sent at the same time; blocks in one, and how deep their links may go. */
  carStreamsMax: 64,
  carBlocksMax: 1 << 16,
  carDepthMax: 32,
  /** An archive whose reader takes nothing for this time ends. */
  carIdleMsMax: 60_000,
  // What a client may ask of the coordinator over HTTP.
  /** A JSON body. */
  requestBytesMax: 64 << 10,
  /** One file to train on. */
  uploadBytesMax: 64 << 20,
  /** Parameters of a model that a client may have trained: the coordinator makes its first checkpoint. */
  clientParametersMax: 64 << 20,
  /** Jobs of one owner that are worked on at the same time, and of all owners together. */
  jobsPerOwnerMax: 4,
  jobsMax: 64,
  keysPerOwnerMax: 20,
} as const;
