/** Placeholder while the kernels are written: replaced within the hour. */
import type { DeviceInfo } from '#protocol/messages/frames.ts';
export interface Device {
  readonly info: DeviceInfo;
  /** Resolves with a retryable `device_lost` error when the device goes away. */
  readonly lost: Promise<Error>;
  destroy(): void;
}
