# Sourced by the other scripts: makes a fresh checkout ready to run, from nothing but Node and npm.
# Leaves the shell in the project's root. Says what it does on standard error.

set -eu
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*" >&2; }

if ! command -v node >/dev/null || ! node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)'; then
  say "Node.js 20.19 or newer is needed, and is $(node --version 2>/dev/null || echo missing). See https://nodejs.org."
  exit 1
fi

# npm leaves a copy of the lock file behind when it is done: packages are installed when that is older than ours.
if [ ! -e node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
  say 'Installing packages (npm ci) ...'
  npm ci --no-fund --no-audit --loglevel=error >&2
fi

say 'Building ...'
npm run --silent build >&2

# fusermount3 is what lets users mount, and what the mount of fuse-native asks to unmount.
if [ -e /dev/fuse ] && ! command -v fusermount3 >/dev/null; then
  if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    say 'Installing fuse3 (apt-get) ...'
    { apt-get install -y -qq --no-install-recommends fuse3 || { apt-get update -qq && apt-get install -y -qq --no-install-recommends fuse3; }; } >/dev/null 2>&1 ||
      say 'fuse3 could not be installed: what needs a mount will be skipped.'
  else
    say 'fusermount3 is missing: what needs a mount will be skipped. To have it: sudo apt-get install fuse3'
  fi
fi
