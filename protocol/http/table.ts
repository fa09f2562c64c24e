/**
 * The route table of `/v1`: every endpoint once. From it come the server's checks, the OpenAPI document, `/docs` and the typed client.
 *
 * The page loads `api.ts` only; this file is for the server and for tools.
 */
import * as v from 'valibot';
import { cidSchema } from '../codec/cid.ts';
import { limits } from '../limits.ts';
import {
  anyAddressSchema,
  fileInfoSchema,
  keyListSchema,
  linkSchema,
  madeKeySchema,
  newJobSchema,
  newKeySchema,
  newLinkSchema,
  signInRequestSchema,
  signInSchema,
  startedJobSchema,
} from './accounts.ts';
import {
  contributorSchema,
  jobEventSchema,
  jobListSchema,
  jobStatusSchema,
  networkSchema,
  roundListSchema,
  routes,
  unitSchema,
} from './api.ts';
import { endpoint, type Endpoint, pageQuery } from './endpoint.ts';
import { gatewayQuery, probeCid } from './gateway.ts';
import { ledgerEndpoints } from './ledger-table.ts';
import { iceSchema } from './p2p.ts';
import {
  consensusSchema,
  decisionListSchema,
  deltaListSchema,
  figuresSchema,
  peerListSchema,
  walletSchema,
} from './records.ts';

const json = <S extends v.GenericSchema, const N extends 200 | 201 = 200>(schema: S, status?: N) => ({
  type: 'json' as const,
  schema,
  status: (status ?? 200) as N,
});
const body = <S extends v.GenericSchema>(schema: S) => ({
  type: 'json' as const,
  schema,
  bytesMax: limits.requestBytesMax,
});
const open = { auth: 'none', bucket: 'read', method: 'GET' } as const;
/** The newest job unless one is named. */
const jobQuery = v.optional(cidSchema);
const statusSchema = v.object({ status: v.string() });

