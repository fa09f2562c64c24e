/**
 * Numbers and names as people read them. The page is in English, so the formats are too: "1.2 billion" with a comma as the decimal
 * sign would be neither.
 */
const locale = 'en';

const whole = new Intl.NumberFormat(locale, { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat(locale, { notation: 'compact', maximumSignificantDigits: 3 });
const long = new Intl.NumberFormat(locale, {
  notation: 'compact',
  compactDisplay: 'long',
  maximumSignificantDigits: 3,
});
const threePlaces = new Intl.NumberFormat(locale, { minimumFractionDigits: 3, maximumFractionDigits: 3 });
const signed = new Intl.NumberFormat(locale, {
  minimumFractionDigits: 3,
  maximumFractionDigits: 3,
  signDisplay: 'exceptZero',
});
const share = new Intl.NumberFormat(locale, { style: 'percent', maximumFractionDigits: 0 });

/** 12,345 */
export const count = (value: number): string => whole.format(value);
/** 12.3K */
export const compact = (value: number): string => short.format(value);
/** 1.24 billion */
export const words = (value: number): string => long.format(value);
/** 2.411; nats per byte. */
export const loss = (value: number): string => threePlaces.format(value);
/** −0.031, with a true minus sign. */
export const change = (value: number): string => signed.format(value).replace('-', '\u2212');
/** 43% */
export const percent = (value: number): string => share.format(value);

const unit = (name: string) =>
  new Intl.NumberFormat(locale, { style: 'unit', unit: name, maximumFractionDigits: 1 });
const byteSteps = [
  { from: 1e9, format: unit('gigabyte') },
  { from: 1e6, format: unit('megabyte') },
  { from: 1e3, format: unit('kilobyte') },
] as const;
const plainBytes = new Intl.NumberFormat(locale, { style: 'unit', unit: 'byte', unitDisplay: 'long' });

/** 12.3 MB, decimal. */
export function bytes(value: number): string {
  const step = byteSteps.find(({ from }) => value >= from);
  return step ? step.format.format(value / step.from) : plainBytes.format(value);
}

const secondsFormat = new Intl.NumberFormat(locale, {
  style: 'unit',
  unit: 'second',
  unitDisplay: 'narrow',
  minimumFractionDigits: 1,
  maximumFractionDigits: 1,
});
const minutesFormat = new Intl.NumberFormat(locale, {
  style: 'unit',
  unit: 'minute',
  maximumFractionDigits: 0,
});

/** 42.3s, 12 min. */
export function duration(seconds: number): string {
  return seconds < 90 ? secondsFormat.format(seconds) : minutesFormat.format(seconds / 60);
}

const relative = new Intl.RelativeTimeFormat(locale, { numeric: 'always', style: 'short' });

/** 12 sec. ago. */
export function ago(elapsedMs: number): string {
  const seconds = Math.max(0, Math.round(elapsedMs / 1000));
  if (seconds < 90) return relative.format(-seconds, 'second');
  const minutes = Math.round(seconds / 60);
  return minutes < 90
    ? relative.format(-minutes, 'minute')
    : relative.format(-Math.round(minutes / 60), 'hour');
}

/** The ends of a CID or a hash: enough to compare two by eye. */
export function shortId(id: string): string {
  return id.length <= 16 ? id : `${id.slice(0, 8)}\u2026${id.slice(-6)}`;
}

const programNames: Record<string, [long: string, short: string]> = {
  'train.steps': ['Training steps', 'Train'],
  'train.outer': ['Merging the updates', 'Merge'],
  'eval.loss': ['Measuring the loss', 'Measure'],
};

const bareName = (program: string): string => program.split('@')[0] ?? program;

/** `train.steps@1+i10sr` as a person would say it; an unknown program by its own name. */
export const programName = (program: string): string =>
  programNames[bareName(program)]?.[0] ?? bareName(program);

/** The same in one word. */
export const shortProgramName = (program: string): string =>
  programNames[bareName(program)]?.[1] ?? bareName(program);

/** 1 unit, 2 units. */
export function plural(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}
