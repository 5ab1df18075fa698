import type { ReceiveMode } from '../../fuse/transport/kernel/receive/receiver.ts';
import type { TransportName } from '../../fuse/transport/transport.ts';
import type { LogLevel } from '../../log-level.ts';

/** The options of `mount`, as commander parses them. Plain data that survives JSON. */
export interface MountCommandOptions {
  readonly all: boolean;
  readonly foreground: boolean;
  readonly allowOther: boolean;
  readonly allowNonEmpty: boolean;
  readonly autoUnmount: boolean;
  readonly readOnly: boolean;
  readonly stagingDir?: string;
  readonly takeStaging: boolean;
  readonly uid?: number;
  readonly gid?: number;
  readonly umask: number;
  readonly refresh: number;
  readonly tries: number;
  readonly cacheMemory: number;
  readonly cacheDir?: string;
  readonly cacheSize: number | 'none';
  readonly transport: TransportName;
  readonly receive: ReceiveMode;
  /** Undefined: no metrics are served. */
  readonly metricsPort?: number;
  readonly logLevel: LogLevel;
  readonly logFile?: string;
}

/** A mount that is wanted: the command line, parsed once. The process of a mount in the background gets it by message. */
export interface MountRequest {
  /** Names; empty with `--all`. */
  readonly buckets: readonly string[];
  /** Canonical, or `/dev/fd/N` for a FUSE device that is open and mounted already. */
  readonly mountpoint: string;
  readonly options: MountCommandOptions;
}
