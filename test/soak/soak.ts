import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { seededRandom } from '../../src/demo/random.ts';
import { createS3ObjectStore, type S3ObjectStore } from '../../src/ecs/s3-object-store.ts';
import { createSkewCorrectingObjectStore } from '../../src/ecs/store-clock.ts';
import { messageOf } from '../../src/errors.ts';
import { isProcessAlive } from '../../src/process-alive.ts';
import { type FaultyProxy, startFaultyProxy } from '../support/faulty-proxy.ts';
import { configurationOf, createEmbeddedBucket, type TestBucket } from '../support/test-bucket.ts';
import type { Disturbance } from './disturbances.ts';
import { Figures, type Violation, VIOLATIONS } from './figures.ts';
import { leftFiles } from './left-files.ts';
import type { LoadMessage, LoadOptions } from './load.ts';
import { networkFaults } from './network-faults.ts';
import { OtherClient } from './other-client.ts';
import { OtherHost, type Told } from './other-host.ts';
import { hasSignalled, startSignalled } from './signalled.ts';
import { SoakedMount, Stuck, within } from './soaked-mount.ts';
import { SteppedClock } from './stepped-clock.ts';
import { DISCARDED, DISCARDED_GRACE_MS, NETWORK, NETWORK_GRACE_MS, Troubles } from './troubles.ts';

export interface SoakOptions {
  /** Of all that is drawn. */
  readonly seed: number;
  /** Compiled program of load.ts. */
  readonly loadProgram: string;
  /** What is done, each as often as it is named here. */
  readonly disturbances: readonly Disturbance[];
  /** Asked after each disturbance, of which so many were made. */
  readonly isOver: (disturbances: number) => boolean;
  /** Whether a program that gets many signals uses the mount, too. */
  readonly signals?: boolean;
  /** The longest time between two disturbances. */
  readonly pauseMaxMs: number;
  /** Hears of violations as they are found, and now and then how things stand. */
  readonly report: (line: string) => void;
}

/** What reading in a dataset gives that is removed meanwhile. */
const LOST: ReadonlySet<string> = new Set(['ENOENT', 'EIO', 'ESTALE']);
const STEADY_DATASETS = 3;
const LOADS: readonly Pick<LoadOptions, 'readers' | 'stagers'>[] = [
  { readers: 6, stagers: 0 },
  { readers: 0, stagers: 3 },
];
const OTHER_HOST_LOAD = { readers: 2, stagers: 1 };
/** Caches so small that they are full all the time. */
const MOUNT_OPTIONS = [
  '--refresh',
  '1',
  '--cache-memory',
  '8M',
  '--cache-size',
  '64M',
  '--log-level',
  'info',
];
/** When all is well again, everything that was begun is done within this. */
const DONE_WITHIN_MS = 180_000;
const SUSPENDED_MAX_MS = 2_000;
const NETWORK_FAILS_MAX_MS = 4_000;
/** So that a freeze lasts longer than it takes to start the command that disturbs it. */
const DELAY_MAX_MS = 3_000;
const REPORT_EVERY_MS = 60_000;
/** What a store takes for the right date is a quarter of an hour more or less. */
const CLOCK_OFF_MAX_MS = 2 * 3_600_000;
const SLEPT_MS = 20 * 60_000;

/**
 * Reads, writes, syncs and freezes in a mount while it is killed, suspended, unmounted, cut off and made again, and another
 * client changes the bucket; then looks for what is left.
 *
 * @returns what was done and seen, a figure for each {@link Violation} among it
 * @throws Stuck and others where the mount can't be made or ended again; what was seen until then is reported
 */
export async function soak(options: SoakOptions): Promise<Figures> {
  await using run = await SoakRun.start(options);
  try {
    await run.disturb();
    await run.finish();
  } catch (error) {
    options.report(`cut short by: ${messageOf(error)}\n${run.figures.toString()}`);
    throw error;
  }
  return run.figures;
}

class SoakRun implements AsyncDisposable {
  readonly figures = new Figures();
  readonly #options: SoakOptions;
  readonly #random: () => number;
  readonly #bucket: TestBucket;
  readonly #proxy: FaultyProxy;
  /** Directly to the store, for those who look into the bucket. */
  readonly #connections: S3ObjectStore;
  readonly #client: OtherClient;
  readonly #clock: SteppedClock;
  readonly #mount: SoakedMount;
  /** Each on a host of its own; the first is the one above. */
  readonly #mounts: readonly SoakedMount[];
  readonly #host: OtherHost;
  readonly #network = new Troubles(NETWORK, NETWORK_GRACE_MS);
  readonly #discards = new Troubles(DISCARDED, DISCARDED_GRACE_MS);
  readonly #reported = new Set<string>();
  readonly #loads: ChildProcess[] = [];
  readonly #frozen: { readonly name: string; readonly items: readonly string[] }[] = [];

