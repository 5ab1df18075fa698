/** What can be done to a mount while programs use it. */
export const DISTURBANCES = [
  'kill',
  'unmount',
  'suspend',
  'network',
  'away',
  'other client',
  /** Another user discards what a mount freezes. */
  'discard',
  /** Two other hosts freeze one dataset. With it a second mount, of another user, is there and used, too. */
  'other host',
  /** The disk of the log is full, or the log is moved away. */
  'log',
  /** The clocks of mount and store go apart. */
  'clock',
  /** As after a suspend of the computer: no time has passed for the mount, and much for the store. */
  'sleep',
] as const;
export type Disturbance = (typeof DISTURBANCES)[number];
