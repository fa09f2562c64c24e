/**
 * Joins an entry of the route table with what answers it: checks who may ask, how often, with which parameters and body, and answers in the stated form.
 * A handler sees parsed values only.
 */
import type { Hono } from 'hono';
import * as v from 'valibot';
import { AtollError } from '#protocol/errors.ts';
import type {
  AnswerInput,
  Auth,
  Body,
  BodyOf,
  Endpoint,
  ParamsOf,
  QueryOf,
  TextSchema,
} from '#protocol/http/endpoint.ts';
import type { Principal } from './api-keys.ts';
import { type AppContext, type AppEnv, type ContextPorts, countRequest } from './context.ts';
import type { Repeats } from './repeats.ts';

export interface Asked<E extends Endpoint> {
  params: ParamsOf<E>;
  query: QueryOf<E>;
  body: BodyOf<E>;
  context: AppContext;
}
/** With a key, where the table asks for one. */
export type Handler<E extends Endpoint> = (
  asked: Asked<E> & { principal: E['auth'] extends 'key' ? Principal : Principal | null },
) => E['answer'] extends { type: 'json' }
  ? Promise<AnswerInput<E>> | AnswerInput<E>
  : E['answer'] extends { type: 'none' }
    ? Promise<void>
    : Promise<Response> | Response;

export interface MountPorts extends ContextPorts {
  repeats: Repeats;
  /** Called when something is about to be kept: what has run out makes room. */
  tidy: () => void;
  /** Whether only this machine can ask: then everybody who can is the operator. */
  isPrivate: boolean;
}

export type Mount = <E extends Endpoint>(endpoint: E, handler: Handler<E>) => void;

export function mounter(app: Hono<AppEnv>, ports: MountPorts): Mount {
  return (endpoint, handler) => {
    app.on(endpoint.method, endpoint.path, async (context) => {
      context.set('route', endpoint.path);
      if (!['read', 'block'].includes(endpoint.bucket)) countRequest(context, ports, endpoint.bucket);
      if (endpoint.method !== 'GET') ports.tidy();
      authorise(context, endpoint.auth, ports);
      const params = parseText(endpoint.params, context.req.param(), 'path');
      const query = parseText(endpoint.query, context.req.query(), 'query');
      const raw = readBody(context, endpoint.body);
      const text = typeof raw === 'object' && 'text' in raw ? await raw.text : '';
      const answer = async () => {
        const body = endpoint.body?.type === 'json' ? parseJson(endpoint.body.schema, text) : raw;
        const asked = { params, query, body, context, principal: context.get('principal') };
        // The table has told both sides the same types; here they meet.
        const value = await (handler as (asked: unknown) => Promise<unknown>)(asked);
        return respond(context, endpoint, value);
      };
      return endpoint.repeatable ? ports.repeats.once(context, text, answer) : answer();
    });
  };
}

function respond(context: AppContext, { answer }: Endpoint, value: unknown): Response {
  if (answer.type === 'none') return context.body(null, answer.status);
  if (answer.type !== 'json') return value as Response;
  return context.json(value as object, answer.status, { 'cache-control': 'no-store' });
}

/** Throws `unauthorized` or `forbidden`. */
function authorise(context: AppContext, auth: Auth, { isPrivate }: MountPorts): void {
  if (auth === 'none' || (auth === 'operator' && isPrivate)) return;
  const principal = context.get('principal');
  if (!principal) {
    context.header('WWW-Authenticate', 'Bearer realm="atoll"');
    throw new AtollError('unauthorized', 'This needs an API key: `Authorization: Bearer atoll_...`.');
  }
  if (auth === 'operator' && !principal.scopes.includes('operate')) {
    throw new AtollError('forbidden', 'This key is not one of the operator.');
  }
}

/** Throws `bad_request` naming the parameter. */
function parseText(schema: TextSchema | undefined, texts: Record<string, string>, place: string): unknown {
  return schema ? parse(schema, texts, place) : {};
}

function parse(schema: v.GenericSchema, value: unknown, place: string): unknown {
  const parsed = v.safeParse(schema, value, { abortEarly: true });
  if (parsed.success) return parsed.output;
  const issue = parsed.issues[0];
  const at = v.getDotPath(issue);
  throw new AtollError(
    'bad_request',
    `The ${place}${at ? ` (${at})` : ''} is not usable: ${issue.message}.`,
    {
      details: { place, ...(at ? { path: at } : {}) },
    },
  );
}

/** A stream of bytes, or the text of a JSON body. Throws `unsupported_media_type` or `too_large`. */
function readBody(
  context: AppContext,
  body: Body | undefined,
): undefined | ReadableStream<Uint8Array> | { text: Promise<string> } {
  if (!body) return undefined;
  const type = (context.req.header('content-type') ?? '').split(';')[0]?.trim().toLowerCase() ?? '';
  const taken = body.type === 'json' ? ['application/json'] : body.mediaTypes;
  if (!taken.includes(type)) {
    throw new AtollError('unsupported_media_type', `Send ${taken.join(' or ')} and say so in Content-Type.`);
  }
  const stream = limited(context.req.raw, body.bytesMax);
  return body.type === 'bytes' ? stream : { text: new Response(stream).text() };
}

function parseJson(schema: v.GenericSchema, text: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new AtollError('bad_request', 'The body is not JSON.', { cause });
  }
  return parse(schema, value, 'body');
}

/** The bytes of a request's body, none beyond `most`. Throws `too_large`, at once where the length is stated. */
function limited(request: Request, most: number): ReadableStream<Uint8Array> {
  const tooLarge = () => new AtollError('too_large', `This body may have ${most} bytes.`);
  if (Number(request.headers.get('content-length') ?? 0) > most) throw tooLarge();
  let seen = 0;
  const counting = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      seen += chunk.byteLength;
      if (seen > most) controller.error(tooLarge());
      else controller.enqueue(chunk);
    },
  });
  return (request.body ?? new Blob([]).stream()).pipeThrough(counting);
}
