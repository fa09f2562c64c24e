/** `npm run backup -- --to DIR`: a copy of a coordinator's state, taken while it runs or not. */
import { backup } from '#coordinator/storage/backup.ts';
import { runCommand } from './backup/command.ts';

const help = `npm run backup -- --to DIR [options]

Copies a coordinator's database, blocks and whatever else lies in its data directory to DIR, which must be new or
empty. The coordinator may go on meanwhile; the embedded chain's state is best copied while it is stopped.

  --to DIR          where the backup goes
  --data-dir DIR    the coordinator's data directory [.data]
  DATABASE_URL, S3_ENDPOINT, S3_BUCKET, ...: as for the coordinator itself

Exit codes: 0 done, 2 not.`;

process.exit(
  await runCommand({
    ...{ option: 'to', help },
    run: (place, folder, signal) => backup(place, folder, Date.now(), signal),
    says: ({ blocks }, folder) => `The backup in ${folder} is whole: the database and ${blocks} blocks.`,
  }),
);
