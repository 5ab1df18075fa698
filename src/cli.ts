#!/usr/bin/env node
import { Argument, Command, CommanderError, Option } from 'commander';
import {
  parseBytes,
  parseCacheSize,
  parseId,
  parseInterval,
  parsePort,
  parseSeconds,
  parseTries,
  parseUmask,
} from './commands/options.ts';
import { Interrupted } from './commands/mount/interrupted.ts';
import { standardError, standardOutput } from './commands/output.ts';
import { printError } from './commands/terminal.ts';
import { RECEIVE_MODES } from './fuse/transport/kernel/receive/receiver.ts';
import { TRANSPORT_NAMES } from './fuse/transport/transport.ts';
import { DISK_CACHE_DEFAULT_BYTES, MiB, STORE_TRIES_MAX } from './limits.ts';
import { LOG_LEVELS } from './log-level.ts';
import { VERSION } from './version.ts';

/** Exit codes: 0 done, 1 failed, 2 wrong usage; 130 and 143 of a mount that SIGINT or SIGTERM ended as it started. */
const DONE = 0;
const FAILED = 1;
const WRONG_USAGE = 2;

/** A command that is loaded when it is called: `status` and `umount` need no S3 client. */
function lazily<A extends unknown[]>(
  load: () => Promise<(...given: A) => Promise<void>>,
): (...given: A) => Promise<void> {
  return async (...given) => (await load())(...given);
}

const program = new Command('dtool-ecs-mount')
  .configureOutput({
    writeOut: (text) => standardOutput.write(text),
    writeErr: (text) => standardError.write(text),
  })
  .description('Mounts the dtool datasets of an S3-compatible bucket as plain directories.')
  .version(VERSION)
  .showHelpAfterError('(--help shows what there is)')
  .exitOverride()
  .enablePositionalOptions();

program
  .command('mount', { isDefault: true })
  .description('mount one bucket, several, or all that are configured')
  .usage('[options] <bucket...> <mountpoint>')
  .argument('<bucket-and-mountpoint...>', 'names of buckets, and the directory to mount at')
  .option('--all', 'every bucket that has an endpoint in the configuration', false)
  .option('-f, --foreground', 'stay in the foreground; Ctrl-C unmounts', false)
  .option('--allow-other', 'let other users in, as file modes permit', false)
  .option('--auto-unmount', 'take the mount away even if its process is killed', false)
  .option('--allow-non-empty', 'mount over a directory that has something in it', false)
  .option('--read-only', 'mount read-only, without a staging area', false)
  .option('--staging-dir <path>', 'where staged files are (default: below ~/.local/state)')
  .option('--take-staging', 'show what was staged for the same bucket at another endpoint', false)
  .option('--uid <number>', 'owner of all files (default: you)', parseId)
  .option('--gid <number>', 'group of all files (default: yours)', parseId)
  .option('--umask <octal>', 'permission bits that no file has', parseUmask, 0)
  .option('--refresh <seconds>', 'how old the list of datasets, READMEs, tags … may get', parseSeconds, 60)
  .option(
    '--tries <count>',
    'how often a request is tried before what needs it fails',
    parseTries,
    STORE_TRIES_MAX,
  )
  .option('--cache-memory <size>', 'memory for blocks that were read (default: 256M)', parseBytes, 256 * MiB)
  .option('--cache-dir <path>', 'where blocks are kept on disk (default: below ~/.cache)')
  .option(
    '--cache-size <size>',
    'how much is kept on disk by all mounts together, or none (default: 10G)',
    parseCacheSize,
    DISK_CACHE_DEFAULT_BYTES,
  )
  .addOption(
    new Option('--transport <name>', 'how to talk to the kernel')
      .choices(TRANSPORT_NAMES)
      .default(TRANSPORT_NAMES[0]),
  )
  .addOption(
    new Option('--receive <mode>', 'how the kernel transport waits for requests')
      .choices(RECEIVE_MODES)
      .default(RECEIVE_MODES[0]),
  )
  .option('--metrics-port <number>', 'serve metrics on a port of 127.0.0.1, or on any: 0', parsePort)
  .addOption(
    new Option('--log-level <level>', 'least important messages to log').choices(LOG_LEVELS).default('info'),
  )
  .option('--log-file <path>', 'append the log to a file (default in the background: below ~/.local/state)')
  .action(async (operands: string[], options, command: Command) => {
    const mountpoint = operands.pop();
    if (mountpoint === undefined || (operands.length === 0) !== options.all) {
      command.error(
        options.all
          ? 'error: --all takes the mountpoint alone'
          : 'error: a bucket and a mountpoint are needed',
      );
    }
    const { mountCommand } = await import('./commands/mount.ts');
    await mountCommand(operands, mountpoint, options);
  });

program
  .command('umount')
  .description('end a mount')
  .addArgument(new Argument('<mountpoint>'))
  .action(lazily(async () => (await import('./commands/umount.ts')).umountCommand));

program
  .command('ls')
  .description('list datasets, or the items of one; needs no mount')
  .argument(
    '[target...]',
    'BUCKET, BUCKET/DATASET, ecs://BUCKET/UUID, or a path in a mount (default: all buckets)',
  )
  .option('--json', 'print JSON', false)
  .action(lazily(async () => (await import('./commands/ls.ts')).lsCommand));

