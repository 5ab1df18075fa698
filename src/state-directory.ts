import { homedir } from 'node:os';
import { join } from 'node:path';

/** Where this program keeps what has to outlive it: a directory of its own in the XDG state directory. May be missing. */
export function stateDirectory(): string {
  const state = process.env['XDG_STATE_HOME'] || join(homedir(), '.local', 'state');
  return join(state, 'dtool-ecs-mount');
}

/**
 * Where this program keeps what can be had again, unless it is told another place: below dtool's cache directory where one
 * is configured, else in the XDG cache directory. May be missing.
 *
 * @param configured absolute path of dtool's cache directory
 */
export function defaultCacheDirectory(configured: string | undefined): string {
  const cache = configured ?? (process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'));
  return join(cache, 'dtool-ecs-mount');
}

/** Where the journals of all freezes are. */
export function journalDirectory(): string {
  return join(stateDirectory(), 'freeze');
}

/** Where the staging areas of all buckets are, unless a mount is told another place. */
export function defaultStagingDirectory(): string {
  return join(stateDirectory(), 'staging');
}
