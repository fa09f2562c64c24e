/**
 * `/docs`: Swagger UI over `/openapi.json`, served from here and kept within the Content-Security-Policy: no inline script, nothing from elsewhere.
 */
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import type { Hono } from 'hono';
import { AtollError } from '#protocol/errors.ts';
import { routes } from '#protocol/http/api.ts';
import type { AppEnv } from './context.ts';

const distribution = path.dirname(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json'));

const page = `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <meta name="color-scheme" content="light dark" />
    <title>Atoll: the HTTP interface</title>
    <link rel="icon" href="data:," />
    <link rel="stylesheet" href="${routes.docs}/swagger-ui.css" />
    <link rel="stylesheet" href="${routes.docs}/docs.css" />
    <script src="${routes.docs}/swagger-ui-bundle.js" defer></script>
    <script src="${routes.docs}/docs.js" defer></script>
  </head>
  <body>
    <noscript>This page needs JavaScript; the document itself is at <a href="${routes.openapi}">${routes.openapi}</a>.</noscript>
    <main id="docs"></main>
  </body>
</html>
`;

const start = `const dark = matchMedia('(prefers-color-scheme: dark)');
const follow = () => document.documentElement.classList.toggle('dark-mode', dark.matches);
dark.addEventListener('change', follow);
follow();
window.docs = SwaggerUIBundle({
  url: '${routes.openapi}',
  dom_id: '#docs',
  deepLinking: true,
  docExpansion: 'list',
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  persistAuthorization: false,
  validatorUrl: null,
});
`;

const style = `body { margin: 0; background: #fafafa; }
.dark-mode body { background: #1c2022; }
.swagger-ui .wrapper { box-sizing: border-box; max-width: 72rem; }
.swagger-ui .info { margin: 2rem 0 1.5rem; }
.swagger-ui .scheme-container { box-shadow: none; padding: 0.75rem 0; }
@media (max-width: 40rem) {
  .swagger-ui .wrapper { padding: 0 0.75rem; }
  .swagger-ui .info .title { font-size: 1.6rem; overflow-wrap: anywhere; }
  .swagger-ui .opblock .opblock-summary { flex-wrap: wrap; }
  .swagger-ui .opblock .opblock-summary-path { max-width: 100%; }
  .swagger-ui .opblock .opblock-summary-description { flex-basis: 100%; padding: 0.25rem 0.5rem 0; }
}
`;

/** What is read from the distribution; nothing else of it is served. */
const files: Record<string, string> = {
  'swagger-ui.css': 'text/css; charset=utf-8',
  'swagger-ui-bundle.js': 'text/javascript; charset=utf-8',
};
const own: Record<string, { type: string; text: string }> = {
  'docs.js': { type: 'text/javascript; charset=utf-8', text: start },
  'docs.css': { type: 'text/css; charset=utf-8', text: style },
};

export function addDocs(app: Hono<AppEnv>): void {
  app.get(routes.docs, (context) => context.html(page, 200, { 'cache-control': 'no-cache' }));
  app.get(`${routes.docs}/:file`, async (context) => {
    const name = context.req.param('file');
    const ours = Object.hasOwn(own, name) ? own[name] : undefined;
    if (ours) return context.body(ours.text, 200, { 'content-type': ours.type, 'cache-control': 'no-cache' });
    const type = Object.hasOwn(files, name) ? files[name] : undefined;
    if (type === undefined) throw new AtollError('not_found', `There is nothing at ${context.req.path}.`);
    const bytes = await readFile(path.join(distribution, name));
    return context.body(bytes, 200, { 'content-type': type, 'cache-control': 'public, max-age=86400' });
  });
}
