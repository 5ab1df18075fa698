import { copyFile, link } from 'node:fs/promises';
import { join } from 'node:path';
import { mountObstacle, run } from './test-mounts.ts';

/** The user and group that a test may be besides root. */
export const NOBODY = 65534;
export const AS_NOBODY = ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups', '--'];
/**
 * Distributions let all users open /dev/fuse, and this machine may not: the test brings its own device of mode 666, in a
 * mount namespace that nobody else sees. The mount is in there too, so it is looked at from there. `$1` is the mode,
 * `$2` a file to have as /etc/fuse.conf.
 */
const NAMESPACE = `
  dir=$(mktemp -d) && mount -t tmpfs -o mode=755 none "$dir" && mknod -m "$1" "$dir/fuse" c 10 229 &&
  mount --bind "$dir/fuse" /dev/fuse && echo "$2" > "$dir/fuse.conf" && chmod 644 "$dir/fuse.conf" &&
  mount --bind "$dir/fuse.conf" /etc/fuse.conf && umount -l "$dir" && rmdir "$dir" && shift 2 && exec "$@"`;

const hasCommands = await run('sh', ['-c', 'command -v fusermount3 unshare nsenter setpriv']).then(
  () => true,
  () => false,
);

/** Why nobody can mount anything here; see `mountObstacle`. */
export const obstacleForNobody =
  mountObstacle() || (hasCommands ? '' : ' [skipped: no fusermount3, unshare, nsenter or setpriv]');

/** Runs a command as a user who may mount; the command and its arguments follow. */
export const asNobody = (deviceMode = '666', config = '# nothing', ...more: string[]): string[] => {
  const namespace = ['unshare', '--mount', '--propagation', 'private', '--'];
  return [...namespace, 'sh', '-ec', NAMESPACE, 'sh', deviceMode, config, ...more, ...AS_NOBODY];
};

/**
 * Puts this Node into a directory that other users get to: it may itself be where they don't, such as in the home of root.
 *
 * @returns its path there
 */
export async function nodeIn(directory: string): Promise<string> {
  const node = join(directory, 'node');
  await link(process.execPath, node).catch(async () => copyFile(process.execPath, node));
  return node;
}
