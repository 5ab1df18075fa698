import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';

/**
 * Makes a PATH in which shell scripts stand in for some programs, since suites ask these about the file system that they
 * run in, and a folder is none. `$REAL` in a script is the PATH without them.
 *
 * @param programs scripts by name
 */
export async function standIns(
  programs: Readonly<Record<string, string>>,
): Promise<AsyncDisposable & { readonly path: string }> {
  const directory = await mkdtemp(join(tmpdir(), 'suites-path-'));
  await chmod(directory, 0o755);
  for (const [name, script] of Object.entries(programs)) {
    const file = join(directory, name);
    await writeFile(file, `#!/bin/sh\nREAL=$(printf %s "$PATH" | sed 's|${directory}:||g')\n${script}`);
    await chmod(file, 0o755);
  }
  return {
    path: [directory, process.env['PATH'] ?? ''].join(delimiter),
    [Symbol.asyncDispose]: async () => rm(directory, { recursive: true }),
  };
}
