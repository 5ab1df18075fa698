import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { homedir, tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import {
  defaultCacheDirectory,
  homeDirectory,
  homeWarning,
  stateDirectory,
  userName,
} from '../src/state-directory.ts';

const uid = process.getuid?.() ?? 0;
const REPLACEMENT = `/var/tmp/dtool-ecs-mount-${uid}`;

describe('what a user has is', () => {
  let home: string;
  beforeEach(() => {
    home = mkdtempSync(join(tmpdir(), 'home-'));
    vi.stubEnv('HOME', home);
    for (const name of ['XDG_STATE_HOME', 'XDG_CACHE_HOME']) vi.stubEnv(name, undefined);
  });
  afterEach(() => {
    vi.unstubAllEnvs();
    rmSync(home, { recursive: true });
  });

  test('in the home, or where XDG says, which is absolute', () => {
    expect(stateDirectory()).toBe(join(home, '.local/state/dtool-ecs-mount'));
    expect(defaultCacheDirectory(undefined)).toBe(join(home, '.cache/dtool-ecs-mount'));
    expect(defaultCacheDirectory('/elsewhere')).toBe('/elsewhere/dtool-ecs-mount');
    expect(homeWarning()).toBeUndefined();
    for (const ignored of ['', 'relative']) {
      vi.stubEnv('XDG_STATE_HOME', ignored);
      expect(stateDirectory()).toBe(join(home, '.local/state/dtool-ecs-mount'));
    }
    vi.stubEnv('XDG_STATE_HOME', '/state');
    expect(stateDirectory()).toBe('/state/dtool-ecs-mount');
  });

  test('never in the current directory: without HOME the user database knows the home', () => {
    vi.stubEnv('HOME', undefined);
    const known = homedir();
    for (const useless of [undefined, '', '.', 'relative']) {
      vi.stubEnv('HOME', useless);
      expect(homeDirectory()).toBe(known);
    }
  });

  test.each(['/nonexistent', '/dev/null'])('in /var/tmp where there is no home to write to: %s', (none) => {
    vi.stubEnv('HOME', none);
    expect(stateDirectory()).toBe(`${REPLACEMENT}/state/dtool-ecs-mount`);
    expect(defaultCacheDirectory(undefined)).toBe(`${REPLACEMENT}/cache/dtool-ecs-mount`);
    expect(homeWarning()).toContain(`${none} can't be written to: what has to be kept is in ${REPLACEMENT}`);
    vi.stubEnv('XDG_STATE_HOME', '/state');
    expect(homeWarning()).toMatch(/Set XDG_CACHE_HOME to/);
    vi.stubEnv('XDG_CACHE_HOME', '/cache');
    expect(homeWarning()).toBeUndefined();
  });

  test.skipIf(uid === 0)('in a directory of the home that is there though the home is read-only', () => {
    mkdirSync(join(home, '.local/state'), { recursive: true });
    chmodSync(home, 0o555);
    expect(stateDirectory()).toBe(join(home, '.local/state/dtool-ecs-mount'));
    expect(defaultCacheDirectory(undefined)).toContain(REPLACEMENT);
    chmodSync(home, 0o755);
  });

  test('called as dtool would call the user', () => {
    expect(userName({ LOGNAME: '', USER: 'me' })).toBe('me');
    expect(userName({})).toBe(userInfo().username);
  });
});
