/** A place in a text; both count from 1, columns in UTF-16 units. */
export interface TextPosition {
  readonly line: number;
  readonly column: number;
}

const SPACE = /[ \t\n\r]*/y;
const SCALAR =
  // oxlint-disable-next-line no-control-regex -- JSON strings must not have them
  /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?|true|false|null/y;

/**
 * Where a text stops being JSON (RFC 8259); undefined when it is JSON. The message that JSON.parse gives may quote the
 * text, which is no good where that holds secrets.
 */
export function jsonErrorPosition(text: string): TextPosition | undefined {
  let at = 0;
  const match = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    const found = pattern.exec(text)?.[0];
    at += found?.length ?? 0;
    return found;
  };
  const closers: string[] = [];
  let expect: 'value' | 'value or ]' | 'key' | 'key or }' | 'next' = 'value';
  for (;;) {
    match(SPACE);
    const char = text[at];
    if (expect === 'next') {
      const closer = closers.at(-1);
      if (closer === undefined) return char === undefined ? undefined : positionOf(text, at);
      if (char === closer) closers.pop();
      else if (char === ',') expect = closer === '}' ? 'key' : 'value';
      else return positionOf(text, at);
      at += 1;
    } else if ((expect === 'value or ]' && char === ']') || (expect === 'key or }' && char === '}')) {
      closers.pop();
      expect = 'next';
      at += 1;
    } else if (expect === 'key' || expect === 'key or }') {
      const start = at;
      if (char !== '"' || match(SCALAR) === undefined) return positionOf(text, start);
      match(SPACE);
      if (text[at] !== ':') return positionOf(text, at);
      expect = 'value';
      at += 1;
    } else if (char === '{' || char === '[') {
      closers.push(char === '{' ? '}' : ']');
      expect = char === '{' ? 'key or }' : 'value or ]';
      at += 1;
    } else {
      if (match(SCALAR) === undefined) return positionOf(text, at);
      expect = 'next';
    }
  }
}

function positionOf(text: string, offset: number): TextPosition {
  const before = text.slice(0, offset).split('\n');
  return { line: before.length, column: (before.at(-1)?.length ?? 0) + 1 };
}