export const endpoints = {
  network: endpoint({
    ...open,
    path: routes.network,
    tag: 'network',
    summary: 'The network: its id, its chain, and how many contribute now',
    answer: json(networkSchema),
    errors: [],
  }),
  jobs: endpoint({
    ...open,
    path: routes.jobs,
    tag: 'jobs',
    summary: 'All jobs, newest first',
    query: v.object(pageQuery),
    answer: json(jobListSchema),
    errors: [],
  }),
  ice: endpoint({
    ...open,
    path: routes.ice,
    tag: 'network',
    summary: 'How contributors reach each other: the relay, and ICE servers with short-lived credentials',
    description:
      "Credentials for TURN are those of coturn's REST scheme: they end after an hour, and one address always gets the same user name.",
    answer: json(iceSchema),
    errors: [],
  }),
  startJob: endpoint({
    method: 'POST',
    path: routes.jobs,
    tag: 'jobs',
    auth: 'key',
    bucket: 'write',
    summary: 'Start a training job',
    description:
      'The text is a file stored before. Equal jobs have equal ids: starting one again goes on with it. What is trained is public: anybody can read the text of a job.',
    body: body(newJobSchema),
    answer: json(startedJobSchema, 201),
    errors: ['unauthorized', 'forbidden', 'conflict', 'too_large', 'bad_input', 'unsupported_media_type'],
    repeatable: true,
  }),
  job: endpoint({
    ...open,
    path: routes.job,
    tag: 'jobs',
    summary: 'A job: its model, its rounds, its open units',
    description:
      'A unit shows as ready or leased until its result is published, which is when the next units need it or its round closes.',
    params: v.object({ id: cidSchema }),
    answer: json(jobStatusSchema),
    errors: ['not_found'],
  }),
  jobRounds: endpoint({
    ...open,
    path: routes.jobRounds,
    tag: 'jobs',
    summary: 'The closed rounds of a job, oldest first',
    params: v.object({ id: cidSchema }),
    query: v.object(pageQuery),
    answer: json(roundListSchema),
    errors: ['not_found'],
  }),
  jobEvents: endpoint({
    ...open,
    bucket: 'stream',
    path: routes.jobEvents,
    tag: 'jobs',
    summary: 'A job as it goes on, as server-sent events',
    description:
      'A new client gets the present state first; one that comes back with Last-Event-ID gets what it missed. Events are hints: what counts is the job itself.',
    params: v.object({ id: cidSchema }),
    answer: { type: 'events', schema: jobEventSchema, status: 200 },
    errors: ['not_found'],
    resumable: true,
  }),
  unit: endpoint({
    ...open,
    path: routes.unit,
    tag: 'records',
    summary: 'A workunit, and once it is published its result with a proof',
    params: v.object({ cid: cidSchema }),
    answer: json(unitSchema),
    errors: ['not_found'],
  }),
  contributor: endpoint({
    ...open,
    path: routes.contributor,
    tag: 'records',
    summary: 'A contributor: what it has done and earned',
    params: v.object({ address: anyAddressSchema }),
    answer: json(contributorSchema),
    errors: ['not_found'],
  }),
  ...ledgerEndpoints,
  peers: endpoint({
    ...open,
    path: routes.peers,
    tag: 'network',
    summary: 'Contributors connected now, by address',
    description: 'Of several coordinator processes, those of the one that answers.',
    query: v.object(pageQuery),
    answer: json(peerListSchema),
    errors: [],
  }),
  figures: endpoint({
    ...open,
    path: routes.figures,
    tag: 'network',
    summary: 'Figures of the network: what was computed, and what certainty cost',
    answer: json(figuresSchema),
    errors: [],
  }),
  wallet: endpoint({
    ...open,
    path: routes.wallet,
    tag: 'accounts',
    summary: 'A wallet: its contributors, what they have earned, and what waits until they are trusted',
    params: v.object({ address: anyAddressSchema }),
    query: v.object(pageQuery),
    answer: json(walletSchema),
    errors: ['not_found'],
  }),
  decisions: endpoint({
    ...open,
    path: routes.decisions,
    tag: 'records',
    summary: 'Published decisions of a job, newest round first',
    query: v.object({ ...pageQuery, job: jobQuery }),
    answer: json(decisionListSchema),
    errors: ['not_found'],
  }),
  consensus: endpoint({
    ...open,
    path: routes.consensus,
    tag: 'records',
    summary: 'How a unit was decided: every step of every replica, and why',
    description: 'Empty until the result is published.',
    params: v.object({ unit: cidSchema }),
    answer: json(consensusSchema),
    errors: ['not_found'],
  }),
  deltas: endpoint({
    ...open,
    path: routes.deltas,
    tag: 'records',
    summary: 'What each lane of a job added to its model, newest round first',
    query: v.object({ ...pageQuery, job: jobQuery }),
    answer: json(deltaListSchema),
    errors: ['not_found'],
  }),
  storeFile: endpoint({
    method: 'POST',
    path: routes.files,
    tag: 'jobs',
    auth: 'key',
    bucket: 'write',
    summary: 'Store a text to train on',
    description: 'Kept for 20 hours, and from then on only while a job uses it.',
    body: {
      type: 'bytes',
      mediaTypes: ['text/plain', 'application/octet-stream'],
      bytesMax: limits.uploadBytesMax,
      description: 'UTF-8 text.',
    },
    answer: json(fileInfoSchema, 201),
    errors: ['unauthorized', 'forbidden', 'conflict', 'too_large', 'bad_input', 'unsupported_media_type'],
    repeatable: true,
  }),
  signIn: endpoint({
    method: 'POST',
    path: routes.signIn,
    tag: 'accounts',
    auth: 'none',
    bucket: 'sign-in',
    summary: 'The text that a wallet signs to make a key or a link (EIP-4361)',
    description: 'Good once, for five minutes.',
    body: body(signInRequestSchema),
    answer: json(signInSchema, 201),
    errors: ['too_large', 'unsupported_media_type'],
  }),
  makeKey: endpoint({
    method: 'POST',
    path: routes.keys,
    tag: 'accounts',
    auth: 'none',
    bucket: 'sign-in',
    summary: 'Make an API key with a signed text; it is shown once',
    body: body(newKeySchema),
    answer: json(madeKeySchema, 201),
    errors: ['bad_signature', 'forbidden', 'conflict', 'too_large', 'unsupported_media_type'],
  }),
  keys: endpoint({
    method: 'GET',
    path: routes.keys,
    tag: 'accounts',
    auth: 'key',
    bucket: 'read',
    summary: 'The keys of the owner of the key that asks',
    query: v.object(pageQuery),
    answer: json(keyListSchema),
    errors: ['unauthorized'],
  }),
  endKey: endpoint({
    method: 'DELETE',
    path: routes.key,
    tag: 'accounts',
    auth: 'key',
    bucket: 'write',
    summary: 'End a key of the same owner, at once and for ever',
    params: v.object({ id: v.pipe(v.string(), v.regex(/^[0-9a-f]{16}$/, 'not the id of a key')) }),
    answer: { type: 'none', status: 204 },
    errors: ['unauthorized', 'not_found'],
  }),
  link: endpoint({
    method: 'POST',
    path: routes.links,
    tag: 'accounts',
    auth: 'none',
    bucket: 'sign-in',
    summary: 'Link a contributor to a wallet, signed by both',
    body: body(newLinkSchema),
    answer: json(linkSchema, 201),
    errors: ['bad_signature', 'conflict', 'not_found', 'too_large', 'unsupported_media_type'],
  }),
  block: endpoint({
    ...open,
    bucket: 'block',
    path: routes.block,
    tag: 'blocks',
    summary: 'A block or document by its CID, for ever the same: a trustless IPFS gateway',
    description:
      'One block as it is, or an archive (CAR) of it and of everything that it links to, depth first. A range of a block is answered with 206; of an archive there is none. Outputs that are not published are not there.',
    params: v.object({ cid: v.union([cidSchema, v.literal(probeCid)]) }),
    query: v.object(gatewayQuery),
    headers: {
      Accept:
        '`application/vnd.ipld.raw`, `application/vnd.ipld.car` (with `order` and `dups`); `format` counts first.',
      Range: 'One range of bytes of a block.',
      'If-None-Match': 'ETags of what the client has: 304 when one is this.',
      'Atoll-Swarm':
        '`NAME;peer=PEER`: lends the block to this peer for 5 s, during which others of the swarm get 409 `leased` and `retryMs`.',
    },
    answer: {
      type: 'bytes',
      mediaTypes: [
        'application/vnd.ipld.raw',
        'application/vnd.ipld.dag-cbor',
        'application/vnd.ipld.car; version=1',
      ],
      status: 200,
    },
    errors: ['not_found', 'leased', 'out_of_range'],
  }),
  openapi: endpoint({
    ...open,
    path: routes.openapi,
    tag: 'operations',
    summary: 'This document',
    answer: json(v.record(v.string(), v.unknown())),
    errors: [],
  }),
  health: endpoint({
    ...open,
    path: routes.health,
    tag: 'operations',
    summary: 'Whether the process is alive',
    answer: json(statusSchema),
    errors: [],
  }),
  ready: endpoint({
    ...open,
    path: routes.ready,
    tag: 'operations',
    summary: 'Whether the database can be written',
    answer: json(statusSchema),
    errors: ['storage_failed'],
  }),
  prometheus: endpoint({
    ...open,
    auth: 'operator',
    path: routes.metrics,
    tag: 'operations',
    summary: 'Metrics for Prometheus',
    description:
      'For the operator: a live count tells more of what is going on than a contributor may know. Open on a coordinator that only its own machine can reach.',
    answer: { type: 'text', mediaType: 'text/plain', status: 200 },
    errors: ['unauthorized', 'forbidden'],
  }),
} as const satisfies Record<string, Endpoint>;

export type Endpoints = typeof endpoints;
export type EndpointName = keyof Endpoints;
