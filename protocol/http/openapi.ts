/**
 * The OpenAPI 3.1 document of the route table. For the server and for tools; `docs/openapi.json` is its committed form, and a test compares the two.
 *
 * Shapes that have a name here are components. What a schema checks beyond JSON Schema's words (a CID's hash, rules between fields) stays with the server.
 */
import { toJsonSchema, toJsonSchemaDefs } from '@valibot/to-json-schema';
import type * as v from 'valibot';
import { cidSchema } from '../codec/cid.ts';
import { type ErrorCode, errorCodes, problemSchema } from '../errors.ts';
import { addressSchema, bytes32Schema, signatureSchema } from '../messages/hex.ts';
import { modelConfigSchema, policySchema } from '../messages/model.ts';
import { anyAddressSchema, fileInfoSchema, keySchema, newJobSchema } from './accounts.ts';
import {
  anchorSchema,
  chainSchema,
  contributorSchema,
  jobEventSchema,
  jobStatusSchema,
  laneStateSchema,
  networkSchema,
  roundSchema,
  unitSchema,
} from './api.ts';
import { cursorSchema, type Endpoint, pageLimitSchema, type TextSchema } from './endpoint.ts';
import { limits } from '../limits.ts';

type Json = Record<string, unknown>;

const definitions: Record<string, v.GenericSchema> = {
  Address: addressSchema,
  Anchor: anchorSchema,
  AnyAddress: anyAddressSchema,
  Bytes32: bytes32Schema,
  Chain: chainSchema,
  Cid: cidSchema,
  Contributor: contributorSchema,
  Event: jobEventSchema,
  File: fileInfoSchema,
  Job: jobStatusSchema,
  Key: keySchema,
  LaneState: laneStateSchema,
  Model: modelConfigSchema,
  Network: networkSchema,
  NewJob: newJobSchema,
  Policy: policySchema,
  Problem: problemSchema,
  Round: roundSchema,
  Signature: signatureSchema,
  Unit: unitSchema,
};

/** What JSON Schema cannot be told by the schema itself. */
const refined: Record<string, Json> = {
  Cid: {
    description: 'A CIDv1 (raw or dag-cbor, sha2-256) in base32.',
    pattern: '^ba[a-z2-7]{57}$',
    examples: ['bafyreihyrpefhacm6kkp4ql6j6udakdit7g3dmkzfriqfykhjw6cad5lrm'],
  },
  Address: { description: 'An Ethereum address in lower case.' },
  AnyAddress: { description: 'An Ethereum address in any case.', pattern: '^0x[0-9a-fA-F]{40}$' },
  NewJob: {
    examples: [
      {
        name: 'sonnets',
        model: { L: 4, C: 64, NH: 4, T: 64, V: 256 },
        training: { lanes: 4, steps: 25, batch: 8 },
        corpus: { size: 94275, blocks: ['bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy'] },
        rounds: 20,
      },
    ],
  },
  Problem: { description: 'RFC 9457 problem details with a stable `code`.' },
};

const config = {
  target: 'draft-2020-12',
  typeMode: 'input',
  errorMode: 'ignore',
  definitions,
  overrideRef: ({ referenceId }: { referenceId: string }) => `#/components/schemas/${referenceId}`,
  overrideSchema: ({ valibotSchema }: { valibotSchema: unknown }) => {
    if (valibotSchema === pageLimitSchema) {
      return { type: 'integer', minimum: 1, maximum: limits.pageSizeMax, default: 50 } as const;
    }
    if (valibotSchema === cursorSchema)
      return { type: 'string', description: '`next` of the page before.' } as const;
    return null;
  },
  overrideAction: ({ valibotAction, jsonSchema }: { valibotAction: { type: string }; jsonSchema: Json }) =>
    ['safe_integer', 'integer'].includes(valibotAction.type)
      ? { ...jsonSchema, type: 'integer' as const }
      : null,
} as const;

