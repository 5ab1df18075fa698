import { UserError } from '../errors.ts';
import { checkBucket } from './doctor/bucket.ts';
import { checkConfiguration } from './doctor/configuration.ts';
import type { Check, Finding } from './doctor/finding.ts';
import { checkLeftBehind } from './doctor/left-behind.ts';
import { checkSystem } from './doctor/system.ts';
import { print, printable, printJson, styled } from './terminal.ts';

export interface DoctorCommandOptions {
  readonly write: boolean;
  readonly fix: boolean;
  readonly json: boolean;
}

/**
 * Looks whether all that the program needs is there, and tells what to do about what is not. Changes nothing, but what
 * `write` and `fix` ask for.
 *
 * @param buckets default: all that are configured
 * @throws UserError when a check has failed
 */
export async function doctorCommand(
  buckets: readonly string[],
  options: DoctorCommandOptions,
): Promise<void> {
  const findings: Finding[] = [];
  const tell = async (check: Check): Promise<void> => {
    for await (const finding of check) {
      if (!options.json) printFinding(finding, findings.at(-1)?.area);
      findings.push(finding);
    }
  };
  await tell(allChecks(buckets, options));
  const count = (status: Finding['status']): number =>
    findings.filter((finding) => finding.status === status).length;
  const failed = count('fail');
  if (options.json) printJson(findings);
  else if (failed === 0)
    print(`\n${count('warn') === 0 ? 'All is well.' : `Nothing failed; warnings: ${count('warn')}.`}`);
  if (failed > 0) throw new UserError(`${failed} of ${findings.length} checks failed`);
}

async function* allChecks(buckets: readonly string[], options: DoctorCommandOptions): Check {
  yield* checkSystem();
  const config = yield* checkConfiguration();
  if (config) {
    for (const bucket of buckets.length > 0 ? buckets : config.configuredBuckets())
      yield* checkBucket(config, bucket, options);
  }
  yield* checkLeftBehind();
}

const STYLES = { ok: 'green', warn: 'yellow', fail: 'red' } as const;

function printFinding({ status, area, text, advice }: Finding, previousArea: string | undefined): void {
  if (area !== previousArea)
    print(`${previousArea === undefined ? '' : '\n'}${styled('bold', printable(area))}`);
  print(`  ${styled(STYLES[status], status.padEnd(4))}  ${printable(text)}`);
  if (advice !== undefined) print(`        ${printable(advice)}`);
}
