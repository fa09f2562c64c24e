/** `npm run restore -- --from DIR`: a coordinator's state from a backup, into a data directory that has none. */
import { restore } from '#coordinator/storage/backup.ts';
import { runCommand } from './backup/command.ts';

const help = `npm run restore -- --from DIR [options]

Puts a backup back: into a data directory that holds no network, and where the backup is of PostgreSQL into the empty
database of DATABASE_URL. Every block is verified. Afterwards \`npm start\` goes on where the backup was taken.

  --from DIR        the backup
  --data-dir DIR    where to [.data]
  DATABASE_URL, S3_ENDPOINT, S3_BUCKET, ...: as for the coordinator itself

Exit codes: 0 done, 2 not.`;

process.exit(
  await runCommand({
    ...{ option: 'from', help },
    run: (place, folder, signal) => restore(folder, place, signal),
    says: ({ takenAt, blocks }) =>
      `Restored as of ${new Date(takenAt).toISOString()}: the database and ${blocks} blocks.`,
  }),
);
