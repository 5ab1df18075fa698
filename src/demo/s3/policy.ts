import { z } from 'zod';
import { S3Error } from './s3-error.ts';

const oneOrMore = z
  .union([z.string().min(1), z.array(z.string().min(1)).min(1)])
  .transform((value) => (typeof value === 'string' ? [value] : value));

/** Elements that are not named here (Condition, NotAction, …) would restrict a statement, so they are refused. */
const statementSchema = z.strictObject({
  Sid: z.string().optional(),
  Effect: z.enum(['Allow', 'Deny']),
  Principal: z
    .union([oneOrMore, z.strictObject({ AWS: oneOrMore })])
    .transform((value) => (Array.isArray(value) ? value : value.AWS))
    .optional(),
  Action: oneOrMore,
  Resource: oneOrMore,
});

const policySchema = z.strictObject({
  Version: z.enum(['2012-10-17', '2008-10-17']).optional(),
  Id: z.string().optional(),
  Statement: z
    .union([statementSchema, z.array(statementSchema)])
    .transform((value) => (Array.isArray(value) ? value : [value])),
});

/**
 * An access policy: the subset of the AWS policy language with Effect, Principal, Action and Resource. `*` and `?` are
 * wildcards in actions and resources, and `${aws:username}` in a resource stands for the user's name.
 */
export type Policy = z.infer<typeof policySchema>;

/** A policy as it is written, in JSON's types. */
export type PolicyDocument = z.input<typeof policySchema>;

/**
 * Reads a user's own policy. Its statements are about the user, so a Principal is not needed.
 *
 * @throws S3Error MalformedPolicy
 */
export function parsePolicy(document: unknown): Policy {
  const result = policySchema.safeParse(document);
  if (!result.success) {
    const issue = result.error.issues[0];
    throw new S3Error('MalformedPolicy', `${issue?.path.join('.')}: ${issue?.message}`);
  }
  return result.data;
}

/**
 * Reads a bucket's policy: every statement has a Principal, and resources are in the bucket.
 *
 * @param json the text of the document
 * @throws S3Error MalformedPolicy
 */
export function parseBucketPolicy(bucket: string, json: string): Policy {
  let document: unknown;
  try {
    document = JSON.parse(json);
  } catch {
    throw new S3Error('MalformedPolicy');
  }
  const policy = parsePolicy(document);
  for (const statement of policy.Statement) {
    if (!statement.Principal) throw new S3Error('MalformedPolicy', 'Missing required field Principal');
    if (!statement.Resource.every((resource) => isAbout(bucket, resource))) {
      throw new S3Error('MalformedPolicy', 'Policy has invalid resource');
    }
  }
  return policy;
}

const ARN = 'arn:aws:s3:::';

function isAbout(bucket: string, resource: string): boolean {
  if (resource === '*') return true;
  const [name = ''] = resource.slice(ARN.length).split('/');
  return resource.startsWith(ARN) && glob(name).test(bucket);
}

/** Who asks for what. */
export interface Access {
  /** The user's name. */
  readonly user: string;
  /** For instance `s3:GetObject`. */
  readonly action: string;
  /** A bucket, or `bucket/key`; `*` for the service. */
  readonly resource: string;
}

/**
 * Whether policies allow an access: some statement allows it and none denies it.
 *
 * @param own the user's own policy
 * @param ofBucket the policy of the bucket that it is about
 */
export function isAllowed(access: Access, own: Policy | undefined, ofBucket: Policy | undefined): boolean {
  const applying = [
    ...(own?.Statement ?? []),
    ...(ofBucket?.Statement ?? []).filter(({ Principal }) => isPrincipal(access.user, Principal ?? [])),
  ].filter(
    ({ Action, Resource }) =>
      Action.some((action) => glob(action, 'i').test(access.action)) &&
      Resource.some((resource) => coversResource(resource, access)),
  );
  return applying.length > 0 && applying.every(({ Effect }) => Effect === 'Allow');
}

/** Principals are `*`, a user's name alone as ECS has it, or an ARN that ends in `user/<name>`. */
function isPrincipal(user: string, principals: readonly string[]): boolean {
  return principals.some(
    (principal) =>
      principal === '*' ||
      principal === user ||
      (principal.startsWith('arn:aws:iam:') && principal.endsWith(`:user/${user}`)),
  );
}

function coversResource(pattern: string, access: Access): boolean {
  const parts = pattern.split('${aws:username}').map((part) => globSource(part));
  return new RegExp(`^${parts.join(escapeRegExp(access.user))}$`, 's').test(ARN + access.resource);
}

function glob(pattern: string, flags = ''): RegExp {
  return new RegExp(`^${globSource(pattern)}$`, `s${flags}`);
}

/** A pattern with `*` and `?` as the source of a regular expression. */
function globSource(pattern: string): string {
  return escapeRegExp(pattern)
    .replace(/(\\\*)+/g, '.*')
    .replaceAll('\\?', '.');
}

function escapeRegExp(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');
}
