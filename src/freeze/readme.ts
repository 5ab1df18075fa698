import { isUtf8 } from 'node:buffer';
import { readFile } from 'node:fs/promises';
import { parseDocument, stringify } from 'yaml';
import { messageOf } from '../errors.ts';

/** Who freezes, as dtool's configuration says. */
export interface FreezeUser {
  /** Login name; ends up in user metadata, so it has to be ASCII. */
  readonly username: string;
  /** DTOOL_USER_FULL_NAME */
  readonly fullName: string | undefined;
  /** DTOOL_USER_EMAIL */
  readonly email: string | undefined;
  /** DTOOL_README_TEMPLATE_FPATH */
  readonly readmeTemplatePath: string | undefined;
}

/** Why the bytes of a README are no YAML, as the end of a sentence; undefined when they are. */
export function readmeFlaw(content: Buffer): string | undefined {
  if (!isUtf8(content)) return 'is not UTF-8; save it as UTF-8';
  const [error] = parseDocument(content.toString(), { uniqueKeys: false, prettyErrors: true }).errors;
  return error && `is not YAML; correct it: ${error.message.split('\n')[0]?.replace(/:$/, '')}`;
}

/**
 * The README of a dataset whose folder has none: the user's template with its fields filled in as `dtool create` does
 * (dtool_create.dataset._get_readme_template), or the keys that dtool's own template has.
 *
 * @param date of creation, `YYYY-MM-DD`
 * @returns the text, or what is wrong with the template as the end of a sentence
 */
export async function makeReadme(
  name: string,
  user: FreezeUser,
  date: string,
): Promise<{ readonly text: string } | { readonly flaw: string }> {
  if (user.readmeTemplatePath === undefined) return { text: usualReadme(name, user, date) };
  let template: string;
  try {
    template = await readFile(user.readmeTemplatePath, 'utf8');
  } catch (error) {
    return { flaw: `can't be read: ${messageOf(error)}` };
  }
  const values: Readonly<Record<string, string>> = {
    username: user.username,
    DTOOL_USER_FULL_NAME: user.fullName ?? 'Your Name',
    DTOOL_USER_EMAIL: user.email ?? 'you@example.com',
    date,
  };
  const unknown: string[] = [];
  // Python's str.format: doubled braces stand for themselves.
  const text = template.replaceAll(/\{\{|\}\}|\{([^{}]*)\}|[{}]/g, (match, field: string | undefined) => {
    if (match === '{{' || match === '}}') return match.slice(1);
    if (field !== undefined && Object.hasOwn(values, field)) return values[field] ?? '';
    unknown.push(match);
    return match;
  });
  if (unknown.length > 0) {
    const known = Object.keys(values).join(', ');
    return { flaw: `has ${unknown.join(', ')}; the fields of a template are ${known}, and {{ stands for {` };
  }
  const flaw = readmeFlaw(Buffer.from(text));
  return flaw === undefined ? { text } : { flaw };
}

function usualReadme(name: string, user: FreezeUser, date: string): string {
  const { username } = user;
  const fields = {
    description: name,
    project: '',
    confidential: false,
    personally_identifiable_information: false,
    owners: [{ name: user.fullName ?? username, email: user.email ?? '', username }],
    creation_date: date,
  };
  return `---\n${stringify(fields)}`;
}
