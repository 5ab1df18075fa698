import { createHash } from 'node:crypto';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { z } from 'zod';
import { knownBytes, knownFileOf } from './known-content.ts';
import type { LoadMessage } from './load.ts';

/**
 * A program in Perl, which repeats no call that a signal has ended, asks for no SA_RESTART, and says every error. It gets
 * SIGALRM a thousand times a second, SIGWINCH and SIGCHLD now and then, all with handlers, and reads in datasets and works
 * in a staged folder meanwhile. SIGUSR1 ends it. It prints a JSON object a line.
 */
const PROGRAM = String.raw`
use strict; use warnings;
use Digest::MD5 qw(md5_hex); use Errno; use Fcntl; use File::Path qw(remove_tree); use IO::Handle; use POSIX ();
use Time::HiRes qw(setitimer ITIMER_REAL clock_gettime CLOCK_MONOTONIC sleep);
$| = 1;
my ($mount, $folder) = @ARGV;
my ($stop, $calls, $signals, $round) = (0, 0, 0, 0);
$SIG{ALRM} = $SIG{WINCH} = sub { $signals++ };
$SIG{CHLD} = sub { $signals++; while (waitpid(-1, POSIX::WNOHANG()) > 0) {} };
$SIG{USR1} = sub { $stop = 1 };
my $me = $$;
my $sibling = fork // die "fork: $!";
if (!$sibling) {
  $SIG{$_} = 'DEFAULT' for qw(ALRM WINCH CHLD USR1);
  while (getppid == $me) { kill 'WINCH', $me; select undef, undef, undef, 0.003 }
  POSIX::_exit(0);
}
setitimer(ITIMER_REAL, 0.001, 0.001);

sub nameOf { my ($errno) = @_; local $! = $errno; for (keys %!) { return $_ if $!{$_} } return "errno $errno" }
sub ms { 1000 * clock_gettime(CLOCK_MONOTONIC) }
# Makes a call; prints its error. "from" is when the file was opened that the call is made on.
sub call {
  my ($what, $path, $code, $from) = @_;
  $from //= ms();
  $calls++;
  $! = 0;
  my @result = $code->();
  return @result if @result && defined $result[0];
  printf qq({"tell":"error","what":"%s","path":"%s","code":"%s","from":%.3f,"to":%.3f}\n), $what, $path, nameOf($! + 0), $from, ms();
  return;
}
# The names of a directory, behind an empty one.
sub names {
  my ($path) = @_;
  return call('list', $path, sub {
    opendir(my $directory, "$mount/$path") or return;
    $! = 0;
    my @names = readdir $directory;
    return if $!;
    closedir $directory or return;
    return ('', grep { !/^\.\.?$/ } @names);
  });
}
# All bytes of a file.
sub content {
  my ($path) = @_;
  my $from = ms();
  my ($file) = call('open', $path, sub { sysopen(my $file, "$mount/$path", O_RDONLY) or return; $file }) or return;
  my $bytes = '';
  for (;;) {
    my ($count) = call('read', $path, sub { sysread $file, $bytes, 65536, length $bytes }, $from) or return;
    last if !$count;
  }
  call('close', $path, sub { close $file or return; 1 }, $from) or return;
  return ($bytes);
}
sub readSome {
  my @datasets = grep { /^[^.]/ && $_ ne 'staging' } names('') or return;
  my $dataset = $datasets[rand @datasets];
  my @items = grep { $_ } names("$dataset/data") or return;
  my $path = "$dataset/data/$items[rand @items]";
  call('stat', $path, sub { stat "$mount/$path" or return; 1 }) or return;
  my ($bytes) = content($path) or return;
  printf qq({"tell":"read","path":"%s","bytes":%d,"md5":"%s"}\n), $path, length $bytes, md5_hex($bytes);
}
sub stageSome {
  my $path = "staging/$folder";
  remove_tree("$mount/$path", { error => \my $ignored });
  call('mkdir', $path, sub { mkdir "$mount/$path" or $!{EEXIST} or return; 1 }) or return;
  for my $number (1 .. 4) {
    # The folder of an earlier round is there still if the mount was away.
    my ($one, $two) = ("$path/$round-$number", "$path/$round-$number-moved");
    my $bytes = join '', map { pack 'N', int rand 2 ** 32 } 1 .. 2000;
    my $from = ms();
    my ($file) = call('create', $one, sub { sysopen(my $file, "$mount/$one", O_RDWR | O_CREAT | O_EXCL) or return; $file }) or return;
    my ($count) = call('write', $one, sub { syswrite $file, $bytes }, $from) or return;
    call('fsync', $one, sub { $file->sync or return; 1 }, $from) or return;
    call('close', $one, sub { close $file or return; 1 }, $from) or return;
    call('rename', $one, sub { rename "$mount/$one", "$mount/$two" or return; 1 }) or return;
    call('link', $one, sub { link "$mount/$two", "$mount/$one" or return; 1 }) or return;
    my ($found) = content($one) or return;
    printf qq({"tell":"violation","violation":"lost-after-fsync","detail":"%s: %d of %d bytes"}\n), $one, length $found, $count
      if $found ne substr $bytes, 0, $count;
    call('chmod', $one, sub { chmod 0600, "$mount/$one" or return; 1 }) or return;
    call('unlink', $one, sub { unlink "$mount/$one" or return; 1 }) or return;
  }
  my @left = names($path) or return;
  for my $name (grep { $_ } @left) { call('unlink', "$path/$name", sub { unlink "$mount/$path/$name" or return; 1 }) or return }
  call('rmdir', $path, sub { rmdir "$mount/$path" or return; 1 });
}
while (!$stop) {
  if (++$round % 2) { readSome() } else { stageSome() }
  my $child = fork // die "fork: $!";
  POSIX::_exit(0) if !$child;
}
setitimer(ITIMER_REAL, 0);
$SIG{CHLD} = 'DEFAULT';
kill 'TERM', $sibling;
waitpid $sibling, 0;
for (1 .. 600) {
  my $path = "$mount/staging/$folder";
  last if -d "$mount/staging" && !-e $path;
  remove_tree($path, { error => \my $ignored });
  sleep 0.1;
}
printf qq({"tell":"figures","figures":[["calls under signals",%d],["signals handled",%d]]}\n), $calls, $signals;
`;

