import { expect, test } from 'vitest';
import { findMount, parseMountTable, readMountTable } from '../../src/fuse/mount-table.ts';

test('lines of mountinfo, with and without optional fields and escapes', () => {
  const text = [
    '36 35 98:0 / /mnt/a\\040b rw,noatime master:1 shared:2 - fuse.dtool-ecs my\\134bucket rw,user_id=0',
    '37 35 0:25 / /mnt/gr\u00fc\u00dfe ro - ext4 /dev/root ro',
    '',
  ].join('\n');
  expect(parseMountTable(text)).toEqual([
    { mountpoint: '/mnt/a b', type: 'fuse.dtool-ecs', source: 'my\\bucket', device: '98:0' },
    { mountpoint: '/mnt/gr\u00fc\u00dfe', type: 'ext4', source: '/dev/root', device: '0:25' },
  ]);
});

test.skipIf(process.platform !== 'linux')('the mounts of this system', async () => {
  expect((await readMountTable()).length).toBeGreaterThan(0);
  expect(await findMount('/proc')).toMatchObject({ mountpoint: '/proc', type: 'proc' });
  expect(await findMount('/no/such/mount')).toBeUndefined();
});
