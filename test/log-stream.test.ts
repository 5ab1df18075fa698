import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rename, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { LOG_WAITING_MAX_BYTES } from '../src/limits.ts';
import { LogStream } from '../src/log-stream.ts';
import { createLogger } from '../src/log.ts';
import { compileProgram } from './support/run-typescript.ts';

describe('the log of a mount', () => {
  let directory: string;
  let path: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'log-stream-'));
    path = join(directory, 'log');
  });
  afterEach(() => rm(directory, { recursive: true }));

  test('has all lines in their order, and lets nobody else in', async () => {
    await writeFile(path, 'before\n', { mode: 0o644 });
    const stream = await LogStream.open(path);
    for (let line = 0; line < 1_000; line += 1) stream.write(`${line}\n`);
    await stream.flush();
    const lines = (await readFile(path, 'utf8')).split('\n');
    expect(lines).toEqual(['before', ...Array.from({ length: 1_000 }, (_, line) => String(line)), '']);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(stream.lost).toBeUndefined();
  });

  test('on a full device counts what is lost, and ends nothing', async () => {
    const stream = await LogStream.open('/dev/full');
    const log = createLogger('info', stream);
    for (let line = 0; line < 3; line += 1) {
      log.info('x');
      await stream.flush();
    }
    expect(stream.lost).toEqual({ lines: 3, reason: expect.stringContaining('ENOSPC') });
  });

  test('takes no more memory than it may while lines wait', async () => {
    const stream = await LogStream.open(path);
    const line = `${'x'.repeat(1_023)}\n`;
    for (let written = 0; written < 2 * LOG_WAITING_MAX_BYTES; written += line.length) stream.write(line);
    await stream.flush();
    const dropped = LOG_WAITING_MAX_BYTES / line.length;
    expect(stream.lost).toEqual({ lines: dropped, reason: 'it takes lines too slowly' });
    const text = await readFile(path, 'utf8');
    expect(text.match(/^x+$/gm)).toHaveLength(dropped);
    expect(text.match(/^\{"level":40,"time":\d+,"lostLines":(\d+),"msg":".*"\}$/m)?.[1]).toBe(
      String(dropped),
    );
  });

  test('goes on in a new file when the old one was renamed, and where it was cut', async () => {
    const stream = await LogStream.open(path);
    stream.write('one\n');
    await stream.flush();
    await rename(path, `${path}.1`);
    stream.write('two\n');
    await stream.reopen();
    stream.write('three\n');
    await stream.flush();
    expect(await readFile(`${path}.1`, 'utf8')).toBe('one\ntwo\n');
    expect(await readFile(path, 'utf8')).toBe('three\n');
    await truncate(path);
    stream.write('four\n');
    await stream.flush();
    expect(await readFile(path, 'utf8')).toBe('four\n');
    await rm(path);
    await writeFile(join(directory, 'other'), '');
    await rename(directory, `${directory}-gone`);
    await expect(stream.reopen()).rejects.toThrow('ENOENT');
    await rename(`${directory}-gone`, directory);
    stream.write('five\n');
    await stream.flush();
    expect(stream.lost).toBeUndefined();
  });

  test('in a file that becomes full loses whole lines, says how many when there is room, and loses none at a crash', async () => {
    const program = join(directory, 'program.ts');
    const compiled = await compileProgram(resolve(import.meta.dirname, '../src/log.ts'));
    const script = `
      const { LogStream } = await import('${compiled.path.replace('log.js', 'log-stream.js')}');
      const { writeFileSync, truncateSync } = await import('node:fs');
      const stream = await LogStream.open('${path}');
      process.on('SIGXFSZ', () => {});
      for (let line = 0; line < 200; line += 1) {
        stream.write(String(line).padStart(99, '.') + '\\n');
        if (line % 7 === 0) await stream.flush();
        if (line === 180) { await stream.flush(); truncateSync('${path}', ${10 * 1_024}); }
      }
      stream.write('last\\n');
      throw new Error('a fault');
    `;
    try {
      await writeFile(program, script);
      const run = `ulimit -f 16; trap '' XFSZ; exec "${process.execPath}" --input-type=module < ${program}`;
      const { code, stderr } = await new Promise<{ code: unknown; stderr: string }>((done) => {
        execFile('bash', ['-c', run], (error, _, said) => done({ code: error?.code, stderr: said }));
      });
      expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining('a fault') });
    } finally {
      await compiled.remove();
    }
    const text = await readFile(path, 'utf8');
    expect(text).toMatch(/last\n$/);
    const [, lost] = /"lostLines":(\d+),"msg":"\d+ lines of this log are lost: EFBIG/.exec(text) ?? [];
    // Those that were under way when it ended may be there twice.
    const whole = new Set(text.split('\n').filter((line) => /^\.+\d+$/.test(line) && line.length === 99))
      .size;
    // The cut took 61 whole lines and a part of one more: 163 fit into 16 KiB, 102 into 10 KiB.
    expect(whole + Number(lost)).toBe(200 - (163 - 102));
  });
});