const MESSAGE = z.union([
  z.object({
    tell: z.literal('error'),
    what: z.string(),
    path: z.string(),
    code: z.string(),
    from: z.number(),
    to: z.number(),
  }),
  z.object({ tell: z.literal('violation'), violation: z.literal('lost-after-fsync'), detail: z.string() }),
  z.object({ tell: z.literal('read'), path: z.string(), bytes: z.number(), md5: z.string() }),
  z.object({ tell: z.literal('figures'), figures: z.array(z.tuple([z.string(), z.number()])) }),
]);

/** Whether Perl is installed, with the modules that the program needs. */
export function hasSignalled(): boolean {
  try {
    execFileSync('perl', ['-MDigest::MD5', '-MFile::Path', '-MTime::HiRes', '-e', '1'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/**
 * Starts the program that works in a mount while signals come to it.
 *
 * @param folder name of a staged folder of its own
 * @param hear hears what a program of `load.ts` would tell
 */
export function startSignalled(
  mountpoint: string,
  folder: string,
  hear: (message: LoadMessage) => void,
): ChildProcess {
  const child = spawn('perl', ['-e', PROGRAM, mountpoint, folder], { stdio: ['ignore', 'pipe', 'inherit'] });
  createInterface({ input: child.stdout }).on('line', (line) => {
    const message = MESSAGE.parse(JSON.parse(line));
    if (message.tell !== 'read') return hear(message);
    hear({ tell: 'figures', figures: [['bytes read under signals', message.bytes]] });
    if (message.md5 !== md5Of(message.path))
      hear({
        tell: 'violation',
        violation: 'wrong-bytes',
        detail: `${message.path}: ${message.bytes} bytes, under signals`,
      });
  });
  return child;
}

/** The MD5 of the known content that a path is named after, as hex digits. */
function md5Of(path: string): string | undefined {
  const file = knownFileOf(path.split('/').at(-1) ?? '');
  return file && createHash('md5').update(knownBytes(file)).digest('hex');
}
