import { readFile } from 'node:fs/promises';
import { messageOf } from '../../errors.ts';
import { fuseObstacle } from '../../fuse/session.ts';
import { type Check, findingsOf } from './finding.ts';

const NODE_OLDEST = [20, 19] as const;
const FUSE_CONF = '/etc/fuse.conf';

const { ok, warn, fail } = findingsOf('system');

/**
 * Whether this computer can mount.
 *
 * @param nodeVersion such as `20.19.0`
 * @param isRoot whether the user needs nobody's permission
 */
export async function* checkSystem(
  nodeVersion = process.versions.node,
  isRoot = process.getuid?.() === 0,
): Check {
  const [major = 0, minor = 0] = nodeVersion.split('.').map(Number);
  const [oldestMajor, oldestMinor] = NODE_OLDEST;
  yield major > oldestMajor || (major === oldestMajor && minor >= oldestMinor)
    ? ok(`Node.js ${nodeVersion}`)
    : fail(`Node.js ${nodeVersion} is too old`, `Install ${NODE_OLDEST.join('.')} or newer.`);
  const obstacle = await fuseObstacle();
  yield obstacle
    ? fail(obstacle.reason, obstacle.advice)
    : ok(isRoot ? '/dev/fuse can be opened' : '/dev/fuse can be opened, and fusermount3 is there');
  if (isRoot) yield ok('--allow-other needs nothing, since you are root');
  else yield await checkAllowOther(FUSE_CONF);
}

async function checkAllowOther(path: string): Promise<ReturnType<typeof ok>> {
  let text = '';
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    return warn(`--allow-other is for root alone: ${messageOf(error)}`);
  }
  return /^\s*user_allow_other\s*$/m.test(text)
    ? ok(`user_allow_other in ${path} lets users mount with --allow-other`)
    : warn(
        `--allow-other is for root alone: ${path} has no line user_allow_other`,
        'As root, add that line if other users shall see your mounts.',
      );
}
