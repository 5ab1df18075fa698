import type { SoakedMount } from './soaked-mount.ts';

/**
 * Looks for files in the home of a mount's user that nobody has any use for. What a process that was killed has left is
 * removed later, by its age: so it is made old, and the mount used once more.
 *
 * @param mount ended, and again afterwards
 * @param putDataset puts a dataset that the mount has not seen yet
 * @returns paths below the home
 */
export async function leftFiles(
  mount: SoakedMount,
  putDataset: () => Promise<void>,
): Promise<readonly string[]> {
  await mount.agedFiles();
  await putDataset();
  await mount.again();
  await mount.user.exec('sh', '-c', `cat '${mount.path}'/steady-*/.dtool/manifest.json`);
  await mount.end();
  return (await mount.agedFiles()).filter(
    (path) =>
      !/^cache\/.*\/(metadata-1|blocks-1)\/[^.]*$/.test(path) &&
      !/^state\/dtool-ecs-mount\/staging\/[^/]*\/(owner|failed|area\.json)$/.test(path) &&
      !/^log\/mount\.log(\.1)?$/.test(path),
  );
}
