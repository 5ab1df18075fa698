import { expect, test } from 'vitest';
import { folderOf } from '../freeze/support.ts';
import { User } from '../support/mounted.ts';
import { createEmbeddedBucket } from '../support/test-bucket.ts';

test('ls and freeze warn of plain http to another computer, and not of it within this one', async () => {
  const bucket = await createEmbeddedBucket();
  const name = `DTOOL_ECS_ENDPOINT_${bucket.bucket}`;
  // The unspecified address leads here, too, and is not known to.
  const elsewhere = (bucket.env[name] ?? '').replace('127.0.0.1', '0.0.0.0');
  const folder = await folderOf({ a: 'aaa' });
  for (const endpoint of [bucket.env[name] ?? '', elsewhere]) {
    const user = await User.create({ ...bucket.env, [name]: endpoint });
    for (const args of [
      ['ls', bucket.bucket],
      ['freeze', folder, '--bucket', bucket.bucket, '--dry-run'],
    ]) {
      const { stderr, exitCode } = await user.run(...args);
      expect({ args, exitCode }).toEqual({ args, exitCode: 0 });
      expect(stderr.includes('it is plain http'), stderr).toBe(endpoint === elsewhere);
    }
    await user.remove();
  }
  await bucket.close();
});
