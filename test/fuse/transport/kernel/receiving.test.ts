import { execFile } from 'node:child_process';
import { constants, closeSync, openSync, writeSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, onTestFinished, test } from 'vitest';
import { Device } from '../../../../src/fuse/transport/kernel/device.ts';
import { receiveByPipe } from '../../../../src/fuse/transport/kernel/receive/pipe.ts';
import { silentLogger } from '../../../../src/log.ts';

/** A device whose last notification takes as long as the test likes. */
class BusyDevice extends Device {
  readonly #notified: Promise<void>;

  constructor(fd: number, notified: Promise<void>) {
    super(fd, silentLogger);
    this.#notified = notified;
  }

  override async endNotifications(): Promise<void> {
    await this.#notified;
    await super.endNotifications();
  }
}

test('requests are taken until the last notification is through, though it is to stop', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'receiving-'));
  onTestFinished(() => rm(directory, { recursive: true }));
  const fifo = join(directory, 'fifo');
  await promisify(execFile)('mkfifo', [fifo]);
  let release = (): void => {};
  const notified = new Promise<void>((resolve) => {
    release = resolve;
  });
  const lengths: number[] = [];
  const receiver = receiveByPipe({
    device: new BusyDevice(openSync(fifo, constants.O_RDWR | constants.O_NONBLOCK), notified),
    log: silentLogger,
    onMessage: (_, length) => lengths.push(length),
    wake: () => {},
  });
  const writer = openSync(fifo, constants.O_WRONLY);
  const stopped = receiver?.stop();
  writeSync(writer, Buffer.alloc(80));
  await expect.poll(() => lengths).toEqual([80]);
  release();
  await stopped;
  closeSync(writer);
});
