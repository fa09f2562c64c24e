/** An S3-compatible store for a test (s3rver), with an empty bucket; it checks who signs requests, and is gone when the test is over. */
import S3rver from 's3rver';
import { onTestFinished } from 'vitest';
import type { S3Options } from '../storage/blobs-s3.ts';
import { temporaryFolder } from './harness.ts';

const keys = { region: 'us-east-1', accessKeyId: 'S3RVER', secretAccessKey: 'S3RVER' };

export async function startS3(): Promise<S3Options> {
  const server = new S3rver({
    port: 0,
    address: '127.0.0.1',
    silent: true,
    directory: await temporaryFolder(),
    configureBuckets: [{ name: 'atoll', configs: [] }],
  });
  const { port } = await server.run();
  onTestFinished(() => server.close());
  return { endpoint: `http://127.0.0.1:${port}`, bucket: 'atoll', ...keys };
}
