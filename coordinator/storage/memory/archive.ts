/**
 * Rows of a unit that nothing is going to change soon, as one short string: a million units with their replicas are five times smaller so. The memory
 * store reads them back when somebody asks for them again.
 */
import { fromStored, tables, toStored } from '../../record/tables.ts';
import type { ReplicaRow, UnitRow } from '../../record/rows.ts';

type Packed = string | number | null;

/** Every row is unpacked into one shape, the columns' order. */
export function pack(unit: UnitRow, replicas: readonly ReplicaRow[]): string {
  return JSON.stringify([packed('units', unit), ...replicas.map((row) => packed('replicas', row))]);
}

export function unpack(text: string): { unit: UnitRow; replicas: readonly ReplicaRow[] } {
  const [unit, ...replicas] = JSON.parse(text) as [Packed[], ...Packed[][]];
  return {
    unit: unpacked('units', unit) as unknown as UnitRow,
    replicas: replicas.map((row) => unpacked('replicas', row) as unknown as ReplicaRow),
  };
}

function packed(table: 'units' | 'replicas', row: UnitRow | ReplicaRow): Packed[] {
  const fields = row as unknown as Record<string, unknown>;
  return tables[table].columns.map(({ field, kind }) => {
    const stored = toStored(fields[field], kind);
    return stored instanceof Uint8Array ? Buffer.from(stored).toString('base64') : stored;
  });
}

function unpacked(table: 'units' | 'replicas', values: readonly Packed[]): Record<string, unknown> {
  const row: Record<string, unknown> = {};
  for (const [i, { field, kind }] of tables[table].columns.entries()) {
    const value = values[i] ?? null;
    const isBytes = kind === 'bytes' && value !== null;
    row[field] = isBytes ? new Uint8Array(Buffer.from(value as string, 'base64')) : fromStored(value, kind);
  }
  return row;
}
