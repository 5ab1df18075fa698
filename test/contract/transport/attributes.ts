import * as fs from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { run } from '../../support/test-mounts.ts';
import { has, isLinux, python, sh, type Place } from './place.ts';

/** Modes, owners, times, inode numbers and extended attributes. */
export function describeAttributes(place: Place): void {
  const { at, deviates, contract } = place;
  describe('attributes', () => {
    test('mode, owner and the umask', async () => {
      await sh('umask 027; mkdir d; echo > f; (umask 0; mkdir open; echo > public)', place.root);
      const modes = await Promise.all(
        ['d', 'f', 'open', 'public'].map(async (one) => (await fs.stat(at(one))).mode & 0o7777),
      );
      expect(modes).toEqual([0o750, 0o640, 0o777, 0o666]);
      await fs.chmod(at('f'), 0o4751);
      expect((await fs.stat(at('f'))).mode & 0o7777).toBe(0o4751);
      await fs.chown(at('f'), 1234, 5678);
      const { uid, gid, mode } = await fs.stat(at('f'));
      // Whoever owns it now did not ask for set-user-id.
      expect([uid, gid, mode & 0o7777]).toEqual([1234, 5678, 0o751]);
      await run('chgrp', ['99', at('f')]);
      expect(await fs.stat(at('f'))).toMatchObject({ uid: 1234, gid: 99 });
    });

    test.skipIf(!has('setpriv'))('of what others make and write', async () => {
      await fs.chmod(place.root, 0o777);
      const other = (command: string) =>
        run('setpriv', ['--reuid=1234', '--regid=1234', '--clear-groups', 'bash', '-ec', command], {
          cwd: place.root,
        });
      await other('echo > made; mkdir dir');
      const owner = deviates('owner') ? { uid: 0, gid: 0 } : { uid: 1234, gid: 1234 };
      expect(await fs.stat(at('made'))).toMatchObject(owner);
      expect(await fs.stat(at('dir'))).toMatchObject(owner);
      await fs.writeFile(at('privileged'), '');
      // It asks for the mode alone, which the kernel may know from before.
      const modeOf = async () => (await sh('stat -c %a privileged', place.root)).trim();
      for (const command of [
        'echo >> privileged',
        'dd if=/dev/zero of=privileged bs=4096 count=1 conv=notrunc oflag=direct',
        ...(has('fallocate') && !deviates('fallocate') ? ['fallocate -l 5000 privileged'] : []),
        'echo > privileged',
        'truncate -s 0 privileged',
      ]) {
        // Set-group-id that means nothing is left to the kernel there.
        for (const permissions of place.contract.transport === 'kernel' ? ['777', '666'] : ['777']) {
          await fs.chmod(at('privileged'), `6${permissions}`);
          expect(await modeOf()).toBe(`6${permissions}`);
          await other(command);
          expect(await modeOf(), `6${permissions} after ${command}`).toBe(permissions);
          await fs.chmod(at('privileged'), 0o6777);
          await sh(command, place.root);
          expect(await modeOf(), `${command} of root`).toBe('6777');
        }
      }
      await fs.writeFile(at('private'), 'x', { mode: 0o600 });
      await expect(other('cat private')).rejects.toThrow('Permission denied');
      await expect(other('chmod 777 private')).rejects.toThrow('not permitted');
    });

    test.skipIf(contract.tree !== 'staging' || deviates('birth-time') || !isLinux(6, 6))(
      'when it was made',
      async () => {
        const before = Date.now();
        await fs.writeFile(at('f'), '');
        await fs.utimes(at('f'), 1, 1);
        await fs.appendFile(at('f'), 'x');
        const { birthtimeMs } = await fs.stat(at('f'));
        // File systems have a clock that ticks.
        expect(birthtimeMs).toBeGreaterThan(before - 1000);
        expect(birthtimeMs).toBeLessThanOrEqual(Date.now());
        expect((await sh('stat -c %W f', place.root)).trim()).toBe(String(Math.floor(birthtimeMs / 1000)));
      },
    );

    test('the group of a directory is inherited', async () => {
      await fs.mkdir(at('shared'));
      await fs.chown(at('shared'), 0, 4321);
      await fs.chmod(at('shared'), 0o2775);
      await fs.mkdir(at('shared/d'));
      await fs.writeFile(at('shared/f'), '');
      expect((await fs.stat(at('shared/f'))).gid).toBe(4321);
      const { gid, mode } = await fs.stat(at('shared/d'));
      expect([gid, mode & 0o2000]).toEqual([4321, 0o2000]);
    });

    test('inode numbers have 64 bits and stay', async () => {
      await fs.writeFile(at('f'), '');
      const { ino } = await fs.stat(at('f'));
      expect(ino > 2 ** 32).toBe(!deviates('inode-numbers'));
      expect((await sh('ls -i f', place.root)).split(' ')[0]).toBe(String(ino));
      await fs.rename(at('f'), at('g'));
      expect((await fs.stat(at('g'))).ino).toBe(ino);
    });

    test('times, to the nanosecond', async () => {
      await fs.writeFile(at('f'), '');
      const times = async () => {
        const { atimeNs, mtimeNs } = await fs.lstat(at('f'), { bigint: true });
        return [atimeNs, mtimeNs];
      };
      const both = async (atime: string, mtime: string) => {
        if (has('python3'))
          await python(
            'os.utime(sys.argv[1], ns=(int(sys.argv[2]), int(sys.argv[3])))',
            at('f'),
            atime,
            mtime,
          );
        return has('python3') ? times() : [BigInt(atime), BigInt(mtime)];
      };
      const [first = 0n, second] = await both('1600000000123456789', '1500000000987654321');
      expect(first).toBe(deviates('milliseconds') ? 1_600_000_000_123_000_000n : 1_600_000_000_123_456_789n);
      expect(second).toBe(deviates('mtime') ? first : 1_500_000_000_987_654_321n);
      if (deviates('one-time')) {
        await run('touch', ['-a', '-d', '@1', at('f')]);
        expect(await times()).toEqual([first, second]);
        return;
      }
      await run('touch', ['-a', '-d', '@1500000000.987654321', at('f')]);
      await run('touch', ['-m', '-d', '@1600000000.123456789', at('f')]);
      expect(await times()).toEqual([1_500_000_000_987_654_321n, 1_600_000_000_123_456_789n]);
      await run('touch', ['-m', '-d', '@-1.5', at('f')]);
      expect(await times()).toEqual([1_500_000_000_987_654_321n, -1_500_000_000n]);
      // The kernel's clock for files ticks every ten milliseconds at the most.
      const before = BigInt(Date.now() - 10) * 1_000_000n;
      await run('touch', ['-m', at('f')]);
      const [atime, mtime = 0n] = await times();
      expect(atime).toBe(1_500_000_000_987_654_321n);
      expect(mtime).toBeGreaterThanOrEqual(before);
      await fs.symlink('f', at('l'));
      await run('touch', ['-h', '-d', '@1.000000002', at('l')]);
      expect((await fs.lstat(at('l'), { bigint: true })).mtimeNs).toBe(1_000_000_002n);
    });

    test('times of what is written and where names come and go', async () => {
      await fs.writeFile(at('f'), 'x');
      const age = ['-d', '@1000000000'];
      for (const [path, change] of [
        ['f', () => fs.appendFile(at('f'), 'y')],
        ['f', () => fs.truncate(at('f'), 1)],
        ['f', () => fs.writeFile(at('f'), 'new')],
        ['', () => fs.writeFile(at('g'), '')],
        ['', () => fs.rename(at('g'), at('h'))],
        ['', () => fs.unlink(at('h'))],
      ] as const) {
        await run('touch', [...age, at(path)]);
        expect((await fs.stat(at(path))).mtimeMs).toBe(1e12);
        await change();
        expect((await fs.stat(at(path))).mtimeMs, String(change)).toBeGreaterThan(1.6e12);
      }
    });

    test.skipIf(!has('python3'))('extended ones', async () => {
      await fs.writeFile(at('f'), '');
      const script = `
f = sys.argv[1]
def errno_of(call, *args):
  try:
      call(*args)
      return 'done'
  except OSError as error:
      return errno.errorcode[error.errno]
os.setxattr(f, 'user.a', b'x' * 1000)
os.setxattr(f, 'user.empty', b'')
print(sorted(os.listxattr(f)), len(os.getxattr(f, 'user.a')), os.getxattr(f, 'user.empty'))
print(errno_of(os.setxattr, f, 'user.a', b'', os.XATTR_CREATE), errno_of(os.setxattr, f, 'user.b', b'', os.XATTR_REPLACE))
os.setxattr(f, 'user.a', b'short', os.XATTR_REPLACE)
print(os.getxattr(f, 'user.a'))
os.removexattr(f, 'user.a')
print(errno_of(os.getxattr, f, 'user.a'), errno_of(os.removexattr, f, 'user.a'), os.listxattr(f))
print(errno_of(os.setxattr, f, 'trusted.a', b''), errno_of(os.setxattr, f, 'security.capability', b''))
small = ctypes.create_string_buffer(1)
os.setxattr(f, 'user.a', b'long')
print(libc.getxattr(f.encode(), b'user.a', small, 1), errno.errorcode[ctypes.get_errno()])`;
      expect((await python(script, at('f'))).split('\n')).toEqual([
        "['user.a', 'user.empty'] 1000 b''",
        'EEXIST ENODATA',
        "b'short'",
        "ENODATA ENODATA ['user.empty']",
        'ENOTSUP ENOTSUP',
        '-1 ERANGE',
      ]);
    });
  });
}
