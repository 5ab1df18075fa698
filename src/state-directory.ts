import { accessSync, chmodSync, constants, lstatSync, mkdirSync, statSync } from 'node:fs';
import { userInfo } from 'node:os';
import { dirname, isAbsolute, join } from 'node:path';
import { hasErrorCode, UserError, messageOf } from './errors.ts';

/** Where this program finds and keeps what belongs to its user: the one place that knows of homes and XDG directories. */

const NAME = 'dtool-ecs-mount';

/** Where homes can't serve, things stay in a directory for each user here, which a restart of the machine keeps. */
const WITHOUT_HOME = '/var/tmp';

/**
 * The user's home as an absolute path: HOME, or what the user database says where that is unset, empty or relative. It
 * need not exist. Undefined for a user that the database does not know, as in a container.
 */
export function homeDirectory(env: NodeJS.ProcessEnv = process.env): string | undefined {
  const home = env['HOME'];
  if (home && isAbsolute(home)) return home;
  try {
    const known = userInfo().homedir;
    return isAbsolute(known) ? known : undefined;
  } catch {
    return undefined;
  }
}

/**
 * The name of the user as Python's getpass.getuser finds it, and with it dtool; the number of a user that has none.
 */
export function userName(env: NodeJS.ProcessEnv = process.env): string {
  for (const name of ['LOGNAME', 'USER', 'LNAME', 'USERNAME']) {
    const value = env[name];
    if (value) return value;
  }
  try {
    return userInfo().username;
  } catch {
    return String(process.getuid?.() ?? 0);
  }
}

/** The runtime directory of the user's session; undefined where none is set. */
export function runtimeDirectory(): string | undefined {
  return xdg('XDG_RUNTIME_DIR');
}

/**
 * Where this program keeps what has to outlive it: a directory of its own in the XDG state directory, or below
 * {@link WITHOUT_HOME} where the user has no home that can be written to. May be missing.
 *
 * @throws UserError when there is no home and the directory in its place is somebody else's
 */
export function stateDirectory(): string {
  return join(xdg('XDG_STATE_HOME') ?? belowHome('.local', 'state') ?? withoutHome('state'), NAME);
}

/**
 * Where this program keeps what can be had again, unless it is told another place: below dtool's cache directory where one
 * is configured, else in the XDG cache directory, or as {@link stateDirectory} where there is no home. May be missing.
 *
 * @param configured absolute path of dtool's cache directory
 * @throws UserError as {@link stateDirectory} does
 */
export function defaultCacheDirectory(configured: string | undefined): string {
  return join(configured ?? xdg('XDG_CACHE_HOME') ?? belowHome('.cache') ?? withoutHome('cache'), NAME);
}

/** Where the journals of all freezes are. */
export function journalDirectory(): string {
  return join(stateDirectory(), 'freeze');
}

/** Where the staging areas of all buckets are, unless a mount is told another place. */
export function defaultStagingDirectory(): string {
  return join(stateDirectory(), 'staging');
}

/** What the user should know of where things are kept: undefined where they are in the home, or where the user wants them. */
export function homeWarning(): string | undefined {
  const uses = [
    ...((xdg('XDG_STATE_HOME') ?? belowHome('.local', 'state')) ? [] : ['XDG_STATE_HOME']),
    ...((xdg('XDG_CACHE_HOME') ?? belowHome('.cache')) ? [] : ['XDG_CACHE_HOME']),
  ];
  if (uses.length === 0) return undefined;
  const home = homeDirectory();
  return (
    `${home === undefined ? 'There is no home directory' : `The home directory ${home} can't be written to`}: ` +
    `what has to be kept is in ${replacement()}, staged files above all. ` +
    `Set ${uses.join(' and ')} to have it elsewhere.`
  );
}

/** A relative path is to be ignored (source: XDG Base Directory Specification), and so is one that is empty. */
function xdg(name: string): string | undefined {
  const path = process.env[name];
  return path && isAbsolute(path) ? path : undefined;
}

/** A directory below the home; undefined where there can't be one. */
function belowHome(...names: readonly string[]): string | undefined {
  const home = homeDirectory();
  if (home === undefined) return undefined;
  const path = join(home, ...names);
  return canHold(join(path, NAME), home) ? path : undefined;
}

/** Whether a directory is there, or can be made without making its user's home. */
function canHold(path: string, home: string): boolean {
  try {
    if (!statSync(path).isDirectory()) return false;
    accessSync(path, constants.W_OK | constants.X_OK);
    return true;
  } catch (error) {
    const isMissing = error instanceof Error && 'code' in error && error.code === 'ENOENT';
    return isMissing && path !== home && canHold(dirname(path), home);
  }
}

function makeIfMissing(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    if (!hasErrorCode(error, 'EEXIST')) throw error;
  }
}

function replacement(): string {
  return join(WITHOUT_HOME, `${NAME}-${process.getuid?.() ?? 0}`);
}

/** A directory in the place of one in the home, below one that only the user can enter and nobody else can replace. */
function withoutHome(name: string): string {
  const path = replacement();
  const advice = 'Set XDG_STATE_HOME and XDG_CACHE_HOME to directories of yours.';
  try {
    makeIfMissing(path);
    const found = lstatSync(path);
    if (!found.isDirectory() || found.uid !== (process.getuid?.() ?? found.uid)) {
      throw new UserError(`there is no home directory to write to, and ${path} is not yours`, advice);
    }
    if ((found.mode & 0o077) !== 0) chmodSync(path, 0o700);
    return join(path, name);
  } catch (error) {
    if (error instanceof UserError) throw error;
    throw new UserError(
      `there is no home directory to write to, and ${path} can't be used: ${messageOf(error)}`,
      advice,
      { cause: error },
    );
  }
}
