import Fuse, { type Handlers } from 'fuse-native';
import { Operations } from '../../src/fuse/operations.ts';
import { handlers } from '../../src/fuse/transport/fuse-native-handlers.ts';
import type { Tree } from '../../src/fuse/tree/node.ts';
import { unmount } from '../../src/fuse/unmount.ts';
import { silentLogger } from '../../src/log.ts';

/**
 * Mounts a tree over fuse-native as the package is when nothing is done about it: its default options, so no
 * `big_writes`, and listings of names alone, as its README has them. Our own adapter passes more.
 */
export async function mountPlain(
  mountpoint: string,
  tree: Tree,
): Promise<{ readonly unmount: () => Promise<void> }> {
  const served = handlers(new Operations(tree), new AbortController().signal, silentLogger);
  const names: Handlers['readdir'] = (path, reply) =>
    served.readdir(path, (error, found) => reply(error, found));
  const fuse = new Fuse(
    mountpoint,
    // Our handlers of extended attributes need a changed package.
    { ...served, readdir: names, getxattr: undefined, listxattr: undefined },
    {},
  );
  await new Promise<void>((resolve, reject) => {
    fuse.mount((error) => (error ? reject(error) : resolve()));
  });
  return { unmount: async () => unmount(mountpoint) };
}
