/**
 * Makes a test of paths from patterns as shells have them: `*` and `?` stand for anything but a slash, `[abc]`, `[a-z]` and `[!a-z]`
 * for one character, `**` for anything. A pattern without a slash is about the last name of a path, any other about the whole.
 */
export function ignoring(patterns: readonly string[]): (relpath: string) => boolean {
  const tests = patterns.map((pattern) => {
    const test = new RegExp(`^${expressionOf(pattern)}$`, 'su');
    return pattern.includes('/')
      ? (relpath: string) => test.test(relpath)
      : (relpath: string) => test.test(relpath.slice(relpath.lastIndexOf('/') + 1));
  });
  return (relpath) => tests.some((isMatch) => isMatch(relpath));
}

function expressionOf(pattern: string): string {
  return pattern.replaceAll(
    /\*\*\/|\*\*|\*|\?|\[(!?)([^\]/]+)\]|[\\^$+.()|{}[\]/-]/gu,
    (part: string, not: string | undefined, set: string | undefined) => {
      if (set !== undefined) return `[${not ? '^/' : ''}${set.replaceAll(/[\\[\]^]/gu, String.raw`\$&`)}]`;
      switch (part) {
        case '**/':
          return '(?:.*/)?';
        case '**':
          return '.*';
        case '*':
          return '[^/]*';
        case '?':
          return '[^/]';
        case '-':
          return part;
        default:
          return `\\${part}`;
      }
    },
  );
}
