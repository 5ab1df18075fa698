import { userInfo } from 'node:os';
import type { Config } from '../config.ts';
import type { FreezeUser } from './readme.ts';

/** Who freezes, as dtool's configuration and the surroundings say. */
export function freezeUserOf(config: Config): FreezeUser {
  return {
    username: username(),
    fullName: config.userFullName,
    email: config.userEmail,
    readmeTemplatePath: config.readmeTemplatePath,
  };
}

/** As Python's getpass.getuser finds it, and with it dtool. */
function username(): string {
  for (const name of ['LOGNAME', 'USER', 'LNAME', 'USERNAME']) {
    const value = process.env[name];
    if (value) return value;
  }
  return userInfo().username;
}