program
  .command('freeze')
  .description('make a dataset of a staged folder, or with --bucket of any directory, which needs no mount')
  .argument('<path>', 'plain folder, or a dataset in the layout that dtool has on disk')
  .option('--bucket <name>', 'where the dataset of a directory goes that is in no staging area')
  .option('--name <name>', "the dataset's name (default: the one it has, else the directory's)")
  .option('--dry-run', 'say what would be uploaded and what is wrong, and change nothing', false)
  .option(
    '--ignore <pattern>',
    'leave out items of this name or path, such as "*.sock"; may be repeated',
    (pattern: string, patterns: readonly string[] | undefined) => [...(patterns ?? []), pattern],
  )
  .option('--keep-staging', 'leave the staged folder where it is', false)
  .option('--json', 'print JSON', false)
  .action(async (path: string, options, command: Command) => {
    const { freezeCommand } = await import('./commands/freeze.ts');
    await freezeCommand(path, options, (message) => command.error(message));
  });

program
  .command('discard')
  .description('give up a staged folder, or remove what a freeze that was not finished left in a bucket')
  .argument('<path-or-uuid>', 'a folder in staging/, a uuid, or ecs://BUCKET/UUID')
  .option('--bucket <name>', 'where the uuid is (default: as the journal of the freeze says)')
  .option('--yes', 'do not ask', false)
  .option('--json', 'print JSON', false)
  .action(async (target: string, options, command: Command) => {
    const { discardCommand } = await import('./commands/discard.ts');
    await discardCommand(target, options, (message) => command.error(message));
  });

const cacheOptions = (command: Command): Command =>
  command
    .argument(
      '<target...>',
      'BUCKET/DATASET, ecs://BUCKET/UUID, a path in a mount, or BUCKET for all frozen datasets',
    )
    .option('--cache-dir <path>', 'as of the mount')
    .option('--cache-size <size>', 'as of the mount', parseCacheSize, DISK_CACHE_DEFAULT_BYTES)
    .option('--json', 'print JSON', false);

cacheOptions(program.command('warm'))
  .description('fill the disk cache with datasets or parts of them; needs no mount')
  .option('--check', 'only tell how much is in the cache', false)
  .addOption(new Option('--evict', 'remove them from the cache instead').default(false).conflicts('check'))
  .action(lazily(async () => (await import('./commands/warm.ts')).warmCommand));

cacheOptions(program.command('verify'))
  .description('read every item from the bucket and verify it against the manifest; needs no mount')
  .option('--cached', 'read the disk cache instead of the bucket', false)
  .action(lazily(async () => (await import('./commands/verify.ts')).verifyCommand));

program
  .command('status')
  .description('tell of the running mounts: cache, requests, problems')
  .option('--json', 'print JSON', false)
  .action(lazily(async () => (await import('./commands/status.ts')).statusCommand));

program
  .command('stats')
  .description('show what a mount does, as it does it: rates, latencies, hits; Ctrl-C ends it')
  .addArgument(new Argument('<mountpoint>'))
  .option('--interval <seconds>', 'time that each look covers', parseInterval, 2)
  .option('--once', 'end after the first', false)
  .option('--json', 'print JSON, an object a line', false)
  .action(lazily(async () => (await import('./commands/stats.ts')).statsCommand));

program
  .command('doctor')
  .description(
    'look whether all is there that is needed: system, configuration, buckets, what was left behind',
  )
  .argument('[bucket...]', 'buckets to look at (default: all that are configured)')
  .option('--write', 'also write an object into each bucket and remove it again', false)
  .option('--fix', 'mend proto datasets that two versions of dtool have made impossible to freeze', false)
  .option('--json', 'print JSON', false)
  .action(lazily(async () => (await import('./commands/doctor.ts')).doctorCommand));

program
  .command('demo')
  .description('try it: an S3 server with sample datasets, mounted, with a tour')
  .option('--check', 'take the tour, check every step and end', false)
  .option('--server-only', 'serve the sample datasets and mount nothing', false)
  .option('--port <number>', 'port of the server (default: any that is free)', parsePort, 0)
  .option('--data <directory>', 'keep the objects there and not in memory')
  .action(lazily(async () => (await import('./commands/demo.ts')).demoCommand));

async function run(): Promise<number> {
  try {
    await program.parseAsync();
    return DONE;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? DONE : WRONG_USAGE;
    printError(error);
    if (error instanceof Interrupted) return error.exitCode;
    return FAILED;
  }
}

/** Waits until everything that was printed has arrived; a signal ends that. */
async function settle(exitCode: number): Promise<number> {
  for (const signal of ['SIGINT', 'SIGTERM']) process.removeAllListeners(signal);
  let isAllWritten = true;
  for (const output of [standardOutput, standardError]) {
    await output.settled().catch((error: unknown) => {
      isAllWritten = false;
      printError(error);
    });
  }
  await standardError.settled().catch(() => {});
  return isAllWritten || exitCode !== DONE ? exitCode : FAILED;
}

// fuse-native keeps handles of its own open, which would hold the process for ever.
process.exit(await settle(await run()));
