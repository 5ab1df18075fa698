import { homedir } from 'node:os';
import { join } from 'node:path';

/** Where this program keeps what has to outlive it: a directory of its own in the XDG state directory. May be missing. */
export function stateDirectory(): string {
  const state = process.env['XDG_STATE_HOME'] || join(homedir(), '.local', 'state');
  return join(state, 'dtool-ecs-mount');
}

/** Where the journals of all freezes are. */
export function journalDirectory(): string {
  return join(stateDirectory(), 'freeze');
}
