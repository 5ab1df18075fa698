import type { Config } from '../config.ts';
import { userName } from '../state-directory.ts';
import type { FreezeUser } from './readme.ts';

/** Who freezes, as dtool's configuration and the surroundings say. */
export function freezeUserOf(config: Config): FreezeUser {
  return {
    username: userName(),
    fullName: config.userFullName,
    email: config.userEmail,
    readmeTemplatePath: config.readmeTemplatePath,
  };
}
