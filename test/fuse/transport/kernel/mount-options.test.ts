import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  deviceName,
  fusermountArguments,
  mountArguments,
} from '../../../../src/fuse/transport/kernel/mount/options.ts';

const owner = { uid: 1, gid: 2 };

/** Splits an option list as fusermount3 does: a backslash takes the next character out of the rules. */
const splitEscaped = (list: string): string[] =>
  (list.match(/(?:\\.|[^,\\])+/gsu) ?? []).map((option) => option.replaceAll(/\\(.)/gsu, '$1'));

describe('mount options', () => {
  test('a source adds none, whatever it is', () => {
    const source = fc.string({
      unit: fc.constantFrom('a', ',', '\\', '=', '\n', ' ', '-', 'suid', 'ü', '\0'),
    });
    fc.assert(
      fc.property(source, fc.boolean(), fc.boolean(), (name, allowOther, readOnly) => {
        const options = { source: name, allowOther, readOnly };
        const plain = { ...options, source: 'plain' };
        const root = mountArguments('/mnt', options, owner);
        expect(root.toSpliced(-2, 1)).toEqual(mountArguments('/mnt', plain, owner).toSpliced(-2, 1));
        expect(root.at(-2)).toBe(deviceName(name));
        const [, list = '', ...rest] = fusermountArguments('/mnt', options);
        expect(rest).toEqual(['--', '/mnt']);
        const expected = splitEscaped(fusermountArguments('/mnt', plain)[1] ?? '');
        expect(splitEscaped(list)).toEqual([...expected.slice(0, -1), `fsname=${deviceName(name)}`]);
      }),
    );
  });

  test('a device name is no tag and no line', () => {
    expect(deviceName('UUID=1\n2')).toBe('UUID_1_2');
    expect(deviceName('')).toBe('dtool-ecs');
    expect(deviceName('my-bucket')).toBe('my-bucket');
  });

  test('the list says what was asked for', () => {
    const args = mountArguments('/mnt', { source: 's', allowOther: true, readOnly: true }, owner);
    expect(args).toContain(
      'nosuid,nodev,ro,allow_other,default_permissions,fd=3,rootmode=40000,user_id=1,group_id=2',
    );
  });
});