export function openApi(endpoints: Readonly<Record<string, Endpoint>>, version: string): Json {
  const paths: Record<string, Json> = {};
  for (const [name, endpoint] of Object.entries(endpoints)) {
    const path = endpoint.path.replace(/:([a-z]+)/gi, '{$1}');
    paths[path] = { ...paths[path], [endpoint.method.toLowerCase()]: operation(name, endpoint) };
  }
  const schemas = toJsonSchemaDefs(definitions, config as never) as Record<string, Json>;
  for (const [name, more] of Object.entries(refined)) schemas[name] = { ...schemas[name], ...more };
  return {
    openapi: '3.1.0',
    info: {
      title: 'Atoll coordinator',
      version,
      summary: 'Volunteer compute for open AI models: jobs, results, records.',
      description: about,
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    tags: tags.map(([name, description]) => ({ name, description })),
    paths,
    components: {
      schemas,
      securitySchemes: {
        key: {
          type: 'http',
          scheme: 'bearer',
          bearerFormat: 'atoll_<id>_<secret>',
          description: 'An API key.',
        },
      },
    },
  };
}

const about = [
  'Contributors do not use this: they speak CBOR frames over the WebSocket at `/v1/contribute`.',
  'Every error is an RFC 9457 problem document with a stable `code`. Every answer names its `X-Request-Id`.',
  'How much may still be asked is in `RateLimit` and `RateLimit-Policy`; after a 429, wait for `Retry-After` seconds.',
  'Lists are paged: `next` is the `cursor` of the next page, null on the last.',
  'A result shows only when it is published: when the next units need it or its round closes.',
].join('\n\n');

const tags = [
  ['network', 'What is going on.'],
  ['jobs', 'What is trained.'],
  ['records', 'What was decided, by whom, and what it earned.'],
  ['accounts', 'Wallets, keys and links.'],
  ['blocks', 'Content by its CID.'],
  ['operations', 'For whoever runs it.'],
] as const;

function operation(name: string, endpoint: Endpoint): Json {
  const { tag, summary, description, auth, body } = endpoint;
  return {
    operationId: name,
    tags: [tag],
    summary,
    ...(description === undefined ? {} : { description }),
    ...(auth === 'none' ? {} : { security: auth === 'operator' ? [{}, { key: [] }] : [{ key: [] }] }),
    ...listed('parameters', parametersOf(endpoint)),
    ...(body ? { requestBody: { required: true, content: contentOf(body) } } : {}),
    responses: { [endpoint.answer.status]: success(endpoint), ...problems(endpoint) },
  };
}

function listed(name: string, items: readonly Json[]): Json {
  return items.length > 0 ? { [name]: items } : {};
}

function parametersOf({ params, query, headers, repeatable, resumable }: Endpoint): Json[] {
  const header = (name: string, description: string) => ({
    name,
    in: 'header',
    required: false,
    description,
    schema: { type: 'string' },
  });
  return [
    ...parametersIn('path', params),
    ...parametersIn('query', query),
    ...Object.entries(headers ?? {}).map(([name, description]) => header(name, description)),
    ...(repeatable
      ? [header('Idempotency-Key', 'Sent again with the same key, a request gets the first answer.')]
      : []),
    ...(resumable ? [header('Last-Event-ID', 'The id of the last event that was seen.')] : []),
  ];
}

function parametersIn(place: 'path' | 'query', schema: TextSchema | undefined): Json[] {
  return Object.entries(schema?.entries ?? {}).map(([name, entry]) => ({
    name,
    in: place,
    required: place === 'path' || entry.type !== 'optional',
    schema: schemaOf(entry),
  }));
}

function schemaOf(schema: v.GenericSchema): Json {
  const { $schema: _, $defs: __, ...bare } = toJsonSchema(schema, config as never) as Json;
  return bare;
}

function contentOf(body: NonNullable<Endpoint['body']>): Json {
  if (body.type === 'json') return { 'application/json': { schema: schemaOf(body.schema) } };
  return Object.fromEntries(
    body.mediaTypes.map((type) => [type, { schema: { description: body.description } }]),
  );
}

function success({ answer }: Endpoint): Json {
  if (answer.type === 'none') return { description: 'Done.' };
  return { description: answer.status === 201 ? 'Made.' : 'The answer.', content: answerContent(answer) };
}

function answerContent(answer: Exclude<Endpoint['answer'], { type: 'none' }>): Json {
  switch (answer.type) {
    case 'json':
      return { 'application/json': { schema: schemaOf(answer.schema) } };
    case 'events':
      return { 'text/event-stream': { schema: schemaOf(answer.schema) } };
    case 'bytes':
      return Object.fromEntries(answer.mediaTypes.map((type) => [type, {}]));
    case 'text':
      return { [answer.mediaType]: { schema: { type: 'string' } } };
  }
}

const always: readonly ErrorCode[] = ['bad_request', 'rate_limited', 'internal', 'unavailable'];

/** By status, with the codes that it may carry. */
function problems({ errors }: Endpoint): Json {
  const codes = [...new Set([...errors, ...always])];
  const statuses = [...new Set(codes.map((code) => errorCodes[code].status))].toSorted((a, b) => a - b);
  return Object.fromEntries(
    statuses.map((status) => {
      const named = codes.filter((code) => errorCodes[code].status === status);
      const description = named.map((code) => `\`${code}\`: ${errorCodes[code].title}.`).join(' ');
      const schema = { $ref: '#/components/schemas/Problem' };
      return [status, { description, content: { 'application/problem+json': { schema } } }];
    }),
  );
}
