import type { FreezeProblem } from '../freeze/problems.ts';
import type { StagedResult } from '../freeze/staged-result.ts';
import { UserError } from '../errors.ts';
import { standardError } from './output.ts';
import { formatBytes, print, printable, printJson } from './terminal.ts';

/** Problems that are printed one by one; `--json` has more. */
const PROBLEMS_PRINTED = 100;

/**
 * Tells how a freeze ended, in words or as JSON.
 *
 * @throws UserError when it was refused, after every reason is told
 */
export function reportFreeze(result: StagedResult, bucket: string, json: boolean): void {
  if (result.outcome === 'refused') {
    const { problems, count } = result;
    if (json) printJson({ outcome: 'refused', count, problems });
    else tellProblems(problems, count);
    throw new UserError(result.message);
  }
  const { outcome, uuid, name, items, bytes, uploadedItems, resumed, warnings } = result;
  const uri = uuid === undefined ? null : `ecs://${bucket}/${uuid}`;
  if (json) {
    return printJson({
      outcome,
      bucket,
      name,
      uuid: uuid ?? null,
      uri,
      kind: result.kind,
      items,
      sizeInBytes: bytes,
      uploadedItems: uploadedItems ?? null,
      resumed,
      warnings,
    });
  }
  tellProblems(warnings, warnings.length);
  const what = `${name}: ${items.toLocaleString('en')} items, ${formatBytes(bytes)}`;
  if (outcome === 'already-frozen')
    return print(`${what}, was frozen before as ${uri}; nothing has changed.`);
  if (outcome === 'frozen') {
    const skipped = items - (uploadedItems ?? items);
    print(`${what}, frozen as ${uri}${skipped > 0 ? `; ${skipped} items were there already` : ''}.`);
  } else {
    const as = uri === null ? 'under a new uuid' : `as ${uri}`;
    print(`${what}, would be frozen ${as}${resumed ? ', which was begun before' : ''}. Nothing is wrong.`);
  }
}

function tellProblems(problems: readonly FreezeProblem[], count: number): void {
  const shown = problems.slice(0, PROBLEMS_PRINTED);
  for (const { path, reason } of shown) standardError.write(`${printable(path)} ${printable(reason)}\n`);
  if (count > shown.length) standardError.write(`… and ${count - shown.length} more\n`);
}
