/** What a check has found. `warn` is for what works but will surprise somebody. */
export interface Finding {
  readonly status: 'ok' | 'warn' | 'fail';
  /** What it is about: `system`, `configuration`, `bucket <name>` or `left behind`. */
  readonly area: string;
  /** One sentence without a full stop. */
  readonly text: string;
  /** What the user can do; absent where there is nothing to do. */
  readonly advice?: string | undefined;
}

/** Findings in the order in which they are made. */
export type Check = AsyncGenerator<Finding, void, undefined>;

/** Makes the findings of one area. */
export function findingsOf(
  area: string,
): Readonly<Record<'ok' | 'warn' | 'fail', (text: string, advice?: string) => Finding>> {
  return {
    ok: (text, advice) => ({ status: 'ok', area, text, advice }),
    warn: (text, advice) => ({ status: 'warn', area, text, advice }),
    fail: (text, advice) => ({ status: 'fail', area, text, advice }),
  };
}