  private constructor(
    options: SoakOptions,
    random: () => number,
    made: {
      readonly bucket: TestBucket;
      readonly proxy: FaultyProxy;
      readonly connections: S3ObjectStore;
      readonly client: OtherClient;
      readonly clock: SteppedClock;
      readonly mounts: readonly [SoakedMount, ...SoakedMount[]];
      readonly host: OtherHost;
    },
  ) {
    this.#options = options;
    this.#random = random;
    this.#bucket = made.bucket;
    this.#proxy = made.proxy;
    this.#connections = made.connections;
    this.#client = made.client;
    this.#clock = made.clock;
    this.#mounts = made.mounts;
    [this.#mount] = made.mounts;
    this.#host = made.host;
    for (const violation of VIOLATIONS) this.figures.add(violation, 0);
  }

  static async start(options: SoakOptions): Promise<SoakRun> {
    const random = seededRandom(options.seed);
    const clock = new SteppedClock();
    const bucket = await createEmbeddedBucket({ clock });
    const endpoint = bucket.server?.endpoint ?? '';
    const proxy = await startFaultyProxy(endpoint);
    const keys = {
      accessKeyId: bucket.env[`DTOOL_ECS_ACCESS_KEY_ID_${bucket.bucket}`] ?? '',
      secretAccessKey: bucket.env[`DTOOL_ECS_SECRET_ACCESS_KEY_${bucket.bucket}`] ?? '',
    };
    const connections = createS3ObjectStore({
      bucket: bucket.bucket,
      endpoint,
      credentials: async () => keys,
    });
    const store = createSkewCorrectingObjectStore(connections);
    const client = new OtherClient(bucket, store, random);
    for (let seed = 0; seed < STEADY_DATASETS; seed += 1) await client.putSteady(seed);
    const env = configurationOf(bucket.bucket, proxy.endpoint, keys);
    const host = await OtherHost.create(env, bucket.bucket, store, random);
    const mount = await SoakedMount.start(env, bucket.bucket, MOUNT_OPTIONS);
    const others = options.disturbances.includes('other host')
      ? [await SoakedMount.start(env, bucket.bucket, MOUNT_OPTIONS)]
      : [];
    const mounts = [mount, ...others] as const;
    return new SoakRun(options, random, { bucket, proxy, connections, client, clock, mounts, host });
  }

  /** Starts the programs that use the mount, and disturbs them until that is over. */
  async disturb(): Promise<void> {
    const { disturbances, isOver, pauseMaxMs, report, seed } = this.#options;
    for (const [index, load] of LOADS.entries())
      this.#startLoad(this.#mount, { ...load, seed: seed * 10 + index });
    for (const [index, mount] of this.#mounts.slice(1).entries())
      this.#startLoad(mount, { ...OTHER_HOST_LOAD, seed: seed * 10 + LOADS.length + index });
    if (this.#options.signals === true) this.#startSignalled();
    let reported = performance.now();
    for (let made = 0; !isOver(made); made += 1) {
      await sleep(this.#random() * pauseMaxMs);
      const what = disturbances[Math.floor(this.#random() * disturbances.length)];
      if (what === undefined) break;
      await this.#disturb(what);
      this.figures.add(`disturbances: ${what}`);
      await this.#lookForDeath(what);
      await this.#takeFrozen();
      if (performance.now() - reported > REPORT_EVERY_MS) {
        reported = performance.now();
        report(`${made + 1} disturbances; ${this.#violations()}`);
      }
    }
  }

  /** Lets everything that was begun end, in peace, and looks for what is left. */
  async finish(): Promise<void> {
    for (const load of this.#loads) this.#stop(load);
    await Promise.all(this.#loads.map(async (load) => this.#endOf(load)));
    await this.#takeFrozen();
    const unfinished = await this.#client.unfinished();
    if (unfinished.length > 0) this.#violation('leaked', `proto datasets: ${unfinished.join(', ')}`);
    await this.#lookForLeaks();
    for (const [kind, count] of this.#proxy.counts) this.figures.add(`requests: ${kind}`, count);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const load of this.#loads) load.kill('SIGKILL');
    for (const mount of this.#mounts) await mount.remove();
    await this.#host.remove();
    this.#connections.close();
    await this.#proxy.close();
    await this.#bucket.close();
  }

  async #disturb(what: Disturbance): Promise<void> {
    const mount = this.#mounts[Math.floor(this.#random() * this.#mounts.length)] ?? this.#mount;
    switch (what) {
      case 'kill':
        await mount.kill();
        break;
      case 'unmount':
        await mount.unmountAndMount();
        break;
      case 'suspend':
        await mount.suspend(this.#random() * SUSPENDED_MAX_MS);
        break;
      case 'network':
        await this.#whileNetworkFails();
        break;
      case 'away':
        await this.#network.during(async () => {
          this.#proxy.setAway(true);
          await sleep(this.#random() * NETWORK_FAILS_MAX_MS);
          this.#proxy.setAway(false);
        });
        break;
      case 'discard':
        // Slow changes make it likely that a freeze is in the middle of its own.
        this.#proxy.setSchedule((method) =>
          method === 'PUT' || method === 'DELETE'
            ? { kind: 'delay', ms: this.#random() * DELAY_MAX_MS }
            : undefined,
        );
        this.#tell(await this.#discards.during(async () => this.#host.discard()));
        this.#proxy.setSchedule(undefined);
        break;
      case 'other host':
        this.#tell(await this.#host.freezeTwice());
        break;
      case 'log':
        // Faults are what a mount logs most of.
        if (this.#random() < 0.3) await mount.rotateLog();
        else if (await mount.whileLogIsFull(async () => this.#whileNetworkFails()))
          this.figures.add('log disks filled');
        break;
      case 'clock':
        this.#clock.setOffset((2 * this.#random() - 1) * CLOCK_OFF_MAX_MS);
        break;
      case 'sleep':
        await mount.suspend(this.#random() * SUSPENDED_MAX_MS, () => this.#clock.step(SLEPT_MS));
        break;
      case 'other client':
      default:
        this.figures.add(`datasets ${await this.#client.change()} by another client`);
    }
  }

  async #whileNetworkFails(): Promise<void> {
    await this.#network.during(async () => {
      this.#proxy.setSchedule(networkFaults(this.#random));
      await sleep(this.#random() * NETWORK_FAILS_MAX_MS);
      this.#proxy.setSchedule(undefined);
    });
  }

  #tell({ did, wrong, frozen }: Told): void {
    this.figures.add(did);
    if (wrong) this.#violation(wrong.violation, wrong.detail);
    if (frozen) this.#frozen.push(frozen);
  }

  /** A mount is there after whatever was done to it, or it has died of that. */
  async #lookForDeath(what: Disturbance): Promise<void> {
    for (const mount of this.#mounts) {
      if (await mount.isAlive()) continue;
      this.#violation('died', `the process of ${mount.path}, after: ${what}; ${await mount.lastWords()}`);
      await mount.replace();
    }
  }

  #startSignalled(): void {
    if (!hasSignalled()) {
      this.#options.report('SKIPPED: calls under signals, because perl or one of its modules is missing');
      return;
    }
    const hear = (message: LoadMessage): void => {
      if (message.tell === 'error' && message.code === 'EINTR' && !this.#mount.explains(message))
        this.#violation('interrupted', `${message.what} of ${message.path}`);
      else this.#hear(this.#mount, message);
    };
    this.#loads.push(startSignalled(this.#mount.path, 'signalled', hear));
  }

  /** Asks a program to end what it has begun. */
  #stop(load: ChildProcess): void {
    if (load.connected) load.send('stop');
    else load.kill('SIGUSR1');
  }

  #startLoad(mount: SoakedMount, load: Omit<LoadOptions, 'mountpoint'>): ChildProcess {
    const options: LoadOptions = { ...load, mountpoint: mount.path };
    const child = fork(this.#options.loadProgram, [JSON.stringify(options)], {
      execArgv: [],
      // Calls that wait must not keep others from being made.
      env: { ...process.env, UV_THREADPOOL_SIZE: '32' },
    });
    child.on('message', (message: LoadMessage) => this.#hear(mount, message));
    this.#loads.push(child);
    return child;
  }

  #hear(mount: SoakedMount, message: LoadMessage): void {
    switch (message.tell) {
      case 'violation':
        this.#violation(message.violation, message.detail);
        break;
      case 'frozen':
        this.#frozen.push(message);
        break;
      case 'figures':
        this.figures.addAll(message.figures);
        break;
      case 'error':
      default: {
        const { what, path, code } = message;
        this.figures.add(`errors: ${code}`);
        const isGone = LOST.has(code) && this.#client.mayBeGone(path);
        // A dataset shows from its commit on, though its freeze may find after that that it is being discarded.
        const isDiscarded =
          what === 'freeze'
            ? this.#discards.explains(message)
            : LOST.has(code) &&
              this.#host.mayBeDiscarded(path) &&
              this.#discards.overlaps(message.from, message.to);
        const isExplained = mount.explains(message) || this.#network.explains(message);
        if (!isGone && !isDiscarded && !isExplained)
          this.#violation('dishonest-error', `${what} of ${path}: ${code}`);
      }
    }
  }

  #violation(violation: Violation, detail: string): void {
    this.figures.add(violation);
    const line = `${violation}: ${detail}`;
    // Programs go on trying, and one line tells as much as thousands.
    if (!this.#reported.has(line)) this.#options.report(line);
    this.#reported.add(line);
  }

  #violations(): string {
    return VIOLATIONS.map((violation) => `${violation} ${this.figures.get(violation)}`).join(', ');
  }

  /** Looks into the bucket for what was frozen, and makes room for more. */
  async #takeFrozen(): Promise<void> {
    for (const { name, items } of this.#frozen.splice(0)) {
      const wrong = await this.#client.takeFrozen(name, items);
      if (wrong !== undefined) this.#violation('wrong-bytes', wrong);
      this.figures.add('frozen datasets found in the bucket');
    }
  }

  /** Waits for a program; one that does not end is killed, and has to be gone then. */
  async #endOf(load: ChildProcess): Promise<void> {
    const isOver = (): boolean => load.exitCode !== null || load.signalCode !== null;
    try {
      await within(DONE_WITHIN_MS, 'a program that uses the mount', async () => {
        if (!isOver()) await once(load, 'exit');
      });
      if (load.exitCode !== 0)
        this.#violation(
          'stuck',
          `a program that uses the mount ended with ${load.exitCode ?? load.signalCode}`,
        );
    } catch (error) {
      if (!(error instanceof Stuck)) throw error;
      this.#violation('stuck', messageOf(error));
    }
  }

  async #lookForLeaks(): Promise<void> {
    const mount = this.#mount;
    await mount.unmountAndMount();
    // Threads and what they need come with the first use, and stay.
    await this.#useOnce();
    const used = await mount.descriptors();
    await this.#useOnce();
    const isLean = async (): Promise<boolean> => (await mount.descriptors()).length <= used.length;
    if (!(await isSoon(isLean)))
      this.#violation(
        'leaked',
        `descriptors: ${(await mount.descriptors()).join(', ')}; were ${used.join(', ')}`,
      );
    for (const each of this.#mounts) {
      const { pid } = each;
      await each.end();
      if (await each.isMounted()) this.#violation('leaked', `a mount at ${each.path}`);
      if (await isProcessAlive(pid)) this.#violation('stuck', 'the process of the mount');
      for (const path of await leftFiles(each, async () => this.#client.putSteady(STEADY_DATASETS)))
        this.#violation('leaked', path);
    }
  }

  /** Uses the mount in peace until all of it is at rest. */
  async #useOnce(): Promise<void> {
    const before = this.figures.get('frozen datasets found in the bucket');
    const load = this.#startLoad(this.#mount, { seed: this.#options.seed + 1, readers: 4, stagers: 2 });
    const isUsed = async (): Promise<boolean> => {
      await this.#takeFrozen();
      return this.figures.get('frozen datasets found in the bucket') > before;
    };
    if (!(await isSoon(isUsed))) this.#violation('stuck', 'a mount that nothing is done to');
    this.#stop(load);
    await this.#endOf(load);
    await this.#takeFrozen();
    const isIdle = async (): Promise<boolean> => {
      const { openHandles, queue } = await this.#mount.status();
      return openHandles === 0 && queue.running === 0;
    };
    if (!(await isSoon(isIdle))) this.#violation('leaked', 'handles or requests are open in an idle mount');
  }
}

/** Whether something becomes true in a reasonable time. */
async function isSoon(condition: () => Promise<boolean>): Promise<boolean> {
  for (const end = performance.now() + DONE_WITHIN_MS; performance.now() < end; await sleep(50))
    if (await condition()) return true;
  return false;
}
